"""Records of the lake's history against commits, tags and each other."""

import re
from collections.abc import Collection

from mm_assets.engines.models.registry import TABLE as MODELS
from mm_assets.history.origins import Commit
from mm_assets.lineage.ancestry import walk_known
from mm_assets.lineage.promotions import PROMOTING
from mm_assets.lineage.properties import RUN
from mm_assets.lineage.records import Record
from mm_assets.lineage.refs import LanceRef, tag_name
from mm_assets.operations.verify.history import inputs_in
from mm_assets.operations.verify.lake import LakeSnapshot
from mm_assets.operations.verify.report import Report
from mm_assets.stages.evaluate.tables import EVALUATIONS, current_production

LET_GO = "versions that retention let go"
DROPPED = "materializations of tables that were dropped since"
CUT_OFF = "tags of versions whose materialization was cut off"
OURS = re.compile(r"(?P<asset>[A-Za-z0-9._-]+)\.v(?P<version>\d+)")
PRODUCTION = "production"


def check_records(lake: LakeSnapshot, report: Report) -> None:
    """What a record says it wrote has its commit, with its run and inputs; what it read has a record."""
    earlier: set[tuple[str, LanceRef]] = set()
    report.looked_at["materializations"] = len(lake.history.records)
    for record in lake.history.records.values():
        check_record(lake, record, report, earlier)
        earlier.add((record.asset, record.ref))


def check_record(lake: LakeSnapshot, record: Record, report: Report, earlier: Collection[tuple[str, LanceRef]]) -> None:
    """One materialization; `earlier` are the versions that those before it name."""
    _check_inputs(lake, record, report)
    if not lake.is_here(record.ref):
        report.named[DROPPED] += 1
        return
    commit = lake.commits[record.ref.table].get(record.ref.version)
    if commit is not None:
        _check_commit(record, commit, report)
        if record.reused and (record.asset, record.ref) not in earlier:
            _check_found(lake, record, report)
    elif (record.asset, record.ref) not in lake.expired:
        report.disagree("version", _at(record), "cannot be read, and nothing says that it was let go")


def check_dropped(lake: LakeSnapshot, report: Report) -> None:
    """A table that was dropped is history once it was made again, and nothing that is newest leads back to the old."""
    for asset in dict.fromkeys(record.asset for record in lake.history.records.values()):
        newest = lake.newest(asset)
        if newest is None:
            lost = [record for record in lake.history.records.values() if record.asset == asset]
            said = f"{lost[-1].ref.table}.lance was dropped, or written over; its materialized versions cannot be read"
            report.disagree("version", _at(lost[-1]), said)
            continue
        gone = next(
            (record for record in walk_known(newest, lake.history.records) if not lake.is_here(record.ref)), None
        )
        if gone is not None:
            report.disagree("version", _at(newest), f"leads back to {_at(gone)}, whose table was dropped since")


def _at(record: Record) -> str:
    return f"{record.asset} {record.data_version}"


def _check_inputs(lake: LakeSnapshot, record: Record, report: Report) -> None:
    for item in record.inputs:
        read = lake.history.records.get(item.record_id)
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
        if inputs_in(commit) != record.read:
            report.disagree("record", _at(record), "recorded are other inputs than its commit names")


def _check_found(lake: LakeSnapshot, record: Record, report: Report) -> None:
    """What another run wrote and did not record is reused where it was the asset's newest when it was looked at."""
    commits = lake.commits[record.ref.table].items()
    later = [
        v for v, commit in commits if record.ref.version < v <= record.confirmed_at and record.asset in commit.assets
    ]
    if later:
        said = f"reuses what no materialization before it names, though v{min(later)} of the asset was there already"
        report.disagree("record", _at(record), said)


def check_tags(lake: LakeSnapshot, report: Report) -> None:
    """Every version that retention promises is tagged, and every tag of ours stands where its name says."""
    for record in lake.promised.values():
        check_tag(lake, record, report)
    assets = {record.asset for record in (*lake.history.records.values(), *lake.drafts)}
    known = {tag_name(asset, 0).removesuffix(".v0") for asset in assets}
    made = {(record.ref.table, _tag(record)) for record in lake.history.records.values() if lake.is_here(record.ref)}
    for table, tags in lake.tags.items():
        report.looked_at["tags"] += len(tags)
        for tag, version in tags.items():
            named = OURS.fullmatch(tag)
            if not named or named["asset"] not in known:
                continue
            if int(named["version"]) != version:
                report.disagree("tag", f"{table}, {tag}", f"stands at version {version}")
            elif (table, tag) not in made:
                _check_unmade(lake, table, tag, version, report)
    with report.reading(f"{MODELS}, {PRODUCTION}"):
        _check_production(lake, report)
    report.named[LET_GO] += sum(lake.is_here(ref) for _, ref in lake.expired)


def _check_unmade(lake: LakeSnapshot, table: str, tag: str, version: int, report: Report) -> None:
    """A tag comes before the row of the history: a run can be cut off in between."""
    commit = lake.commits[table].get(version)
    if commit is not None and tag in {tag_name(asset, version) for asset in commit.assets}:
        report.named[CUT_OFF] += 1
    else:
        report.disagree("tag", f"{table}, {tag}", "protects a version that nobody materialized")


def check_tag(lake: LakeSnapshot, record: Record, report: Report) -> None:
    """The tag that protects a version is there."""
    tag = _tag(record)
    if tag not in lake.tags.get(record.ref.table, {tag: 0}):  # tags that cannot be read are told already
        report.disagree("tag", f"{record.ref.table}, {tag}", f"is missing: a clean-up may remove {_at(record)}")


def _tag(record: Record) -> str:
    return tag_name(record.asset, record.ref.version)


def _check_production(lake: LakeSnapshot, report: Report) -> None:
    """The tag `production` protects the model that the evaluations name."""
    if MODELS in lake.heads and MODELS not in lake.tags:
        return
    said = _about_production(lake)
    if said and not PROMOTING.isdisjoint(lake.untold):
        report.named["tags of production that the next evaluation will set"] += 1
    elif said:
        report.disagree("tag", f"{MODELS}, {PRODUCTION}", said)


def _about_production(lake: LakeSnapshot) -> str | None:
    """What is wrong with it."""
    digest = current_production(lake.heads[EVALUATIONS]) if EVALUATIONS in lake.heads else None
    tagged = lake.tags.get(MODELS, {}).get(PRODUCTION)
    if digest is None and tagged is None:
        return None
    if digest is None or tagged is None:
        said = f"in production is {digest}" if digest else "no evaluation has promoted a model"
        return f"{said}, and the tag {'is missing' if tagged is None else 'is there'}"
    if not lake.tables.open(MODELS, tagged).count_rows(f"digest = '{digest}'"):
        return f"stands at version {tagged}, which does not have {digest}, in production"
    return None
