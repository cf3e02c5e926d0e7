"""Prove that the history of a lake holds: records against commits, tags, files, rows, and Dagster's event log."""

from collections.abc import Callable

from mm_assets.engines.lake.tables import Lake
from mm_assets.operations.verify.lake import LakeSnapshot
from mm_assets.operations.verify.report import Report
from mm_assets.operations.verify.rules.bundles import check_bundles
from mm_assets.operations.verify.rules.commits import check_commits
from mm_assets.operations.verify.rules.events import EventLog, check_events
from mm_assets.operations.verify.rules.files import check_files
from mm_assets.operations.verify.rules.images import check_images
from mm_assets.operations.verify.rules.models import check_models
from mm_assets.operations.verify.rules.records import check_dropped, check_records, check_tags
from mm_assets.operations.verify.rules.rows import check_examples, check_predictions

# So often a lake is verified that is being written: a commit without its record yet looks like a disagreement.
ROUNDS = 3


def verify(
    tables: Lake,
    log: Callable[[str], None],
    events: EventLog | None = None,
    *,
    deep: bool = False,
) -> Report:
    """Compare everything that a lake says of itself with what it holds.

    Args:
        tables: the lake; runs may write it meanwhile.
        log: where a line of progress goes.
        events: Dagster's event log, where there is one.
        deep: read the bytes of all images and bundles and compare them with their digests.
    """
    for _ in range(ROUNDS):
        report = Report()
        lake = LakeSnapshot(tables, report)
        _look_at(lake, report, log, events, deep=deep)
        if not report.disagreements or not lake.was_written_since():
            break
        log("the lake was written meanwhile: looking again")
    return report


def _look_at(
    lake: LakeSnapshot, report: Report, log: Callable[[str], None], events: EventLog | None, *, deep: bool
) -> None:
    log("commits, records and tags")
    check_commits(lake, report)
    check_records(lake, report)
    check_dropped(lake, report)
    check_tags(lake, report)
    log("files")
    check_files(lake, report)
    check_models(lake, report, log)
    check_bundles(lake, report, log, deep=deep)
    log("examples and predictions")
    check_examples(lake, report)
    check_predictions(lake, report)
    if events is not None:
        log("Dagster's event log")
        check_events(lake, events, report)
    if deep:
        check_images(lake, report, log)
