"""Models: the files under a digest are those that the digest names, and the history names models of the registry."""

from collections.abc import Callable

from mm_assets.catalog import keys_where
from mm_assets.engines.models.files import stored_digest
from mm_assets.engines.models.registry import TABLE as MODELS
from mm_assets.operations.verify.lake import LakeSnapshot
from mm_assets.operations.verify.report import Report
from mm_assets.stages.evaluate.tables import EVALUATIONS

# The assets that register models.
MAKERS = keys_where(lambda row: row.registers_models)


def check_models(lake: LakeSnapshot, report: Report, log: Callable[[str], None]) -> None:
    """Hash the files of every registered model, and look up every digest that the history and the evaluations name."""
    if MODELS in lake.heads:
        with report.reading(MODELS):
            _check_models(lake, report, log)


def _check_models(lake: LakeSnapshot, report: Report, log: Callable[[str], None]) -> None:
    rows = lake.heads[MODELS].to_table(columns=["digest", "num_bytes"]).to_pylist()
    for row in rows:
        digest = row["digest"]
        if row["num_bytes"] is None:
            report.disagree("model", f"models/{digest}", "the registry does not say how many bytes its files have")
        log(f"model {digest}, {(row['num_bytes'] or 0) / 1e6:,.0f} MB")
        there = stored_digest(lake.tables, digest)
        report.looked_at["models"] += 1
        if there != digest:
            said = "its files are gone" if there is None else f"its files have the digest {there}"
            report.disagree("model", f"models/{digest}", said)
    known = {row["digest"] for row in rows}
    dropped = dropped_models(lake) - known
    for where, digest in _named(lake):
        if digest in dropped:
            report.named["evaluations of models of a registry that was dropped"] += 1
        elif digest not in known:
            report.disagree("model", where, f"names the model {digest}, which is not in the registry")


def dropped_models(lake: LakeSnapshot) -> set[str]:
    """Digests of models that a registry had which was dropped since."""
    lost = (
        record for record in lake.history.records.values() if record.asset in MAKERS and not lake.is_here(record.ref)
    )
    return {str(record.metadata["digest"]) for record in lost if "digest" in record.metadata}


def _named(lake: LakeSnapshot) -> list[tuple[str, str]]:
    """Where a model is named, and its digest."""
    found = [
        (f"{record.asset} {record.data_version}", str(record.metadata["digest"]))
        for record in lake.history.records.values()
        if record.asset in MAKERS and lake.is_here(record.ref) and "digest" in record.metadata
    ]
    if EVALUATIONS in lake.heads:
        judged = lake.heads[EVALUATIONS].to_table(columns=["challenger", "champion"]).to_pydict()
        for side, digests in judged.items():
            found += [(f"{EVALUATIONS}, {side}", digest) for digest in sorted({*digests} - {None})]
    return found
