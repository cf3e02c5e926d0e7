"""`mm-assets`: reads a lake, says what is in it, serves its model. The command line reads, Dagster writes."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mm_assets.catalog import EVALUATION

if TYPE_CHECKING:
    from mm_assets.engines.lake.tables import Lake
    from mm_assets.lineage.records import Record


def main(arguments: list[str] | None = None) -> int:
    """Run the console script, and give its exit code."""
    parser = argparse.ArgumentParser(prog="mm-assets", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    status = commands.add_parser("status", help="the newest materialization of every asset in the lake")
    status.add_argument("--json", action="store_true", help="a list of objects instead of a table")
    trace = commands.add_parser("trace", help="where a thing in the lake comes from, and what used it")
    trace.add_argument("what", help="image id, source uri, SHA-256, example, model, bundle, prediction, data version")
    trace.add_argument("--json", action="store_true", help="everything, as one object (docs/trace.md)")
    proof = commands.add_parser("verify", help="prove that the lake's history holds; exit code 1 where it does not")
    proof.add_argument("--deep", action="store_true", help="read the bytes of all images and bundles, too")
    proof.add_argument("--json", action="store_true", help="an object instead of lines")
    server = commands.add_parser("serve", help="an OpenAI-compatible server of the promoted model on this machine")
    server.add_argument("--port", type=int, default=8000)
    server.add_argument("--host", default="127.0.0.1", help="of the loopback: nobody else reaches the server")
    server.add_argument("--bundle", help="folder or model.tar.gz of a bundle, in place of the lake's model")
    options = parser.parse_args(arguments)
    if options.command == "serve":
        return _serve(options)
    if options.command == "verify":
        from mm_assets.operations.verify.command import prove

        return read_lake(lambda tables: prove(tables, deep=options.deep, as_json=options.json))
    if options.command == "trace":
        from mm_assets.operations.trace.command import run

        return read_lake(lambda tables: run(tables, options.what, as_json=options.json))
    return read_lake(lambda tables: _status(tables, as_json=options.json))


def _serve(options: argparse.Namespace) -> int:
    from mm_assets.operations.serve.command import serve
    from mm_assets.operations.serve.server import Address
    from mm_assets.settings import load_settings

    address = Address(options.host, options.port)
    bundle = Path(options.bundle) if options.bundle else None

    return read_lake(lambda tables: serve(tables, load_settings().serve, address, bundle))


def read_lake(command: Callable[["Lake"], Callable[[], int]]) -> int:
    """Run a command on the lake of the settings.

    Args:
        command: reads the lake, and gives a function that prints the result and returns the exit code.

    Returns:
        The exit code; 2 with a line on stderr where the settings are wrong or the lake cannot be read.
    """
    from mm_assets.engines.lake.tables import Lake
    from mm_assets.settings import SettingsError, load_settings

    try:
        settings = load_settings()
        show = command(Lake(settings.lake, settings.s3))
    except SettingsError as error:
        print(f"mm-assets: {error}", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:  # Lance raises both where a store does not answer
        print(f"mm-assets: the lake {settings.lake} (MM_LAKE) cannot be read: {error}", file=sys.stderr)
        return 2
    return show()


def _status(tables: "Lake", *, as_json: bool) -> Callable[[], int]:
    from mm_assets.history.history import History

    newest = list(History.read(tables).newest.values())
    return lambda: _show(newest, tables, as_json=as_json)


def _show(newest: list["Record"], tables: "Lake", *, as_json: bool) -> int:
    if not newest:
        print(f"mm-assets: nothing was materialized in {tables.root} yet (MM_LAKE names the lake)", file=sys.stderr)
        return 1
    if as_json:
        print(json.dumps([_row(record) for record in newest], indent=2))
    else:
        _print_table(newest, tables.place.short_name())
    return 0


def _row(record: "Record") -> dict[str, Any]:
    return {
        "asset": record.asset,
        "data_version": record.data_version,
        "table": record.ref.table,
        "version": record.ref.version,
        "rows": record.metadata["rows"],
        "run_id": record.run_id,
        "at": record.at.isoformat(),
        "reused": record.reused,
    }


def _print_table(newest: list["Record"], lake: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"lake {lake}", title_justify="left")
    for name in ("asset", "data version", "rows", "reused", "at (UTC)", "run"):
        table.add_column(name, justify="right" if name == "rows" else "left", no_wrap=True)
    for record in newest:
        rows = f"{record.metadata['rows']:,}"
        at = record.at.strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(record.asset, record.data_version, rows, "yes" if record.reused else "no", at, record.run_id[:8])
    # A pipe has no width of its own; nothing is cut there.
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    evaluation = next((record for record in newest if record.asset == EVALUATION.key), None)
    if evaluation is not None:
        console.print(verdict_of(evaluation), soft_wrap=True, highlight=False)


def verdict_of(evaluation: "Record") -> str:
    """The outcome of an evaluation, as a line."""
    metadata = evaluation.metadata
    gate = "promoted" if metadata["promoted"] else "not promoted"
    return (
        f"{metadata['measure']} on {metadata['rows']} held-out images: {metadata['champion_accuracy']:.3f} before, "
        f"{metadata['accuracy']:.3f} after fine-tuning; {gate}: {metadata['decision']}"
    )


if __name__ == "__main__":
    sys.exit(main())
