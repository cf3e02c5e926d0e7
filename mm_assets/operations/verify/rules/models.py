"""Models: files have the digest that they lie under, and every model that is named is in the registry."""

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
        digest_now = stored_digest(lake.tables, digest)
        report.looked_at["models"] += 1
        if digest_now != digest:
            sentence = "its files are gone" if digest_now is None else f"its files have the digest {digest_now}"
            report.disagree("model", f"models/{digest}", sentence)
    registered = {row["digest"] for row in rows}
    dropped = dropped_models(lake) - registered
    for where, digest in _models_named(lake):
        if digest in dropped:
            report.expected_leftovers["evaluations of models of a registry that was dropped"] += 1
        elif digest not in registered:
            report.disagree("model", where, f"names the model {digest}, which is not in the registry")


def dropped_models(lake: LakeSnapshot) -> set[str]:
    """Digests of models in a registry that was dropped since."""
    lost = (
        record for record in lake.history.records.values() if record.asset in MAKERS and not lake.is_here(record.ref)
    )
    return {str(record.metadata["digest"]) for record in lost if "digest" in record.metadata}


def _models_named(lake: LakeSnapshot) -> list[tuple[str, str]]:
    """Every place that names a model, with its digest."""
    places = [
        (f"{record.asset} {record.data_version}", str(record.metadata["digest"]))
        for record in lake.history.records.values()
        if record.asset in MAKERS and lake.is_here(record.ref) and "digest" in record.metadata
    ]
    if EVALUATIONS in lake.heads:
        judged = lake.heads[EVALUATIONS].to_table(columns=["challenger", "champion"]).to_pydict()
        for side, digests in judged.items():
            places += [(f"{EVALUATIONS}, {side}", digest) for digest in sorted({*digests} - {None})]
    return places
