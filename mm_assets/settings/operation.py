"""The sections about running the graph: upkeep of its tables, checks on its assets, automation."""

from typing import Literal

from pydantic import Field

from mm_assets.settings.section import MiB, Section, Share


class UpkeepSettings(Section):
    """How the `maintenance` job keeps the tables in shape."""

    target_file_bytes: int = Field(
        256 * MiB, ge=MiB, description="Bytes that a file should have; compaction puts smaller ones together."
    )
    keep_last: int = Field(10, gt=0, description="So many materialized versions of each asset can always be read.")
    grace_seconds: float = Field(
        3600.0,
        ge=0,
        description="For so long a version that was replaced, and files of no version, are left alone: whoever reads "
        "or writes them now is not disturbed.",
    )
    scratch_seconds: float = Field(
        86_400.0,
        ge=0,
        description="Folders of unfinished models and bundles go when nothing was written into them for so long; "
        "unfinished uploads, so long after they were begun.",
    )
    indexes: list[Literal["objects", "images", "sft", "predictions"]] = Field(
        default=["images"],
        description="Tables that get an index on their key, from 100,000 rows on: for rows that are found by a few "
        "keys, or by keys that sort together.",
    )


class ChecksSettings(Section):
    """When the checks on an asset's page fail."""

    max_reject_share: Share = Field(0.2, description="Greatest share of objects that are no usable image (a warning).")
    max_label_conflicts: Share = Field(
        0.0, description="Greatest share of images of which a copy, byte for byte, has another label (a warning)."
    )
    min_score_coverage: Share = Field(1.0, description="Least share of usable images that a scorer has looked at.")
    max_pre_flight_share: Share = Field(
        0.1, description="Greatest share of chosen examples that pre-flight leaves out; beyond it nothing is published."
    )
    min_class_share: Share = Field(
        0.1, description="Least examples of a class, in those of the largest class (a warning)."
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
        False, description="Sensors and schedules run as soon as the daemon does; else they are switched on in the UI."
    )
    source_seconds: int = Field(60, gt=0, description="Seconds between two looks at the source.")
    quiet_seconds: float = Field(
        30.0, ge=0, description="What arrives in the source is listed when nothing changed there for so long."
    )
    longest_wait_seconds: float = Field(
        900.0, ge=0, description="Changes of the source that go on for so long are listed all the same."
    )
    conditions_seconds: int = Field(
        30, gt=0, description="Seconds between two looks at what is outdated, and at whether a training is worthwhile."
    )
    tables_seconds: int = Field(300, gt=0, description="Seconds between two looks for writes from outside.")
    min_new_examples: int = Field(
        100, gt=0, description="New or changed training examples since the last training that start another."
    )
    max_accuracy_drop: Share = Field(
        0.05,
        description="Drop of the accuracy on held-out images, from that of the evaluation to that of the predictions "
        "now, that starts a training where chance does not explain it (95%).",
    )
