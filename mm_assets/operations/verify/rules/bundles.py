"""Bundles: the newest one's file is there, those that are there are whole, and each is of a registered model."""

from collections.abc import Callable

from mm_assets.catalog import SERVING_BUNDLE
from mm_assets.engines.models.files import bundle_sha256, bundle_size
from mm_assets.engines.models.registry import TABLE as MODELS
from mm_assets.operations.verify.lake import LakeSnapshot
from mm_assets.operations.verify.report import Report
from mm_assets.operations.verify.rules.models import dropped_models
from mm_assets.stages.serve.tables import BUNDLES


def check_bundles(lake: LakeSnapshot, report: Report, log: Callable[[str], None], *, deep: bool) -> None:
    """Look for the file of every bundle, and compare its size (deep: its SHA-256) with its row.

    The files of older bundles may be deleted to save the disk; a step packs one again when it is needed.
    """
    if BUNDLES in lake.heads:
        with report.reading(BUNDLES):
            _check_bundles(lake, report, log, deep=deep)


def _check_bundles(lake: LakeSnapshot, report: Report, log: Callable[[str], None], *, deep: bool) -> None:
    columns = ["id", "model_digest", "uri", "num_bytes", "sha256"]
    rows = lake.heads[BUNDLES].to_table(columns=columns).to_pylist()
    newest = lake.newest(SERVING_BUNDLE.key)
    current = newest.metadata.get("bundle") if newest is not None else None
    if current is not None and current not in {row["id"] for row in rows}:
        report.disagree("bundle", str(newest and newest.data_version), f"names the bundle {current}, which has no row")
    for row in rows:
        report.looked_at["bundles"] += 1
        size = bundle_size(lake.tables, row["uri"])
        if size is None and row["id"] != current:
            report.expected_leftovers["older bundles whose file was deleted"] += 1
        elif size is None:
            report.disagree("bundle", row["uri"], "its file is gone")
        elif size != row["num_bytes"]:
            report.disagree("bundle", row["uri"], f"it has {size:,} bytes instead of {row['num_bytes']:,}")
        elif deep:
            log(f"bundle {row['id']}, {size / 1e6:,.0f} MB")
            report.looked_at["bundles hashed"] += 1
            if bundle_sha256(lake.tables, row["uri"]) != row["sha256"]:
                report.disagree("bundle", row["uri"], "its bytes do not have its SHA-256")
    _check_models(lake, {row["model_digest"] for row in rows}, report)


def _check_models(lake: LakeSnapshot, digests: set[str], report: Report) -> None:
    registry = lake.heads.get(MODELS)
    registered = set(registry.to_table(columns=["digest"])["digest"].to_pylist()) if registry is not None else set()
    for digest in sorted(digests - registered - dropped_models(lake)):
        report.disagree("bundle", BUNDLES, f"names the model {digest}, which is not in the registry")
