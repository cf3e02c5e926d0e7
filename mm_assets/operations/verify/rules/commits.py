"""Commits against the lake's history: every one is a step's, upkeep's or the history's own, and is told as it was."""

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
        report.named["commits that added columns of a later release"] += sum(map(_brings_up, commits.values()))
    report.named["commits of runs that did not finish"] += sum(1 for _ in unfinished(lake))
    _check_drafts(lake, report)


def _brings_up(commit: Commit) -> bool:
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
        done = lake.finished.get((asset, run_id), commit.version)
        if commit.version > done:
            said = f"a commit of {asset} by run {run_id}, which had materialized it at v{done}"
            report.disagree("commit", f"{commit.table}@v{commit.version}", said)


def unfinished(lake: LakeSnapshot) -> Iterator[tuple[Commit, str]]:
    """Commits of runs that have not materialized an asset of theirs, and that asset."""
    for commits in lake.commits.values():
        for commit in commits.values():
            for asset in commit.assets:
                if (asset, commit.properties.get(RUN, "")) not in lake.finished:
                    yield commit, asset


def _check_drafts(lake: LakeSnapshot, report: Report) -> None:
    """The records that commits carry are those of the history."""
    last = {draft.asset: draft for draft in lake.drafts}
    for said in lake.drafts:
        told = lake.history.records.get(said.id)
        if told is None:
            _check_untold(lake, said, report, is_last=last[said.asset] is said)
            continue
        unlike = [item.name for item in fields(Record) if _plain(told, item.name) != _plain(said, item.name)]
        if unlike:
            what = f"lineage.lance and the commit differ about {said.asset}: {', '.join(unlike)}"
            report.disagree("record", f"{said.ref.table}@v{said.ref.version}", what)


def _plain(record: Record, name: str) -> object:
    """A field as it is compared: not a number, which metadata may hold, is not equal to itself."""
    value = getattr(record, name)
    return json.dumps(value, sort_keys=True) if name == "metadata" else value


def _check_untold(lake: LakeSnapshot, said: Record, report: Report, *, is_last: bool) -> None:
    """A crash before the lineage row is healed by the asset's next run, and nobody pins a version without a row."""
    newest = lake.newest(said.asset)
    healed = newest is not None and newest.commits_scanned_to >= said.ref.version
    lost = [item.asset for item in said.inputs if item.record_id not in lake.history.records]
    if not is_last or healed or lost or lake.forgotten:
        what = f"the record of {said.asset} that the commit carries ({said.id}) is not in lineage.lance"
        more = f", nor are those of its inputs {', '.join(lost)}" if lost else ""
        report.disagree("record", f"{said.ref.table}@v{said.ref.version}", what + more)
    else:
        report.named["records that the asset's next run will write"] += 1
