"""Build the SFT dataset: join the scores at their own pins, choose, word, check, and write what differs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import lance
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.catalog import BASE_MODEL, SFT_DATASET
from mm_assets.engines.lake.commits import commit
from mm_assets.engines.lake.tables import Lake
from mm_assets.engines.models.files import local_folder
from mm_assets.engines.models.processors import TokenCounter
from mm_assets.engines.models.registry import Model, get
from mm_assets.history.opening import open_table
from mm_assets.history.reuse import others_wrote, reusable_record
from mm_assets.lineage.errors import BlockedError
from mm_assets.lineage.progress import Progress
from mm_assets.lineage.records import Record
from mm_assets.lineage.step import StepContext, StepResult
from mm_assets.scoring import Scorer
from mm_assets.settings import ChecksSettings, CurateSettings
from mm_assets.stages.curate.bounds import Bound, bounds_of
from mm_assets.stages.curate.examples import Wording, reads_labels
from mm_assets.stages.curate.inputs import ASSET as IMAGE_TABLE
from mm_assets.stages.curate.inputs import Reads, in_groups, joined, reads_of
from mm_assets.stages.curate.plan import Delta, delta
from mm_assets.stages.curate.selection import choose
from mm_assets.stages.curate.summary import summary
from mm_assets.stages.curate.table_diff import TableDiff
from mm_assets.stages.curate.tables import SFT, SFT_SCHEMA
from mm_assets.stages.curate.verdicts import leak_free_split, pre_flight
from mm_assets.stages.ingest.tables import IMAGES

ASSET = SFT_DATASET.key
# Images that are Python objects at the same time; there are more where a near-duplicate group is larger.
CHUNK_ROWS = 2_500


def build_dataset(
    step: StepContext,
    lake: Lake,
    settings: CurateSettings,
    scorers: Sequence[Scorer],
    checks: ChecksSettings = ChecksSettings(),  # noqa: B008  (frozen)
) -> StepResult:
    """Bring `sft.lance` up to the pinned images, scores and base model.

    Images that changed since the last time are judged again, together with their near-duplicates. All images are judged
    again where the code, the base model or the labels in the prompts changed. So they are where another run wrote the
    table.

    Args:
        step: the step with its pinned inputs.
        lake: read and written.
        settings: tasks, bounds, labels and the longest example.
        scorers: built-in scorers and your own; only those that the step pins are read.
        checks: limits beyond which nothing is published.

    Raises:
        BlockedError: the dataset would not pass its checks, or there is nothing to learn; nothing is committed.
    """
    if lake.exists(SFT):
        open_table(lake, step, SFT, SFT_SCHEMA)
    base = get(lake, step.inputs[BASE_MODEL.key].metadata["digest"])
    bounds = bounds_of(settings, [scorer for scorer in scorers if scorer.asset in step.inputs])
    builder = DatasetBuilder(step, lake, settings, bounds, base, checks)
    diff = builder.refresh()

    def put(ds: lance.LanceDataset) -> lance.LanceOperation.BaseOperation | None:
        nonlocal diff
        if others_wrote(ds, ASSET, diff.table_diff.version, step.run_id):
            diff = builder.whole()
        return diff.table_diff.operation(ds)

    def properties() -> dict[str, str]:
        return step.properties([ASSET], 1, {ASSET: diff.result})

    commit(lake, SFT, put, properties, written_at=diff.table_diff.version)
    return diff.result


@dataclass(frozen=True)
class DatasetDiff:
    """The rows that differ, and the result of the step once they are written."""

    table_diff: TableDiff
    result: StepResult

    @property
    def labels(self) -> list[str]:
        """The labels of the chosen images."""
        labels: list[str] = self.result.metadata["labels"]
        return labels


@dataclass(frozen=True)
class DatasetBuilder:
    """Makes the rows of the dataset from the pinned inputs of a step."""

    step: StepContext
    lake: Lake
    settings: CurateSettings
    bounds: Sequence[Bound]
    base: Model
    checks: ChecksSettings

    @cached_property
    def _reads(self) -> Reads:
        return reads_of(self.step, self.bounds)

    @cached_property
    def _counter(self) -> TokenCounter:
        return TokenCounter(local_folder(self.lake, self.base.digest))

    def refresh(self) -> DatasetDiff:
        """The difference since the last time; the difference of all rows where the last time does not help.

        Raises:
            BlockedError: see `build_dataset`.
        """
        before = self._before()
        changed = delta(self.lake, self._reads, before) if before else None
        if before is None or changed is None:
            return self.whole()
        labels: list[str] = before.metadata["labels"]
        diff = self._make(joined(self.lake, self._reads, changed.rows), labels, changed)
        return self._checked(diff) if self._fits(diff, labels) else self.whole(diff.labels)

    def _before(self) -> Record | None:
        """The last materialization, if images that did not change since would be judged the same now."""
        record = self.step.last_record(ASSET)
        if record is None or not self.lake.exists(SFT):
            return None
        record = reusable_record(self.lake.open(SFT), record, self.step.code_versions[ASSET])
        return record if record and record.metadata.get("base_model") == self.base.digest else None

    def whole(self, labels: list[str] | None = None) -> DatasetDiff:
        """The difference between all rows and the table as it is now.

        Args:
            labels: the labels that will be chosen, where they are known.

        Raises:
            BlockedError: see `build_dataset`.
        """
        rows = joined(self.lake, self._reads)
        labels = self._labels_at_hand(rows) if labels is None else labels
        diff = self._make(rows, labels)
        return self._checked(diff if self._fits(diff, labels) else self._make(rows, diff.labels))

    def _checked(self, diff: DatasetDiff) -> DatasetDiff:
        """Finish writing a difference that passes the checks.

        Raises:
            BlockedError: a check failed.
        """
        table_diff = diff.table_diff
        verdicts = (
            leak_free_split(table_diff.examples),
            pre_flight(table_diff.counted, self.settings, self.checks.max_pre_flight_share),
        )
        if not all(verdict.passed for verdict in verdicts):
            raise BlockedError(ASSET, verdicts)
        table_diff.finish()
        return replace(diff, result=replace(diff.result, verdicts=verdicts))

    def _labels_at_hand(self, rows: pa.Table) -> list[str]:
        """The labels that usable images have; nearly always these are chosen in the end."""
        labels = pc.unique(rows["label"].filter(pc.is_null(rows["error"]))).drop_null().to_pylist()
        allowed = self.settings.labels
        return sorted(label for label in labels if label.strip() and (allowed is None or label in allowed))

    def _fits(self, diff: DatasetDiff, labels: list[str]) -> bool:
        """Whether the words of the examples name exactly the labels that were chosen."""
        return diff.labels == labels or not reads_labels(self.settings)

    def _make(self, rows: pa.Table, labels: list[str], changed: Delta | None = None) -> DatasetDiff:
        table_diff = TableDiff(self.step, self.lake, whole=changed is None)
        for keys in self._keys(changed.removed) if changed else ():
            table_diff.remove(table_diff.places(keys))
        wording = Wording(self.settings, labels, self._counter)
        rows, pieces = in_groups(rows, CHUNK_ROWS)
        places = [table_diff.places(keys) for keys in self._keys(rows["image_id"])]
        for start, count in pieces:
            choices = choose(rows.slice(start, count).to_pylist(), self.settings, self.bounds)
            examples = pa.Table.from_pylist([wording.example(choice) for choice in choices], schema=SFT_SCHEMA)
            stand = [chunk for column in places for chunk in column.slice(start, count).chunks]
            table_diff.add(examples, pa.chunked_array(stand, pa.int32()))
        counted = table_diff.counted
        figures = summary(counted, self.settings)
        metadata = {**figures, "rows_considered": figures["rows"], **table_diff.counts, "base_model": self.base.digest}
        return DatasetDiff(
            table_diff,
            StepResult(metadata, Progress({IMAGES: self._reads.refs[IMAGE_TABLE].version}, table_diff.version)),
        )

    def _keys(self, image_ids: pa.ChunkedArray) -> list[pa.ChunkedArray]:
        """Keys of the examples of images, by task."""
        return [pc.binary_join_element_wise(task.task, image_ids, ":") for task in self.settings.tasks]
