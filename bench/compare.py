"""A measurement of two working trees in one run: `python -m bench.compare BEFORE AFTER growth --sizes 10000`.

Each tree runs its own script of that name with the same arguments, in turn, `--rounds` times. Of every figure in
seconds, milliseconds or MB the least of the rounds counts; the table shows how many times the first's the second's is.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.lab import measure
from bench.lab.checkouts import Checkout, labelled, ratio, script, timed

UNITS = ("seconds", "_s", "_ms", "_mb")
# A smaller figure is noise.
LEAST = 0.02
MOST_TIMES = 1.05
Figures = dict[str, float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write the JSON; what is not known here goes to the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("script")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options, passed_on = parser.parse_known_args(arguments)
    options.json = options.json or measure.RESULTS / f"compare-{options.script}.json"
    checkouts = [Checkout(options.before.resolve()), Checkout(options.after.resolve())]
    rounds: list[list[Figures]] = [[], []]
    for number in range(options.rounds):
        for place, checkout in enumerate(checkouts):
            rounds[place].append(measured(checkout, options.script, passed_on))
            print(f"round {number + 1}, checkout {place}: done", flush=True)
    rows = compared(*map(least, rounds))
    measure.show(f"{options.script}: the least of {options.rounds} rounds", rows)
    targets = judged(rows)
    measure.show("targets", targets)
    figures = {"checkouts": labelled(checkouts), "passed_on": passed_on, "compared": rows, "rounds": rounds}
    measure.save(options, {**figures, "targets": targets})


def measured(checkout: Checkout, name: str, arguments: Sequence[str]) -> Figures:
    """The figures of one run of a checkout's own script."""
    with tempfile.TemporaryDirectory(prefix="bench-compare-") as folder:
        path = Path(folder, "figures.json")
        timed([*script(checkout, name), *arguments, "--json", str(path)], checkout.environment(), checkout.root)
        return dict(figures_in(json.loads(path.read_text())))


def figures_in(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, float]]:  # noqa: ANN401  (any JSON)
    """Every figure with a unit, named by the keys and the rows' own words above it."""
    if isinstance(value, Mapping):
        parts = [str(item) for name, item in value.items() if isinstance(item, str) or name == "images"]
        for name, item in value.items():
            if isinstance(item, Mapping | list):
                yield from figures_in(item, (*path, name))
            elif isinstance(item, int | float) and any(unit in name for unit in UNITS):
                yield " / ".join([*path, *parts, name]), float(item)
    elif isinstance(value, list):
        for item in value:
            yield from figures_in(item, path)


def least(rounds: Sequence[Figures]) -> Figures:
    """The least of every figure."""
    return {name: min(one[name] for one in rounds if name in one) for name in rounds[0]}


def compared(before: Figures, after: Figures) -> list[dict[str, Any]]:
    """A row for every figure that both have, large enough to tell."""
    return [
        {"figure": name, "before": before[name], "after": after[name], "times": ratio(after[name], before[name])}
        for name in before
        if name in after and max(before[name], after[name]) >= LEAST and "target" not in name
    ]


def judged(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The target, over all seconds together: single ones of tenths of a second vary by more than it allows."""
    seconds = [row for row in rows if row["figure"].endswith("seconds")]
    before, after = (sum(row[name] for row in seconds) for name in ("before", "after"))
    return [
        measure.verdict(
            "all seconds together: times those before", ratio(after, before) or 0.0, MOST_TIMES, at_least=False
        )
    ]


if __name__ == "__main__":
    main()
