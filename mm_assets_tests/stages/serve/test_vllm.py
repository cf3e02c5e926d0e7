"""A bundle that was uploaded, served by vLLM: the label comes back through the OpenAI client."""

import base64
import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from mm_assets.engines.store.s3 import client
from mm_assets.stages.serve.archive import unpack
from mm_assets_tests.kit.project import Project
from mm_assets_tests.kit.stores import Bucket, free_port
from mm_assets_tests.kit.vllm_lab import NEEDS_VLLM

pytestmark = [pytest.mark.vllm, pytest.mark.ray, pytest.mark.s3, NEEDS_VLLM]

START_S, END_S, ANSWER_S = 300, 60, 60
PICTURES = 12


@dataclass
class Server:
    """A server, where it listens, and what it has said."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@contextlib.contextmanager
def serving(bundle: Path, folder: Path) -> Iterator[Server]:
    """`mm-assets serve --bundle`, from when it answers to the end of it and of all that it has started."""
    port, log = free_port(), folder / "server.log"
    program = str(Path(sys.executable).with_name("mm-assets"))
    environment = {**os.environ, "MM_LAKE": str(folder / "no-lake")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "serve", "--bundle", str(bundle), "--port", str(port)],
            env=environment,
            stdout=output,
            stderr=output,
        )
    family = [psutil.Process(process.pid)]
    try:
        server = Server(process, f"http://127.0.0.1:{port}", log)
        _await(server)
        family += family[0].children(recursive=True)
        yield server
    finally:
        process.terminate()
        process.wait(END_S)
        _, alive = psutil.wait_procs(family[1:], timeout=END_S)
        assert alive == []


def _await(server: Server) -> None:
    for _ in range(START_S * 2):
        if server.is_ready():
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = server.process.wait(0.5)
            pytest.fail(f"the server ended with status {status}: {server.log.read_text()[-3000:]}")
    pytest.fail(f"the server did not answer within {START_S} s: {server.log.read_text()[-3000:]}")


@pytest.fixture
def bundle(finished: Project, bucket: Bucket, tmp_path: Path) -> Path:
    """The bundle of the finished lake, uploaded to a bucket, downloaded from there and unpacked."""
    project = finished.copied(tmp_path / "project")
    project.env |= {**bucket.environment(), "MM_SERVE__UPLOAD_TO": f"{bucket.uri}/served"}
    project.materialize("serving_bundle")
    said = project.newest()["serving_bundle"].metadata
    archive = tmp_path / "model.tar.gz"
    client(bucket.s3).download_file(bucket.name, said["uploaded_to"].removeprefix(f"{bucket.uri}/"), str(archive))
    unpack(archive, tmp_path / "unpacked")
    return tmp_path / "unpacked"


def held_out(project: Project) -> list[tuple[bytes, str]]:
    """Pictures of the held-out split with the labels that the model gave them in its evaluation."""
    evaluated = project.tables.open("evaluations").to_table(columns=["image_id", "challenger_label"]).to_pylist()
    ds = project.tables.open_at(project.newest()["image_table"].ref)
    ids = {
        row["image_id"]: row["_rowid"]
        for row in ds.scanner(columns=["image_id"], with_row_id=True).to_table().to_pylist()
    }
    chosen = evaluated[:: max(1, len(evaluated) // PICTURES)][:PICTURES]
    return [(ds.read_blobs("image", ids=[ids[row["image_id"]]])[0][1], row["challenger_label"]) for row in chosen]


def asked(request: dict[str, Any], picture: bytes) -> dict[str, Any]:
    """The bundle's own request, with a picture in it."""
    (message,) = request["messages"]
    image, words = message["content"]
    url = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    content = [{**image, "image_url": {"url": url}}, words]
    return {**request, "messages": [{**message, "content": content}]}


def test_a_bundle_answers_as_the_evaluation_did(finished: Project, bundle: Path, tmp_path: Path) -> None:
    openai = pytest.importorskip("openai", reason="the OpenAI client is not installed (make vllm)")
    request = json.loads((bundle / "request.json").read_text())
    pictures = held_out(finished)
    assert len({label for _, label in pictures}) > 2
    with serving(bundle, tmp_path) as server:
        assert finished.newest()["llava_checkpoint"].metadata["digest"] in server.log.read_text()
        questions = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=ANSWER_S).chat.completions
        found = [questions.create(**asked(request, data)).choices[0].message.content for data, _ in pictures]
        assert [text.strip() for text in found] == [f"this is a photo of a {label}." for _, label in pictures]
        # Held to the labels, as the predictions are.
        labels = finished.newest()["sft_dataset"].metadata["labels"]
        choice = {"structured_outputs": {"choice": [f" this is a photo of a {label}." for label in labels]}}
        data, label = pictures[0]
        held = questions.create(**asked(request, data), extra_body=choice).choices[0].message.content
        assert held == f" this is a photo of a {label}."
        # Pictures come in the request; the server asks nobody for one.
        words = {"type": "image_url", "image_url": {"url": f"{server.url}/health"}}
        with pytest.raises(openai.BadRequestError, match=r"nobody\.invalid"):
            questions.create(model=request["model"], messages=[{"role": "user", "content": [words]}])
        status = Project(tmp_path / "no-lake", "drawn", tmp_path / "home").command(
            *("serve", "--bundle", str(bundle), "--port", server.url.rpartition(":")[2]), module="mm-assets"
        )
        assert (status.returncode, "cannot be listened on" in status.stderr) == (2, True)
    assert not server.is_ready()
