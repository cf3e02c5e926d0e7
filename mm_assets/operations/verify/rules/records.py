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

EXPIRED = "expired versions"
DROPPED = "materializations of tables that were dropped since"
CUT_OFF = "tags of versions whose materialization was cut off"
OUR_TAG = re.compile(r"(?P<asset>[A-Za-z0-9._-]+)\.v(?P<version>\d+)")
PRODUCTION = "production"


def check_records(lake: LakeSnapshot, report: Report) -> None:
    """Every record agrees with its commit about run and inputs, and every input has a record."""
    earlier: set[tuple[str, LanceRef]] = set()
    report.looked_at["materializations"] = len(lake.history.records)
    for record in lake.history.records.values():
        check_record(lake, record, report, earlier)
        earlier.add((record.asset, record.ref))


def check_record(lake: LakeSnapshot, record: Record, report: Report, earlier: Collection[tuple[str, LanceRef]]) -> None:
    """Checks one record; `earlier` has the versions that records before it name."""
    _check_inputs(lake, record, report)
    if not lake.is_here(record.ref):
        report.expected_leftovers[DROPPED] += 1
        return
    commit = lake.commits[record.ref.table].get(record.ref.version)
    if commit is not None:
        _check_commit(record, commit, report)
        if record.reused and (record.asset, record.ref) not in earlier:
            _check_reused(lake, record, report)
    elif (record.asset, record.ref) not in lake.expired:
        report.disagree("version", _at(record), "cannot be read, and lineage.lance does not say that it expired")


def check_dropped(lake: LakeSnapshot, report: Report) -> None:
    """A dropped table is no disagreement once it was made again and no newest version leads back to it."""
    for asset in dict.fromkeys(record.asset for record in lake.history.records.values()):
        newest = lake.newest(asset)
        if newest is None:
            lost = [record for record in lake.history.records.values() if record.asset == asset]
            sentence = (
                f"{lost[-1].ref.table}.lance was dropped, or written over; its materialized versions cannot be read"
            )
            report.disagree("version", _at(lost[-1]), sentence)
            continue
        dropped = next(
            (record for record in walk_known(newest, lake.history.records) if not lake.is_here(record.ref)), None
        )
        if dropped is not None:
            report.disagree("version", _at(newest), f"leads back to {_at(dropped)}, whose table was dropped since")


def _at(record: Record) -> str:
    return f"{record.asset} {record.data_version}"


def _check_inputs(lake: LakeSnapshot, record: Record, report: Report) -> None:
    for item in record.inputs:
        read = lake.history.records.get(item.record_id)
        if read is None:
            report.disagree("record", _at(record), f"its input {item.asset} {item.data_version} has no record")
        elif (read.asset, read.data_version) != (item.asset, item.data_version):
            sentence = f"its input {item.asset} {item.data_version} is recorded as {read.asset} {read.data_version}"
            report.disagree("record", _at(record), sentence)


def _check_commit(record: Record, commit: Commit, report: Report) -> None:
    if record.asset not in commit.assets:
        report.disagree("record", _at(record), f"its commit holds nothing of {record.asset}")
    elif not record.reused:
        if commit.properties.get(RUN) != record.run_id:
            sentence = f"recorded by run {record.run_id}, its commit is by {commit.properties.get(RUN)}"
            report.disagree("record", _at(record), sentence)
        if inputs_in(commit) != record.read:
            report.disagree("record", _at(record), "recorded are other inputs than its commit names")


def _check_reused(lake: LakeSnapshot, record: Record, report: Report) -> None:
    """A reused version that no earlier record names must have been the asset's newest when the run read the table.

    A run may be killed after its commit; the next run reuses that commit. For example, for one asset of a table:
        v7  commit by run A, killed before its row of lineage.lance
        v8  commit of another asset
        run B read the table at v8 (`confirmed_at`) and recorded "reused, v7"
    This is right: no commit of the asset lies in v8..v8. With a commit of the asset at v8, B should have named v8.
    """
    commits = lake.commits[record.ref.table].items()
    later = [
        v for v, commit in commits if record.ref.version < v <= record.confirmed_at and record.asset in commit.assets
    ]
    if later:
        sentence = (
            f"reuses what no materialization before it names, though v{min(later)} of the asset was there already"
        )
        report.disagree("record", _at(record), sentence)


def check_tags(lake: LakeSnapshot, report: Report) -> None:
    """Every version that must be readable has its tag, and every tag of ours stands at the version in its name."""
    for record in lake.must_be_readable.values():
        check_tag(lake, record, report)
    assets = {record.asset for record in (*lake.history.records.values(), *lake.drafts)}
    asset_prefixes = {tag_name(asset, 0).removesuffix(".v0") for asset in assets}
    tags_of_records = {
        (record.ref.table, _tag(record)) for record in lake.history.records.values() if lake.is_here(record.ref)
    }
    for table, tags in lake.tags.items():
        report.looked_at["tags"] += len(tags)
        for tag, version in tags.items():
            match = OUR_TAG.fullmatch(tag)
            if not match or match["asset"] not in asset_prefixes:
                continue
            if int(match["version"]) != version:
                report.disagree("tag", f"{table}, {tag}", f"stands at version {version}")
            elif (table, tag) not in tags_of_records:
                _check_unrecorded(lake, table, tag, version, report)
    with report.reading(f"{MODELS}, {PRODUCTION}"):
        _check_production(lake, report)
    report.expected_leftovers[EXPIRED] += sum(lake.is_here(ref) for _, ref in lake.expired)


def _check_unrecorded(lake: LakeSnapshot, table: str, tag: str, version: int, report: Report) -> None:
    """A tag comes before the row of the history: a run can be cut off in between."""
    commit = lake.commits[table].get(version)
    if commit is not None and tag in {tag_name(asset, version) for asset in commit.assets}:
        report.expected_leftovers[CUT_OFF] += 1
    else:
        report.disagree("tag", f"{table}, {tag}", "protects a version that nobody materialized")


def check_tag(lake: LakeSnapshot, record: Record, report: Report) -> None:
    """The tag that protects a version is there."""
    tag = _tag(record)
    if tag not in lake.tags.get(record.ref.table, {tag: 0}):  # unreadable tags are in the report already
        report.disagree("tag", f"{record.ref.table}, {tag}", f"is missing: a clean-up may remove {_at(record)}")


def _tag(record: Record) -> str:
    return tag_name(record.asset, record.ref.version)


def _check_production(lake: LakeSnapshot, report: Report) -> None:
    """The tag `production` protects the model that the evaluations name."""
    if MODELS in lake.heads and MODELS not in lake.tags:
        return
    problem = _problem_of_production(lake)
    if problem and not PROMOTING.isdisjoint(lake.assets_missing_last_record):
        report.expected_leftovers["tags of production that the next evaluation will set"] += 1
    elif problem:
        report.disagree("tag", f"{MODELS}, {PRODUCTION}", problem)


def _problem_of_production(lake: LakeSnapshot) -> str | None:
    """What is wrong with the tag `production`; None where nothing is."""
    digest = current_production(lake.heads[EVALUATIONS]) if EVALUATIONS in lake.heads else None
    tagged = lake.tags.get(MODELS, {}).get(PRODUCTION)
    if digest is None and tagged is None:
        return None
    if digest is None or tagged is None:
        state = f"in production is {digest}" if digest else "no evaluation has promoted a model"
        return f"{state}, and the tag {'is missing' if tagged is None else 'is there'}"
    if not lake.tables.open(MODELS, tagged).count_rows(f"digest = '{digest}'"):
        return f"stands at version {tagged}, which does not have {digest}, in production"
    return None
