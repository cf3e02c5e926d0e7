"""The sections about running the graph: upkeep of the tables, checks of the assets, automation."""

from typing import Literal

from pydantic import Field

from mm_assets.settings.section import MiB, Section, Share


class UpkeepSettings(Section):
    """How the `maintenance` job keeps the tables in shape."""

    target_file_bytes: int = Field(
        256 * MiB, ge=MiB, description="Bytes that a file should have; compaction merges smaller files."
    )
    keep_last: int = Field(10, gt=0, description="Number of newest materialized versions of each asset that are kept.")
    grace_seconds: float = Field(
        3600.0,
        ge=0,
        description="Seconds that a replaced version, and files of no version, are kept: runs that read or write them "
        "are not disturbed.",
    )
    scratch_seconds: float = Field(
        86_400.0,
        ge=0,
        description="Seconds after the last write until a folder of an unfinished model or bundle is removed; an "
        "unfinished upload is removed as long after its start.",
    )
    indexes: list[Literal["objects", "images", "sft", "predictions"]] = Field(
        default=["images"],
        description="Tables that get an index on their key, from 100,000 rows on. It helps to look up few rows, or "
        "rows whose keys are near each other in the order.",
    )


class ChecksSettings(Section):
    """The limits at which checks of assets fail."""

    max_reject_share: Share = Field(0.2, description="Greatest share of objects without a usable image (a warning).")
    max_label_conflicts: Share = Field(
        0.0, description="Greatest share of images that have a copy, byte for byte, with another label (a warning)."
    )
    min_score_coverage: Share = Field(1.0, description="Least share of usable images with a cell of a scorer.")
    max_pre_flight_share: Share = Field(
        0.1,
        description="Greatest share of chosen examples that pre-flight may leave out; beyond it nothing is published.",
    )
    min_class_share: Share = Field(
        0.1, description="Least size of a class, as a share of the largest class (a warning)."
    )
    min_prediction_coverage: Share = Field(0.95, description="Least share of usable images with an answer.")
    max_drift: float = Field(
        0.25,
        gt=0,
        description="Greatest population stability index of scores and predicted labels against the last promoted run "
        "(a warning); 0.1 is a moderate shift, 0.25 a large one.",
    )


class AutomationSettings(Section):
    """When the graph runs by itself."""

    running: bool = Field(
        False,
        description="Whether sensors and schedules start with the daemon; otherwise they are switched on in the UI.",
    )
    source_seconds: int = Field(60, gt=0, description="Seconds between two checks of the source for changes.")
    quiet_seconds: float = Field(
        30.0, ge=0, description="Seconds without changes in the source after which it is listed."
    )
    longest_wait_seconds: float = Field(
        900.0, ge=0, description="Seconds of ongoing changes in the source after which it is listed anyway."
    )
    conditions_seconds: int = Field(
        30, gt=0, description="Seconds between two checks for outdated assets, and for a reason to train."
    )
    tables_seconds: int = Field(300, gt=0, description="Seconds between two checks for writes from outside.")
    min_new_examples: int = Field(
        100, gt=0, description="Number of new or changed training examples since the last training that starts another."
    )
    max_accuracy_drop: Share = Field(
        0.05,
        description="Drop of the accuracy on held-out images, from the evaluation to the newest predictions, that "
        "starts a training; a drop that chance explains (95%) does not.",
    )
