"""What libraries write on stdout and stderr goes into a file; the terminal stays for what is meant to be seen."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def output_into(path: Path) -> Iterator[TextIO]:
    """Send both outputs of this process into a file, those of its children and of C++ too; gives the terminal.

    Args:
        path: of the file, which is written anew.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file, os.fdopen(os.dup(kept[0]), "w", encoding="utf-8") as terminal:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield terminal
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, duplicate in zip((1, 2), kept, strict=True):
                os.dup2(duplicate, number)
                os.close(duplicate)
