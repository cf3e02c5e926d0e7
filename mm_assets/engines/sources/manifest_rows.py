"""The lines of a manifest as rows of text: CSV, JSON lines or Parquet; a bad line is a row with an error.

A "line" is a record. In CSV it may span several lines of the file, and has the number of the first. In Parquet it is a
row.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from mm_assets.engines.sources.source import BAD_LINE, BATCH_ROWS, Row

COLUMNS = ("uri", "image_id", "label", "caption")
LINES = pa.schema([pa.field("line", pa.int64()), *(pa.field(name, pa.string()) for name in (*COLUMNS, "error"))])


class ManifestError(ValueError):
    """The file as a whole cannot be read; the message says why."""


def rows_of(stream: BinaryIO, ending: str) -> Iterator[Row]:
    """All lines of a manifest that are not blank.

    Args:
        stream: the file.
        ending: of its name, with the dot, in lower case.

    Yields:
        Rows of LINES: stripped text, None where it is empty. A row has an `error` alone, or at least a `uri`.

    Raises:
        ManifestError: not UTF-8, not Parquet, or no column `uri`.
    """
    parse: Callable[[BinaryIO], Iterator[Row]] = {".csv": _csv, ".parquet": _parquet}.get(ending, _json_lines)
    try:
        yield from parse(stream)
    except UnicodeDecodeError as error:
        raise ManifestError(f"it is not UTF-8 text (byte {error.object[error.start]:#04x}): save it as UTF-8") from None


def _csv(stream: BinaryIO) -> Iterator[Row]:
    # Strict, or a quote that is never closed would take in the lines after it without an error.
    reader = csv.reader(io.TextIOWrapper(stream, "utf-8-sig", newline=""), strict=True)
    head: list[str] = []
    for number, fields in _records(reader):
        if isinstance(fields, csv.Error):
            yield _bad(number, f"{_one_line(fields)} (read up to line {reader.line_num})")
        elif not fields or (len(fields) == 1 and fields[0].isspace()):
            continue
        elif not head:
            head = [name.strip() for name in fields]
            _check(head)
        elif len(fields) != len(head):
            yield _bad(number, f"{len(fields)} fields, the first line has {len(head)}")
        else:
            yield _row(number, dict(zip(head, fields, strict=True)))
    if not head:
        _check([])


def _records(reader: Any) -> Iterator[tuple[int, list[str] | csv.Error]]:  # noqa: ANN401  (csv's own class has no name)
    """Line number and fields of each record, or its error; the reader goes on after an error."""
    while True:
        number = reader.line_num + 1
        try:
            yield number, next(reader)
        except csv.Error as error:
            yield number, error
        except StopIteration:
            return


def _json_lines(stream: BinaryIO) -> Iterator[Row]:
    names: dict[str, None] = {}
    # Only \n ends a line here: JSON text may hold other characters that Python would split at.
    for number, line in enumerate(io.TextIOWrapper(stream, "utf-8-sig", newline="\n"), start=1):
        if not line.strip():
            continue
        try:
            values = _parsed(line)
        except (ValueError, RecursionError) as error:
            yield _bad(number, _one_line(error))
            continue
        names |= dict.fromkeys(values)
        yield _row(number, values)
    if "uri" not in names:
        _check(list(names))


def _parsed(line: str) -> Mapping[str, Any]:
    # Numbers stay text as they are written: 1.10 is not 1.1.
    values = json.loads(line, parse_int=str, parse_float=str, parse_constant=_refuse_constant)
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _parquet(stream: BinaryIO) -> Iterator[Row]:
    try:
        file = pq.ParquetFile(stream)
        _check(file.schema_arrow.names)
        for number, values in enumerate(_parquet_rows(file), start=1):
            yield _row(number, values)
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(f"it is no Parquet file with columns of text ({_one_line(error)})") from None


def _parquet_rows(file: pq.ParquetFile) -> Iterator[dict[str, bytes | None]]:
    columns = [name for name in COLUMNS if name in file.schema_arrow.names]
    for batch in file.iter_batches(BATCH_ROWS, columns=columns):
        for fields in zip(*(_text(batch.column(name)) for name in columns), strict=True):
            yield dict(zip(columns, fields, strict=True))


def _text(column: pa.Array) -> list[bytes | None]:
    """Values as bytes. Parquet does not promise UTF-8, so each row decodes its own, and fails alone."""
    binary = pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
    return (column if binary else column.cast(pa.string())).cast(pa.large_binary()).to_pylist()


def _check(names: Sequence[str]) -> None:
    """Refuse a manifest without a column `uri`, or with two columns of a name that is read."""
    if "uri" not in names:
        raise ManifestError(f"it has no column `uri` (found: {', '.join(names) or 'none'})")
    twice = [name for name, count in Counter(names).items() if count > 1 and name in COLUMNS]
    if twice:
        raise ManifestError(f"it has two columns `{twice[0]}`")


def _row(number: int, values: Mapping[str, Any]) -> Row:
    try:
        row = {name: _value(name, values.get(name)) for name in COLUMNS}
    except ValueError as error:
        return _bad(number, str(error))
    return {"line": number, **row} if row["uri"] else _bad(number, "the uri is empty")


def _value(name: str, value: object) -> str | None:
    try:
        text = value.decode() if isinstance(value, bytes) else value
        if isinstance(text, str):
            text.encode()  # JSON can escape half a character
            return text.strip() or None
    except UnicodeError:
        raise ValueError(f"{name} is not Unicode text") from None
    if text is not None:
        raise ValueError(f"{name} is no text ({type(text).__name__})")
    return None


def _bad(number: int, why: str) -> Row:
    return {"line": number, "error": f"{BAD_LINE} {number}: {why}"}


def _one_line(error: Exception) -> str:
    return " ".join(f"{error}".split())
