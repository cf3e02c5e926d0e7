"""The user's own code by import path (`my_package.scorers:watermark`): installed, or in the working directory."""

import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any


class OwnCodeError(ValueError):
    """An import path cannot be imported; the message says why, and where packages are searched."""


def load(path: str) -> Any:  # noqa: ANN401  (whatever the path names)
    """Import the object that an import path names.

    Raises:
        OwnCodeError: its module cannot be imported, or has no such name.
    """
    _look_here_too()
    module, name = path.split(":")
    try:
        module_object = import_module(module)
    except ModuleNotFoundError as error:
        raise OwnCodeError(_sentence(path, str(error))) from error
    except Exception as error:  # the user's module may raise anything; the message names the class
        raise OwnCodeError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    if not hasattr(module_object, name):
        raise OwnCodeError(f"{path}: {module} ({module_object.__file__}) has no {name}")
    return getattr(module_object, name)


def check(path: str) -> None:
    """Find the module of an import path, without the import, which may be slow.

    Raises:
        OwnCodeError: there is no such module.
    """
    _look_here_too()
    module = path.split(":")[0]
    try:
        spec = find_spec(module)
    except ImportError as error:
        raise OwnCodeError(_sentence(path, str(error))) from error
    if spec is None:
        raise OwnCodeError(_sentence(path, f"No module named {module!r}"))


def modules(paths: Iterable[str]) -> list[str]:
    """The folders (or single files) of the top-level packages of import paths, to be shipped to workers."""
    return sorted({place for path in paths for place in _places(path.split(":")[0].split(".")[0])})


def _places(package: str) -> list[str]:
    spec = find_spec(package)
    if spec is None:
        return []
    return [str(Path(place)) for place in spec.submodule_search_locations or [spec.origin or ""]]


def _look_here_too() -> None:
    # Dagster has the working directory on the path only while it imports the module of the definitions.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def _sentence(path: str, why: str) -> str:
    return f"{path} cannot be imported ({why}): install its package, or call dagster in the folder that has it"
