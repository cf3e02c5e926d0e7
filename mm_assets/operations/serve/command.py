"""`mm-assets serve`: an OpenAI-compatible server of the promoted model, or of a bundle, on this machine."""

import hashlib
import json
import os
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from mm_assets.engines.answering.questions import main_task
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import BUNDLES, cache, local_folder
from mm_assets.engines.models.registry import get
from mm_assets.engines.store.errors import STORE_ERRORS, described
from mm_assets.engines.store.folder import move_folder
from mm_assets.lineage.errors import RefusalError
from mm_assets.operations.serve import server
from mm_assets.settings import ServeSettings
from mm_assets.stages.evaluate.tables import EVALUATIONS, current_production
from mm_assets.stages.serve import card, properties, request
from mm_assets.stages.serve.archive import unpack
from mm_assets.stages.serve.license import front_matter


@dataclass(frozen=True)
class Served:
    """A folder of weights, the digest of the model, and the request that it was trained for."""

    folder: Path
    digest: str
    chat_request: request.Request


def serve(tables: Lake, settings: ServeSettings, address: server.Address, bundle: Path | None) -> Callable[[], int]:
    """Finds the model to serve.

    Args:
        tables: the lake, for the promoted model.
        settings: of serving.
        address: to listen on.
        bundle: a bundle's folder or file, in place of the lake's model.

    Returns:
        A function that becomes the server. Where that is refused, one that says why and gives the exit code 2.
    """
    try:
        server.check(address)
        served = promoted(tables, settings) if bundle is None else of_bundle(bundle, settings)
    except RefusalError as refusal:
        sentence = f"mm-assets: {refusal}"
        return lambda: _say(sentence)
    except STORE_ERRORS as error:
        unread = f"mm-assets: the lake {tables.root} (MM_LAKE) cannot be read: {described(error)}"
        return lambda: _say(unread)
    return lambda: _become(served, settings, address)


def _say(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 2


def _become(served: Served, settings: ServeSettings, address: server.Address) -> NoReturn:
    """Replaces this process by the server; it ends as the server does."""
    machine = server.Machine.here()
    arguments = server.command(served.folder, address, settings, machine)
    url = address.url
    example = request.as_command(served.chat_request, url, key=bool(os.environ.get(server.KEY)))
    print(f"model {served.digest} as {settings.model_name!r} on {url}/v1 (ready when {url}/health answers)")
    print(f"ask it about photo.jpg:\n\n{example}\n", flush=True)
    os.execve(arguments[0], arguments, server.environment_of(machine))


def promoted(tables: Lake, settings: ServeSettings) -> Served:
    """The model in production.

    Raises:
        RefusalError: there is none, or its files are gone.
    """
    digest = current_production(tables.open(EVALUATIONS)) if tables.exists(EVALUATIONS) else None
    if digest is None:
        raise RefusalError(
            f"no model was promoted in the lake {tables.root} (MM_LAKE) yet: materialize evaluation with a model that "
            "passes, or serve a bundle (--bundle)"
        )
    model = get(tables, digest)
    prompt = request.prompt_of(model.recipe, main_task(model))
    return Served(local_folder(tables, digest), digest, request.chat_request(settings.model_name, prompt))


def of_bundle(place: Path, settings: ServeSettings) -> Served:
    """A bundle that was unpacked, or its file, which is unpacked once and kept beside the copies of models.

    Raises:
        RefusalError: it is not a bundle.
    """
    if not place.exists():
        raise RefusalError(f"--bundle {place}: there is no such file or folder")
    folder = place if place.is_dir() else _unpacked(place)
    _check(folder, place)
    try:
        chat_request: request.Request = json.loads((folder / request.NAME).read_text())
        digest = str(front_matter((folder / card.NAME).read_text())["model_digest"])
        chat_request = {**chat_request, "model": settings.model_name}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RefusalError(f"--bundle {place}: its {request.NAME} or {card.NAME} was changed ({error!r})") from None
    return Served(folder, digest, chat_request)


def _check(folder: Path, place: Path) -> None:
    for name in (card.NAME, properties.NAME, request.NAME, "config.json"):
        if not (folder / name).is_file():
            raise RefusalError(f"--bundle {place} is no bundle: it has no {name}")


def _unpacked(archive: Path) -> Path:
    try:
        with archive.open("rb") as file:
            name = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        place = cache(BUNDLES) / name
        if not place.is_dir():
            _unpack_into(archive, place)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise RefusalError(f"--bundle {archive} cannot be unpacked ({type(error).__name__}: {error})") from None
    return place


def _unpack_into(archive: Path, place: Path) -> None:
    """Unpack beside the place, and rename: another process may be doing the same."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{place.name}-", dir=place.parent) as staged:
        folder = Path(staged, "bundle")
        unpack(archive, folder)
        _check(folder, archive)
        move_folder(folder, place)
