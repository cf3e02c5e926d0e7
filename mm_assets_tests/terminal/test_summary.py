"""The table at the end of a run."""

import io
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from mm_assets.lineage.progress import Progress
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import LanceRef
from mm_assets.terminal.summary import print_summary

EVALUATED = {
    "rows": 382,
    "measure": "accuracy",
    "champion_accuracy": 0.1335,
    "accuracy": 1.0,
    "promoted": True,
    "decision": "better by +0.866 [+0.832, +0.903]",
}


def record(asset: str, table: str, version: int, **metadata: Any) -> Record:
    """A materialization that was written nowhere."""
    ref = LanceRef(table, "48d3ed", version)
    return Record("id", asset, ref, "run", "step", "1", (), metadata, Progress(), datetime.now(UTC), reused=False)


def test_the_table_is_the_one_of_the_readme() -> None:
    records = [
        record("evaluation", "evaluations", 2, **EVALUATED),
        record("sft_dataset", "sft", 2, rows=1639, examples=1519, left_out={"blurred": 100, "bright": 20}),
        record("image_table", "images", 4, rows=1639, rows_failed=11),
        record("scores/exposure", "images", 6, rows=1628, rows_failed=2),
        record("batch_predictions", "predictions", 3, rows=1639, rows_failed=11),
    ]
    output = io.StringIO()
    order = ["image_table", "scores/exposure", "sft_dataset", "evaluation", "batch_predictions", "serving_bundle"]
    # Narrower than the table: nothing of it is cut.
    print_summary(Console(file=output, width=40), {one.asset: one for one in records}, order)
    assert output.getvalue().splitlines() == [
        " asset              data version            rows",
        " image_table        images:48d3ed@v4       1,639  11 of them rejected, each with its reason",
        " scores/exposure    images:48d3ed@v6       1,628  2 of them failed, each with its reason",
        " sft_dataset        sft:48d3ed@v2          1,639  1,519 examples; 120 left out, each with its reason",
        " evaluation         evaluations:48d3ed@v2    382",
        " batch_predictions  predictions:48d3ed@v3  1,639  11 of them without an answer, each with its reason",
        " accuracy on 382 held-out images: 0.134 before, 1.000 after fine-tuning; promoted: better by "
        "+0.866 [+0.832, +0.903]",
    ]
