"""What a run costs that finds nothing to do: `dagster asset materialize` over a finished lake, in a process of its own.

`python -m bench.noop`: the whole graph over the drawn pictures. The lake is made first, which takes minutes and is not
measured (`--lake` and `--home` name a finished one and Dagster's history of it; they are copied). `--assets raw_images
image_table scores/sharpness --images 6000` runs a part of the graph, over so many pictures of 32 x 32 pixels.

`--checkout A --checkout B` measures two working trees in turn, each on its own copy of the lake, and prints how many
times the first's seconds the second takes. Beside the timed runs one more counts how often `lineage.lance` is read,
and says which large packages were imported.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.lab import measure, pictures
from bench.lab.checkouts import Checkout, labelled, ratio, summary, timed
from bench.lab.lakes import tiny

LIMIT_S = {"whole": 8.0, "part": 5.0}
LARGE = ("torch", "transformers", "trl", "peft", "datasets", "matplotlib", "ray", "lance")
# Counts scans of the history, and says at the end which of the packages are there.
COUNTED = f"""
import json, sys, lance
reads = []
scanner = lance.LanceDataset.scanner
def counted(self, *arguments, **options):
    if "lineage.lance" in self.uri:
        reads.append(1)
    return scanner(self, *arguments, **options)
lance.LanceDataset.scanner = counted
from dagster._cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps({{"reads": len(reads), "imported": [name for name in {LARGE} if name in sys.modules]}}))
"""


@dataclass(frozen=True)
class Scene:
    """One checkout with its own copy of the lake, of Dagster's history, and of the folder that it is run in."""

    checkout: Checkout
    folder: Path
    source: str
    assets: tuple[str, ...]

    def environment(self) -> dict[str, str]:
        """Lake, history and source of a run."""
        lake, home = str(self.folder / "lake"), str(self.folder / "home")
        return self.checkout.environment(MM_LAKE=lake, DAGSTER_HOME=home, MM_SOURCE=self.source)

    def command_line(self) -> list[str]:
        """The words after `dagster`."""
        select = " or ".join(f'key:"{asset}"' for asset in self.assets) or "*"
        return ["asset", "materialize", "--select", select, "-m", "mm_assets.definitions"]

    def run(self) -> dict[str, float]:
        """One run as its user starts it."""
        program = str(Path(sys.executable).with_name("dagster"))
        taken = timed([program, *self.command_line()], self.environment(), self.folder / "cwd")
        return {"seconds": taken.seconds, "cpu_seconds": taken.cpu_seconds}

    def counted(self) -> dict[str, Any]:
        """Reads of the history, and packages imported, of one more run."""
        command = [sys.executable, "-c", COUNTED, *self.command_line()]
        taken = timed(command, self.environment(), self.folder / "cwd")
        figures: dict[str, Any] = json.loads(taken.output.splitlines()[-1])
        return figures


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write the JSON."""
    parser = measure.parser(__doc__, times=5, images=0)
    parser.add_argument("--checkout", type=Path, action="append", help="a working tree; twice: to compare two")
    parser.add_argument("--lake", type=Path, help="a finished lake, which is copied")
    parser.add_argument("--home", type=Path, help="Dagster's history of that lake (DAGSTER_HOME), which is copied")
    parser.add_argument("--drawn", type=Path, help="the folder of drawn pictures that the lake was made from")
    parser.add_argument("--assets", nargs="+", default=[])
    options = measure.options_of(parser, "noop", arguments, times=1, images=8, assets=["raw_images"])
    checkouts = [Checkout(root.resolve()) for root in options.checkout or [measure.ROOT]]
    with tempfile.TemporaryDirectory(prefix="bench-noop-", dir=options.scratch) as name:
        finished = finished_scene(Path(name), checkouts[0], options)
        scenes = [copied(finished, one, Path(name, str(number))) for number, one in enumerate(checkouts)]
        for scene in scenes:
            scene.run()  # what a checkout draws, upgrades or compiles once
        runs: list[list[dict[str, float]]] = [[] for _ in scenes]
        for _ in range(options.times):
            for taken, scene in zip(runs, scenes, strict=True):
                taken.append(scene.run())
        rows = [row_of(number, taken, scenes[number].counted()) for number, taken in enumerate(runs)]
    measure.show(f"a no-op of {', '.join(options.assets) or 'the whole graph'}, {options.times} runs", rows)
    targets = judged(rows, LIMIT_S["part" if options.assets else "whole"])
    measure.show("targets", targets)
    measure.save(options, {"checkouts": labelled(checkouts), "noop": rows, "runs": runs, "targets": targets})


def finished_scene(scratch: Path, checkout: Checkout, options: Any) -> Scene:  # noqa: ANN401  (an argparse namespace)
    """A finished lake: the one that is named, or one made now."""
    scene = Scene(checkout, scratch / "made", source_of(scratch, options.images), tuple(options.assets))
    (scene.folder / "cwd").mkdir(parents=True)
    if options.lake:
        shutil.copytree(options.lake, scene.folder / "lake")
        shutil.copytree(options.home, scene.folder / "home")
        if options.drawn:
            shutil.copytree(options.drawn, scene.folder / "cwd" / "drawn_photos")  # with times: a listing has them
        return scene
    (scene.folder / "home").mkdir()
    shutil.copy(measure.ROOT / "dagster.yaml", scene.folder / "home")
    scene.run()
    return scene


def source_of(scratch: Path, images: int) -> str:
    """The drawn pictures, or a folder of so many tiny ones."""
    if not images:
        return "drawn"
    folder = scratch / "photos"
    pictures.write_folder(folder, list(tiny(min(images, 200))), images)
    return str(folder)


def copied(finished: Scene, checkout: Checkout, folder: Path) -> Scene:
    """The same for a checkout, with everything that a run may write to."""
    shutil.copytree(finished.folder, folder)
    return Scene(checkout, folder, finished.source, finished.assets)


def row_of(number: int, runs: Sequence[dict[str, float]], counted: dict[str, Any]) -> dict[str, Any]:
    """What the table shows of a checkout."""
    wall, cpu = (summary([run[name] for run in runs]) for name in ("seconds", "cpu_seconds"))
    return {
        "checkout": number,
        "seconds_min": wall["min"],
        "seconds_median": wall["median"],
        "cpu_seconds_min": cpu["min"],
        "history_reads": counted["reads"],
        "imported": " ".join(counted["imported"]),
    }


def judged(rows: Sequence[dict[str, Any]], limit_s: float) -> list[dict[str, Any]]:
    """The targets: the newest checkout's seconds, and those in the first's."""
    newest, first = rows[-1], rows[0]
    targets = [measure.verdict("median of a no-op, s", newest["seconds_median"], limit_s, at_least=False)]
    if len(rows) > 1:
        for name in ("seconds_median", "cpu_seconds_min"):
            times = ratio(newest[name], first[name])
            targets.append(measure.verdict(f"{name}: times the first's", times or 0.0, 1.05, at_least=False))
    return targets


if __name__ == "__main__":
    main()
