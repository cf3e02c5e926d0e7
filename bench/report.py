"""Put the newest figures of `results/` into the tables of README.md: `python -m bench.report`.

A table stands between the lines `<!-- file: key -->` and `<!-- end -->`; what is written around them stays.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bench.lab import measure

README = measure.ROOT / "bench" / "README.md"
PLACE = re.compile(r"(<!-- (\S+): (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Rewrite the file."""
    README.write_text(PLACE.sub(_filled, README.read_text()))


def _filled(match: re.Match[str]) -> str:
    path = measure.RESULTS / f"{match[2]}.json"
    text = _text_of(json.loads(path.read_text()), match[3]) if path.exists() else "not measured yet"
    return f"{match[1]}{text}\n{match[4]}"


def _text_of(figures: Mapping[str, Any], key: str) -> str:
    if key == "machine":
        return ", ".join(f"{name} {value}" for name, value in figures["machine"].items())
    if key == "figures":
        return _pairs({name: value for name, value in figures.items() if not isinstance(value, Mapping | list)})
    entry: Any = figures
    for part in key.split("/"):
        entry = entry[part]
    return _table(entry) if isinstance(entry, list) else _pairs(entry)


def _pairs(mapping: Mapping[str, Any]) -> str:
    return _table([{"name": name, "value": value} for name, value in mapping.items()])


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [[measure.text(row.get(name)) for name in names] for row in rows]
    heads = [name.replace("_", " ") for name in names]
    marks = ["---"] + ["--:"] * (len(names) - 1)
    return "\n".join(f"| {' | '.join(line)} |" for line in [heads, marks, *lines])


if __name__ == "__main__":
    main()
