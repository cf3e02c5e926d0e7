"""Commits against the lake's history: each is a step's, upkeep's or the history's own, and agrees with its record."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import fields

from mm_assets.history.origins import Commit, outside_writes
from mm_assets.lineage.properties import INPUTS, MARK, RUN, SCHEMA
from mm_assets.lineage.records import Record
from mm_assets.operations.verify.history import inputs_in
from mm_assets.operations.verify.lake import LakeSnapshot
from mm_assets.operations.verify.report import Report

OUTSIDE = "made outside: no step, no maintenance run and not the lake's history accounts for it"


def check_commits(lake: LakeSnapshot, report: Report) -> None:
    """Every commit is of a materialization, of a batch of an unfinished run, or of upkeep that its run recorded."""
    for table, commits in lake.commits.items():
        report.looked_at["commits"] += len(commits)
        for commit in outside_writes(commits.values(), lake.ids[table], lake.history.maintenance):
            report.disagree("commit", f"{table}@v{commit.version}", f"{commit.operation}, {OUTSIDE}")
        _check_marks(table, commits.values(), report)
        for commit in commits.values():
            _check_runs(lake, commit, report)
            if inputs_in(commit) is None:
                report.disagree("commit", f"{table}@v{commit.version}", f"its {INPUTS} cannot be understood")
        report.expected_leftovers["commits that added columns of a later release"] += sum(
            map(_adds_columns, commits.values())
        )
    report.expected_leftovers["commits of runs that did not finish"] += sum(1 for _ in unfinished(lake))
    _check_drafts(lake, report)


def _adds_columns(commit: Commit) -> bool:
    return commit.is_no_op and SCHEMA in commit.properties


def _check_marks(table: str, commits: Iterable[Commit], report: Report) -> None:
    marks = Counter(commit.properties[MARK] for commit in commits if MARK in commit.properties)
    for mark, count in marks.items():
        if count > 1:
            report.disagree("commit", table, f"{count} commits have the mark {mark}: one was committed twice")


def _check_runs(lake: LakeSnapshot, commit: Commit, report: Report) -> None:
    """A batch comes before the materialization of its run, if that has one."""
    run_id = commit.properties.get(RUN, "")
    for asset in commit.assets:
        done = lake.final_versions.get((asset, run_id), commit.version)
        if commit.version > done:
            sentence = f"a commit of {asset} by run {run_id}, which had materialized it at v{done}"
            report.disagree("commit", f"{commit.table}@v{commit.version}", sentence)


def unfinished(lake: LakeSnapshot) -> Iterator[tuple[Commit, str]]:
    """Commits of runs that have not materialized an asset of theirs, and that asset."""
    for commits in lake.commits.values():
        for commit in commits.values():
            for asset in commit.assets:
                if (asset, commit.properties.get(RUN, "")) not in lake.final_versions:
                    yield commit, asset


def _check_drafts(lake: LakeSnapshot, report: Report) -> None:
    """The records that commits carry are those of the history."""
    last = {draft.asset: draft for draft in lake.drafts}
    for draft in lake.drafts:
        recorded = lake.history.records.get(draft.id)
        if recorded is None:
            _check_unrecorded(lake, draft, report, is_last=last[draft.asset] is draft)
            continue
        unlike = [item.name for item in fields(Record) if _plain(recorded, item.name) != _plain(draft, item.name)]
        if unlike:
            sentence = f"lineage.lance and the commit differ about {draft.asset}: {', '.join(unlike)}"
            report.disagree("record", f"{draft.ref.table}@v{draft.ref.version}", sentence)


def _plain(record: Record, name: str) -> object:
    """A field as it is compared: not a number, which metadata may hold, is not equal to itself."""
    value = getattr(record, name)
    return json.dumps(value, sort_keys=True) if name == "metadata" else value


def _check_unrecorded(lake: LakeSnapshot, draft: Record, report: Report, *, is_last: bool) -> None:
    """A record that only the commit carries: is it the one that the asset's next run will write?

    A run is killed between its commit and its row of lineage.lance. For example, of the asset's records
        v7  by run A, in lineage.lance
        v8  by run B, killed: only the commit has it   the asset's next run writes it: expected
    It is a disagreement where v8 is not the last one, a run has healed the asset since (`commits_scanned_to` >= 8), an
    input of it has no record either, or the history is empty though several runs wrote.
    """
    newest = lake.newest(draft.asset)
    healed = newest is not None and newest.commits_scanned_to >= draft.ref.version
    lost = [item.asset for item in draft.inputs if item.record_id not in lake.history.records]
    if not is_last or healed or lost or lake.history_is_empty:
        sentence = f"the record of {draft.asset} that the commit carries ({draft.id}) is not in lineage.lance"
        more = f", nor are those of its inputs {', '.join(lost)}" if lost else ""
        report.disagree("record", f"{draft.ref.table}@v{draft.ref.version}", sentence + more)
    else:
        report.expected_leftovers["records that the asset's next run will write"] += 1
