"""Examples: in which versions of the dataset an image is one, and which checkpoints saw it there."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from mm_assets.catalog import IMAGE_TABLE, SFT_DATASET
from mm_assets.engines.lake.rows import is_in
from mm_assets.lineage.refs import LanceRef
from mm_assets.operations.trace.kinds.images import Past, pinned_node, read_pasts
from mm_assets.operations.trace.kinds.versions import unreadable_version, version_node
from mm_assets.operations.trace.lake import Row, TracedLake, rows_where
from mm_assets.operations.trace.nodes import Node, Trace
from mm_assets.operations.trace.reader import Reader
from mm_assets.settings import TaskName
from mm_assets.splits import TEST, TRAIN, VALIDATION
from mm_assets.stages.evaluate.tables import EVALUATIONS

ASSET = SFT_DATASET.key
TASKS: tuple[str, ...] = get_args(TaskName)
COLUMNS = ["example_id", "task", "images", "label", "group_id", "split", "num_tokens", "left_out"]
JUDGED = [
    *("evaluation_id", "task", "image_id", "sha256", "label", "challenger", "champion", "promoted", "error", "at"),
    *("challenger_score", "challenger_label", "challenger_confidence"),
    *("champion_score", "champion_label", "champion_confidence"),
]
# Of an example's image: it has one (Lance counts from 1).
DIGEST = "images[1].sha256"
SAW = {TRAIN: "trained on it", VALIDATION: "validated on it", TEST: "held out"}
EVALUATED = "held out, evaluated on it"


@dataclass(frozen=True)
class Dataset:
    """A version of the dataset, and the checkpoints that were made from it."""

    data_version: str
    ref: LanceRef | None
    newest: bool
    images: str | None
    checkpoints: tuple[Row, ...]


def read_datasets(lake: TracedLake) -> list[Dataset]:
    """The newest dataset, and that of every checkpoint in the registry, the newest checkpoint first."""
    checkpoints: dict[str, list[Row]] = {}
    last = lake.history.newest.get(ASSET)
    if last is not None:
        checkpoints[last.data_version] = []
    for model in reversed(lake.models.values()):
        if model["kind"] == "checkpoint" and ASSET in model["inputs"]:
            checkpoints.setdefault(model["inputs"][ASSET], []).append(model)
    return [
        Dataset(
            data_version,
            lake.ref(ASSET, data_version),
            newest=last is not None and last.data_version == data_version,
            images=_images_of(lake, data_version, models),
            checkpoints=tuple(models),
        )
        for data_version, models in checkpoints.items()
    ]


def _images_of(lake: TracedLake, data_version: str, models: Sequence[Row]) -> str | None:
    """The images version that a dataset was read with last; a reused dataset was read with several."""
    last, first = lake.history.newest.get(ASSET), lake.history.first_of_version.get((ASSET, data_version))
    if last is not None and last.data_version == data_version:
        return last.read.get(IMAGE_TABLE.key)
    pinned_images = (model["inputs"][IMAGE_TABLE.key] for model in models if IMAGE_TABLE.key in model["inputs"])
    return next(pinned_images, first.read.get(IMAGE_TABLE.key) if first is not None else None)


@dataclass(frozen=True)
class Uses:
    """Uses of images in training and evaluation: rows of the datasets and of the evaluations."""

    lake: TracedLake
    datasets: Sequence[Dataset]
    examples: Mapping[str, Mapping[str, Sequence[Row]]]  # by data version, then by image id
    evaluations: Mapping[str, Sequence[Row]]  # by image id, oldest first

    def knows(self, image_id: str) -> bool:
        """Whether any row names the image."""
        return bool(self.evaluations.get(image_id)) or any(image_id in rows for rows in self.examples.values())

    def of(self, past: Past) -> tuple[Node, ...]:
        """The examples and held-out answers of one image."""
        listed: set[tuple[str, str]] = set()
        nodes = [node for item in self.datasets for node in self._in_dataset(item, past, listed)]
        others = (row for row in self.evaluations.get(past.image_id, ()) if _key(row) not in listed)
        return (*nodes, *(answer_node(row) for row in others))

    def _in_dataset(self, item: Dataset, past: Past, listed: set[tuple[str, str]]) -> Iterator[Node]:
        rows = self.examples.get(item.data_version, {}).get(past.image_id, ())
        if self.lake.at(item.ref) is None:
            models = tuple(self._checkpoint(model, None, past.image_id, listed) for model in item.checkpoints)
            yield unreadable_version(self.lake, ASSET, item.data_version, models)
        elif item.newest and not rows:
            yield Node("no example", item.data_version, {"sft_dataset": item.data_version, "images": item.images})
        for row in rows:
            models = tuple(self._checkpoint(model, row, past.image_id, listed) for model in item.checkpoints)
            yield Node("example", row["example_id"], _example_facts(item, row, past), models)

    def _checkpoint(self, model: Row, example: Row | None, image_id: str, listed: set[tuple[str, str]]) -> Node:
        """A checkpoint below an example. Where the example is unreadable, only evaluations say how it saw the image."""
        rows = [
            row
            for row in self.evaluations.get(image_id, ())
            if row["challenger"] == model["digest"] and (example is None or row["task"] == example["task"])
        ]
        listed.update(_key(row) for row in rows)
        split = example["split"] if example else None
        how = SAW.get(split or "", "did not see it" if example else "not known")
        if rows and split in (TEST, None):
            how = EVALUATED
        model_facts = {"in_production": model["digest"] == self.lake.production, "name": model["name"]}
        facts = {"how": how, **model_facts, "images": model["inputs"].get(IMAGE_TABLE.key)}
        return Node("checkpoint", model["digest"], facts, tuple(answer_node(row) for row in rows))


def _key(row: Row) -> tuple[str, str]:
    return row["evaluation_id"], row["task"]


def _example_facts(item: Dataset, row: Row, past: Past) -> dict[str, Any]:
    """Facts of an example; `same_bytes` is null where there are no bytes to compare with."""
    digests = {image["image_id"]: image["sha256"] for image in row["images"] or ()}
    sha256 = digests.get(past.image_id)
    same = sha256 == past.sha256 if past.sha256 and sha256 else None
    row_facts = {name: row[name] for name in ("task", "label", "split", "left_out", "num_tokens", "group_id")}
    place = {"sft_dataset": item.data_version, "newest": item.newest, "images": item.images}
    return {**place, **row_facts, "sha256": sha256, "same_bytes": same}


def answer_node(row: Row) -> Node:
    """One image in one evaluation: what the challenger answered, and what the champion."""
    facts = {name: row[name] for name in JUDGED if name not in ("evaluation_id", "at")}
    right = row["challenger_label"] == row["label"] if row["task"] == "label" and row["error"] is None else None
    return Node("held-out answer", row["evaluation_id"], {**facts, "right": right, "at": row["at"].isoformat()})


def uses_of(lake: TracedLake, image_ids: Sequence[str], tasks: Sequence[str] = TASKS) -> Uses:
    """Reads the uses of several images at once."""
    datasets = read_datasets(lake)
    keys = {f"{task}:{image_id}": image_id for image_id in image_ids for task in tasks}
    reader = Reader(is_in("example_id", keys), COLUMNS)
    examples = {}
    for item in datasets:
        of_images: dict[str, list[Row]] = {}
        for row in sorted(reader.rows(lake.at(item.ref)), key=lambda row: row["example_id"]):
            of_images.setdefault(keys[row["example_id"]], []).append(row)
        examples[item.data_version] = of_images
    evaluations: dict[str, list[Row]] = {}
    condition = f"{is_in('image_id', image_ids)} and {is_in('task', tasks)}"
    judged = rows_where(lake.head(EVALUATIONS), condition, JUDGED)
    for row in sorted(judged, key=lambda row: (row["at"], row["task"])):
        evaluations.setdefault(row["image_id"], []).append(row)
    return Uses(lake, datasets, examples, evaluations)


def image_ids_in_datasets(lake: TracedLake, sha256: str) -> list[str]:
    """Ids of the images that the datasets name with these bytes."""
    reader = Reader(is_in(DIGEST, [sha256]), ["images"])
    rows = (row for item in read_datasets(lake) for row in reader.rows(lake.at(item.ref)))
    return list(dict.fromkeys(row["images"][0]["image_id"] for row in rows))


def find_example(lake: TracedLake, what: str) -> list[Trace]:
    """The example with this id, in every dataset that is the newest or was trained on."""
    task, _, image_id = what.partition(":")
    if task not in TASKS:
        return []
    uses = uses_of(lake, [image_id], [task])
    rows = [row for item in uses.datasets for row in uses.examples[item.data_version].get(image_id, ())]
    if not rows:
        return []
    past = read_pasts(lake, [image_id])[image_id]
    down = uses.of(past)
    facts = next(node.facts for node in down if node.kind == "example")
    return [Trace("example", what, facts, _origins(lake, past, down), down)]


def _origins(lake: TracedLake, past: Past, down: Sequence[Node]) -> tuple[Node, ...]:
    """The images of an example at the versions that its datasets pinned, each digest once; and the datasets."""
    example_facts = [node.facts for node in down if node.kind == "example"]
    images = {facts["sha256"]: facts["images"] for facts in reversed(example_facts)}
    versions = (version_node(lake, ASSET, facts["sft_dataset"]) for facts in example_facts)
    return (*(pinned_node(past, *item) for item in images.items()), *versions)
