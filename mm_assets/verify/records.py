"""Records of the lake's history against commits, tags and each other."""

import re
from collections.abc import Collection

from mm_assets.engines.commit_origins import Commit
from mm_assets.engines.model_store import TABLE as MODELS
from mm_assets.evaluate.tables import EVALUATIONS, current_production
from mm_assets.lineage.ancestry import walk_known
from mm_assets.lineage.refs import RUN, LanceRef, Record, inputs_of, tag_name
from mm_assets.verify.lake import Lake
from mm_assets.verify.report import Report

LET_GO = "versions that retention let go"
DROPPED = "materializations of tables that were dropped since"
OURS = re.compile(r"(?P<asset>[A-Za-z0-9._-]+)\.v(?P<version>\d+)")
PRODUCTION = "production"


def check_records(lake: Lake, report: Report) -> None:
    """What a record says it wrote has its commit, with its run and inputs; what it read has a record."""
    written: set[tuple[str, LanceRef]] = set()
    report.looked_at["materializations"] = len(lake.history)
    for record in lake.history.values():
        check_record(lake, record, report, written)
        if not record.reused:
            written.add((record.asset, record.ref))


def check_record(
    lake: Lake, record: Record, report: Report, written: Collection[tuple[str, LanceRef]] = frozenset()
) -> None:
    """One materialization; `written` are the versions that those before it wrote."""
    _check_inputs(lake, record, report)
    if not lake.is_here(record.ref):
        report.named[DROPPED] += 1
        return
    commit = lake.commits[record.ref.table].get(record.ref.version)
    if commit is not None:
        _check_commit(record, commit, report)
    elif (record.asset, record.ref) not in lake.withdrawn:
        report.disagree("version", _at(record), "cannot be read, and nothing says that it was let go")
    elif record.reused and (record.asset, record.ref) not in written:
        report.disagree("record", _at(record), "reuses a version that no materialization before it wrote")


def check_dropped(lake: Lake, report: Report) -> None:
    """A table that was dropped is history once it was made again, and nothing that is newest leads back to the old."""
    for asset in dict.fromkeys(record.asset for record in lake.history.values()):
        newest = lake.newest(asset)
        if newest is None:
            lost = [record for record in lake.history.values() if record.asset == asset]
            said = f"{lost[-1].ref.table}.lance was dropped, or written over; its materialized versions cannot be read"
            report.disagree("version", _at(lost[-1]), said)
            continue
        gone = next((record for record in walk_known(newest, lake.history) if not lake.is_here(record.ref)), None)
        if gone is not None:
            report.disagree("version", _at(newest), f"leads back to {_at(gone)}, whose table was dropped since")


def _at(record: Record) -> str:
    return f"{record.asset} {record.data_version}"


def _check_inputs(lake: Lake, record: Record, report: Report) -> None:
    for item in record.inputs:
        read = lake.history.get(item.record_id)
        if read is None:
            report.disagree("record", _at(record), f"its input {item.asset} {item.data_version} has no record")
        elif (read.asset, read.data_version) != (item.asset, item.data_version):
            said = f"its input {item.asset} {item.data_version} is recorded as {read.asset} {read.data_version}"
            report.disagree("record", _at(record), said)


def _check_commit(record: Record, commit: Commit, report: Report) -> None:
    if record.asset not in commit.assets:
        report.disagree("record", _at(record), f"its commit holds nothing of {record.asset}")
    elif not record.reused:
        if commit.properties.get(RUN) != record.run_id:
            said = f"recorded by run {record.run_id}, its commit is by {commit.properties.get(RUN)}"
            report.disagree("record", _at(record), said)
        if inputs_of(commit.properties) != record.read:
            report.disagree("record", _at(record), "recorded are other inputs than its commit names")


def check_tags(lake: Lake, report: Report) -> None:
    """Every version that retention promises is tagged, and every tag of ours stands where its name says."""
    for record in lake.promised.values():
        check_tag(lake, record, report)
    known = {tag_name(record.asset, 0).removesuffix(".v0") for record in lake.history.values()}
    for table, tags in lake.tags.items():
        report.looked_at["tags"] += len(tags)
        for tag, version in tags.items():
            named = OURS.fullmatch(tag)
            if named and named["asset"] in known and int(named["version"]) != version:
                report.disagree("tag", f"{table}, {tag}", f"stands at version {version}")
    with report.reading(f"{MODELS}, {PRODUCTION}"):
        _check_production(lake, report)
    report.named[LET_GO] += sum(lake.is_here(ref) for _, ref in lake.withdrawn)


def check_tag(lake: Lake, record: Record, report: Report) -> None:
    """The tag that protects a version is there."""
    tag = tag_name(record.asset, record.ref.version)
    if tag not in lake.tags[record.ref.table]:
        report.disagree("tag", f"{record.ref.table}, {tag}", f"is missing: a clean-up may remove {_at(record)}")


def _check_production(lake: Lake, report: Report) -> None:
    """The tag `production` protects the model that the evaluations name."""
    digest = current_production(lake.heads[EVALUATIONS]) if EVALUATIONS in lake.heads else None
    tagged = lake.tags.get(MODELS, {}).get(PRODUCTION)
    if digest is None and tagged is None:
        return
    where = f"{MODELS}, {PRODUCTION}"
    if digest is None or tagged is None:
        said = f"in production is {digest}" if digest else "no evaluation has promoted a model"
        report.disagree("tag", where, f"{said}, and the tag {'is missing' if tagged is None else 'is there'}")
    elif not lake.tables.open(MODELS, tagged).count_rows(f"digest = '{digest}'"):
        report.disagree("tag", where, f"stands at version {tagged}, which does not have {digest}, in production")
