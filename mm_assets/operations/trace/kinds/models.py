"""Models: what each was made from, how it was judged, and what it answered."""

import re
from collections.abc import Iterator, Mapping

import pyarrow.compute as pc

from mm_assets.catalog import BASE_MODEL, BATCH_PREDICTIONS, EVALUATION, SFT_DATASET
from mm_assets.engines.lake.rows import is_in
from mm_assets.lineage.refs import InputRef
from mm_assets.operations.trace.kinds.bundles import bundle_trace, bundles_named, bundles_of
from mm_assets.operations.trace.kinds.versions import inputs_of
from mm_assets.operations.trace.lake import Row, TracedLake
from mm_assets.operations.trace.nodes import Node, Trace
from mm_assets.stages.predict.tables import PREDICTIONS

# Of a digest's 16 digits.
FEWEST_DIGITS = 6
JUDGEMENT = ("task", "measure", "rows", "accuracy", "champion_accuracy", "interval", "promoted", "decision")


def find_model(lake: TracedLake, what: str) -> list[Trace]:
    """The models whose digest is, or begins with, these digits."""
    if not re.fullmatch(f"[0-9a-f]{{{FEWEST_DIGITS},16}}", what):
        return []
    rows = [row for digest, row in lake.models.items() if digest.startswith(what)]
    return [
        Trace(kind_of(row), row["digest"], model_facts(lake, row), model_origin(lake, row), _down(lake, row))
        for row in rows
    ]


def find_bundle(lake: TracedLake, what: str) -> list[Trace]:
    """The bundles with this id, its first digits, or this SHA-256, each with the model in it."""
    rows = bundles_named(lake, what, FEWEST_DIGITS)
    return [bundle_trace(row, model_node(lake, row["model_digest"])) for row in rows]


def kind_of(row: Row) -> str:
    """What a row of the registry is, in words."""
    return "base model" if row["kind"] == "base" else "checkpoint"


def model_facts(lake: TracedLake, row: Row) -> dict[str, object]:
    """Facts of a model."""
    return {
        "name": row["name"],
        "in_production": row["digest"] == lake.production,
        "num_bytes": row["num_bytes"],
        "created_at": row["created_at"].isoformat() if row["created_at"] is not None else None,
        "run_id": row["run_id"],
        "metrics": row["metrics"],
        "wrong": row["wrong"],
    }


def model_node(lake: TracedLake, digest: str) -> Node:
    """A model as the origin of something, with its own way up; `lost` where the registry has no row of it."""
    row = lake.models.get(digest)
    if row is None:
        return Node("model", digest, {"lost": True})
    return Node(kind_of(row), digest, model_facts(lake, row), model_origin(lake, row))


def model_origin(lake: TracedLake, row: Row) -> tuple[Node, ...]:
    """The versions that a model was made from, and its recipe."""
    order = (SFT_DATASET.key, BASE_MODEL.key)  # the images hang below the dataset
    names = sorted(row["inputs"], key=lambda name: (order.index(name) if name in order else len(order), name))
    items = [InputRef(name, row["inputs"][name], _record_id(lake, name, row["inputs"])) for name in names]
    recipe = [Node("recipe", row["recipe_digest"], row["recipe"])] if row["recipe_digest"] is not None else []
    return (*inputs_of(lake, items, set()), *recipe)


def _record_id(lake: TracedLake, asset: str, inputs: Mapping[str, str]) -> str:
    """The record of an input: of those with its version, the one whose own inputs agree with the model's."""
    same = lake.history.versions.get((asset, inputs[asset]), ())
    agree = (record for record in same if all(inputs.get(name, read) == read for name, read in record.read.items()))
    return next((record.id for record in agree), "")


def _down(lake: TracedLake, row: Row) -> tuple[Node, ...]:
    return (
        *_made_from(lake, row),
        *_evaluations(lake, row["digest"]),
        *_predictions(lake, row["digest"]),
        *bundles_of(lake, row["digest"]),
    )


def _made_from(lake: TracedLake, base: Row) -> Iterator[Node]:
    for row in lake.models.values():
        if row["recipe"].get("base_model") == base["digest"]:
            yield Node(kind_of(row), row["digest"], model_facts(lake, row))


def _evaluations(lake: TracedLake, digest: str) -> Iterator[Node]:
    for (asset, data_version), record in sorted(lake.history.first_of_version.items(), key=lambda item: item[1].at):
        sides = {record.metadata.get("challenger"): "challenger", record.metadata.get("champion"): "champion"}
        if asset == EVALUATION.key and digest in sides:
            other = next((model for model in sides if model != digest), None)
            facts = {name: record.metadata.get(name) for name in JUDGEMENT}
            run = {"run_id": record.run_id, "at": record.at.isoformat()}
            yield Node("evaluation", data_version, {"as": sides[digest], "other": other, **facts, **run})


def _predictions(lake: TracedLake, digest: str) -> Iterator[Node]:
    """How many answers of a model there are, by prompt."""
    ds = lake.head(PREDICTIONS)
    if ds is None:
        return
    prompts = ds.scanner(columns=["prompt_digest"], filter=is_in("model_digest", [digest])).to_table()["prompt_digest"]
    for item in pc.value_counts(prompts).to_pylist():
        question = (digest, item["values"])
        records = [r for r in lake.materialized(BATCH_PREDICTIONS.key) if _question_of(r.metadata) == question]
        last = {"data_version": records[0].data_version, "run_id": records[0].run_id} if records else {}
        yield Node("predictions", item["values"], {"count": item["counts"], **last})


def _question_of(metadata: Row) -> tuple[object, object]:
    return metadata.get("digest"), metadata.get("prompt_digest")
