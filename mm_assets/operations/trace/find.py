"""Finds what a name stands for: an image, bytes, an example, a model, a bundle, a prediction or a data version."""

import re
from collections.abc import Mapping
from urllib.parse import quote

from mm_assets.engines.lake.rows import is_in
from mm_assets.operations.trace.kinds.examples import find_example, image_ids_in_datasets, uses_of
from mm_assets.operations.trace.kinds.images import (
    ASSET,
    Past,
    earlier_nodes,
    find_rows,
    image_facts,
    origin_of,
    read_pasts,
    read_pasts_at,
)
from mm_assets.operations.trace.kinds.models import find_bundle, find_model
from mm_assets.operations.trace.kinds.predictions import find_prediction, prediction_node, predictions_of
from mm_assets.operations.trace.kinds.scores import scores_of
from mm_assets.operations.trace.kinds.versions import find_version, neighbouring_versions
from mm_assets.operations.trace.lake import TracedLake, rows_where
from mm_assets.operations.trace.nodes import Node, Trace
from mm_assets.stages.evaluate.tables import EVALUATIONS
from mm_assets.stages.predict.tables import PREDICTIONS

# Identical copies that are traced; more of them are counted.
MOST_COPIES = 1_000
NEAR_MISSES = 3
SHA256 = "[0-9a-f]{64}"
DATA_VERSION = r"\w+:[0-9a-f]{6}@v\d+"
EXAMPLES = (
    "an image id or source uri (pool/1.jpg), the SHA-256 of a file, an example (label:pool/1.jpg), a model digest "
    "or a bundle id (6 to 16 digits), a prediction id (32 digits), a data version (images:2b23c4@v4)"
)


def find(lake: TracedLake, what: str) -> list[Trace]:
    """Everything in the lake that goes by this name (as the command line gives it); [] where nothing does."""
    name = as_text(what)
    finders = (find_example, find_model, find_bundle, find_prediction, find_version)
    images = find_images(lake, name, quote(what, errors="surrogateescape"))
    return [*images, *(trace for finder in finders for trace in finder(lake, name))]


def as_text(what: str) -> str:
    """A name as the lake writes it. The command line gives bytes that are not UTF-8 as surrogates."""
    return what.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def find_images(lake: TracedLake, what: str, source_uri: str) -> list[Trace]:
    """The image with this id, those at this source uri, or those with these bytes (first of all, how many).

    A folder's or a bucket's source uri is stored percent-encoded; it is found by its plain form too.
    """
    if re.fullmatch(SHA256, what):
        ids = _image_ids_with_bytes(lake, what)
        if ids:
            traced = ids[:MOST_COPIES]
            return [
                Trace("bytes", what, {"copies": len(ids), "traced": len(traced)}),
                *_images(lake, read_pasts(lake, traced)),
            ]
    return _images(lake, read_pasts_at(lake, what, source_uri))


def _image_ids_with_bytes(lake: TracedLake, sha256: str) -> list[str]:
    """Ids of all images that have or had these bytes, those that have them now first.

    The datasets are searched last, when nothing else has the bytes: a million examples take a while.
    """
    image_ids = [item.row["image_id"] for item in find_rows(lake, {"sha256": [sha256]}, [])]
    for table in (EVALUATIONS, PREDICTIONS):
        image_ids += [row["image_id"] for row in rows_where(lake.head(table), is_in("sha256", [sha256]), ["image_id"])]
    return list(dict.fromkeys(image_ids)) or image_ids_in_datasets(lake, sha256)


def _images(lake: TracedLake, pasts: Mapping[str, Past]) -> list[Trace]:
    """The traces of those images that the lake has, or had."""
    image_ids = list(pasts)
    uses, predictions, scores = uses_of(lake, image_ids), predictions_of(lake, image_ids), scores_of(lake, pasts)
    traces = []
    for image_id, past in pasts.items():
        if past.rows or uses.knows(image_id) or image_id in predictions:
            answers = (prediction_node(lake, row, past) for row in predictions.get(image_id, ()))
            down = (*scores[image_id], *uses.of(past), *answers)
            traces.append(Trace("image", image_id, _image_facts(past), _up(lake, past), down))
    return traces


def _image_facts(past: Past) -> dict[str, object]:
    """Facts of an image.

    `state` is one of
        `there`: the newest materialization has it.
        `removed`: `removed_at`, the next version that can be read, lacks it.
        `let go`: every version that had it expired.
    """
    if past.last is None:
        return {"state": "let go"}
    if past.is_current:
        return {"state": "there", **image_facts(past.last)}
    later = [r for r in past.lake.readable(ASSET) if r.ref.version > past.last.record.ref.version]
    return {"state": "removed", "removed_at": later[-1].data_version, **image_facts(past.last)}


def _up(lake: TracedLake, past: Past) -> tuple[Node, ...]:
    own = origin_of(lake, past.last) if past.last else ()
    return (*own, *earlier_nodes(lake, past))


def sentence_not_found(lake: TracedLake, what: str) -> str:
    """Says that nothing has this name, where it was looked for, and which names are similar."""
    name = as_text(what)
    near = _similar_names(lake, name)
    words = (
        f"; near it: {', '.join(near)}"
        if near
        else ""
        if lake.history.records
        else "; nothing was materialized in it yet"
    )
    return f"nothing in the lake {lake.tables.root} (MM_LAKE) is called {name!r}{words}; it may be {EXAMPLES}"


def _similar_names(lake: TracedLake, what: str) -> list[str]:
    """A few image ids that contain these words; for a data version, the materialized versions around it."""
    if re.fullmatch(DATA_VERSION, what):
        return neighbouring_versions(lake, what)
    last, words = lake.history.newest.get(ASSET), what.partition(":")[2] or what
    ds = lake.at(last.ref) if last and words else None
    if ds is None:
        return []
    quoted = words.lower().replace("'", "''")
    rows = ds.scanner(columns=["image_id"], filter=f"contains(lower(image_id), '{quoted}')", limit=NEAR_MISSES)
    return [repr(image_id) for image_id in rows.to_table()["image_id"].to_pylist()]
