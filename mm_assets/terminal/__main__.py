"""Materialize the whole graph, and show what happens: a line for each asset, and a table at the end."""

import sys

from mm_assets.settings import SettingsError, load_settings


def main() -> int:
    """Run; the exit code is 1 where a step failed, 2 where the settings are wrong, 130 where it was interrupted."""
    try:
        settings = load_settings()
    except SettingsError as error:
        print(f"make demo: {error}", file=sys.stderr)
        return 2
    from mm_assets.terminal.run import run_graph

    return run_graph(settings)


if __name__ == "__main__":
    sys.exit(main())
