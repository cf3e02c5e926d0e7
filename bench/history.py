"""`mm-assets trace` and `mm-assets verify` on a lake of a million images, predictions and examples.

`python -m bench.history --size 1000000`: the lake is made by the project's own jobs and tables (pictures of 32 x 32
pixels; scores and answers made up), brought into shape by `maintain`, and refreshed with 1,000 new images. Then the
commands run as their user runs them: seconds from the start of the process to its end. Of each trace the median of
three; the lake's files are in the page cache.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.lab import measure, pictures
from bench.lab.lakes import STAGES, Made, MadeLake, MadeUp, tiny
from mm_assets.engines.lake.tables import Lake
from mm_assets.history.history import History

TRACE_S, VERIFY_S = 2.0, 60.0
Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write the JSON."""
    parser = measure.parser(__doc__, size=1_000_000, new=1_000, times=3)
    options = measure.options_of(parser, "history", arguments, size=60, new=6, times=1)
    with tempfile.TemporaryDirectory(prefix="bench-history-", dir=options.scratch) as name:
        tables = make_lake(Path(name), options.size, options.new)
        sizes = [
            {"table": table, "rows": tables.open(table).count_rows()} for table in ("images", "sft", "predictions")
        ]
        measure.show("the lake", sizes)
        traces = [traced(tables, kind, what, options.times) for kind, what in names_of(tables, options.size).items()]
        measure.show("trace", traces)
        proofs = [proved(tables)]
        measure.show("verify", proofs)
    slowest = max(row["seconds"] for row in traces)
    targets = [
        measure.verdict("slowest trace, s", slowest, TRACE_S, at_least=False),
        measure.verdict("verify, s", proofs[0]["seconds"], VERIFY_S, at_least=False),
    ]
    measure.show("targets", targets)
    figures = {"versions": measure.versions("pylance", "pyarrow"), "lake": sizes, "trace": traces, "verify": proofs}
    measure.save(options, {**figures, "targets": targets})


def make_lake(scratch: Path, size: int, new: int) -> Lake:
    """A lake in the shape that maintenance gives it, with one refresh after that."""
    lake = MadeLake(Lake(str(scratch / "lake")), Made(size, tiny(200), size, tiny(new, seed=1)), MadeUp())
    lake.fill()
    lake.maintain()
    lake.source = Made(size + new, tiny(200), size, tiny(new, seed=1))
    for stage in STAGES:
        lake.run(stage)
    return lake.tables


def names_of(tables: Lake, size: int) -> dict[str, str]:
    """What is traced, by its kind."""
    image = pictures.image_id(size // 2)
    newest = History.read(tables).newest
    prediction = tables.open("predictions").to_table(columns=["id"], filter=f"image_id = '{image}'")["id"][0].as_py()
    row = (
        tables.open("images").to_table(columns=["sha256", "source_uri"], filter=f"image_id = '{image}'").to_pylist()[0]
    )
    return {
        "image": image,
        "source uri": row["source_uri"],
        "digest of bytes": row["sha256"],
        "example": f"label:{image}",
        "model": str(newest["llava_checkpoint"].metadata["digest"]),
        "prediction": prediction,
        "data version": newest["sft_dataset"].data_version,
    }


def traced(tables: Lake, kind: str, what: str, times: int) -> Row:
    """The median of a few runs of the command."""
    taken = sorted((command(tables, "trace", what, "--json") for _ in range(times)), key=lambda run: run[0])
    seconds, output = taken[len(taken) // 2]
    return {"what": kind, "seconds": round(seconds, 3), "found": len(output["found"])}


def proved(tables: Lake) -> Row:
    """One run of the command."""
    seconds, output = command(tables, "verify", "--json")
    return {"seconds": round(seconds, 2), "disagreements": len(output["disagreements"]), **output["looked_at"]}


def command(tables: Lake, *arguments: str) -> tuple[float, Any]:
    """Seconds and the JSON of a command; ends the program where it fails."""
    program = str(Path(sys.executable).with_name("mm-assets"))
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    started = time.perf_counter()
    process = subprocess.run(
        [program, *arguments], env={**environment, "MM_LAKE": tables.root}, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(
            f"mm-assets {' '.join(arguments)} ended with {process.returncode}: {process.stdout}{process.stderr}"
        )
    return seconds, json.loads(process.stdout)


if __name__ == "__main__":
    main()
