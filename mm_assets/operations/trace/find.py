"""What the words of a trace may be: an image, bytes, an example, a model, a bundle, a prediction or a data version."""

import re
from collections.abc import Mapping
from urllib.parse import quote

from mm_assets.engines.lake.rows import is_in
from mm_assets.operations.trace.kinds.examples import find_example, uses_of, with_bytes
from mm_assets.operations.trace.kinds.images import ASSET, Past, earlier, facts, origin, pasts, pasts_at, search
from mm_assets.operations.trace.kinds.models import find_bundle, find_model
from mm_assets.operations.trace.kinds.predictions import find_prediction, prediction_node, predictions_of
from mm_assets.operations.trace.kinds.scores import scores_of
from mm_assets.operations.trace.kinds.versions import find_version, neighbours
from mm_assets.operations.trace.lake import TracedLake, rows_where
from mm_assets.operations.trace.nodes import Found, Node
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


def find(lake: TracedLake, what: str) -> list[Found]:
    """Everything in the lake that goes by this name (as the command line gives it); [] where nothing does."""
    name = as_text(what)
    finders = (find_example, find_model, find_bundle, find_prediction, find_version)
    images = find_images(lake, name, quote(what, errors="surrogateescape"))
    return [*images, *(found for finder in finders for found in finder(lake, name))]


def as_text(what: str) -> str:
    """A name as the lake writes it: a file's need not be UTF-8, such bytes come as surrogates from the command line."""
    return what.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def find_images(lake: TracedLake, what: str, source_uri: str) -> list[Found]:
    """The image with this id, those at this source uri, or those with these bytes (first of all, how many).

    Of a folder or a bucket the source uri is stored percent-encoded, and asked for either way.
    """
    if re.fullmatch(SHA256, what):
        ids = _with_bytes(lake, what)
        if ids:
            traced = ids[:MOST_COPIES]
            return [
                Found("bytes", what, {"copies": len(ids), "traced": len(traced)}),
                *_images(lake, pasts(lake, traced)),
            ]
    return _images(lake, pasts_at(lake, what, source_uri))


def _with_bytes(lake: TracedLake, sha256: str) -> list[str]:
    """Ids of all images that have or had these bytes, those that have them now first.

    The datasets are asked where nothing else knows of any: of a million examples that takes its time.
    """
    found = [item.row["image_id"] for item in search(lake, {"sha256": [sha256]}, [])]
    for table in (EVALUATIONS, PREDICTIONS):
        found += [row["image_id"] for row in rows_where(lake.head(table), is_in("sha256", [sha256]), ["image_id"])]
    return list(dict.fromkeys(found)) or with_bytes(lake, sha256)


def _images(lake: TracedLake, known: Mapping[str, Past]) -> list[Found]:
    """The traces of images, of those that the lake knows of."""
    image_ids = list(known)
    uses, predictions, scores = uses_of(lake, image_ids), predictions_of(lake, image_ids), scores_of(lake, known)
    found = []
    for image_id, past in known.items():
        if past.seen or uses.knows(image_id) or image_id in predictions:
            answers = (prediction_node(lake, row, past) for row in predictions.get(image_id, ()))
            down = (*scores[image_id], *uses.of(past), *answers)
            found.append(Found("image", image_id, _said(past), _up(lake, past), down))
    return found


def _said(past: Past) -> dict[str, object]:
    """Facts of an image.

    `state` is `there`, `removed` (it was gone at `removed_at`, the next version that can be read) or `let go` (there is
    no version left to read it from).
    """
    if past.last is None:
        return {"state": "let go"}
    if past.is_current:
        return {"state": "there", **facts(past.last)}
    later = [r for r in past.lake.readable(ASSET) if r.ref.version > past.last.record.ref.version]
    return {"state": "removed", "removed_at": later[-1].data_version, **facts(past.last)}


def _up(lake: TracedLake, past: Past) -> tuple[Node, ...]:
    own = origin(lake, past.last) if past.last else ()
    return (*own, *earlier(lake, past))


def not_found(lake: TracedLake, what: str) -> str:
    """The sentence for a name that nothing has: what was looked for and where, and what comes near."""
    name = as_text(what)
    near = _near(lake, name)
    words = (
        f"; near it: {', '.join(near)}"
        if near
        else ""
        if lake.history.records
        else "; nothing was materialized in it yet"
    )
    return f"nothing in the lake {lake.tables.root} (MM_LAKE) is called {name!r}{words}; it may be {EXAMPLES}"


def _near(lake: TracedLake, what: str) -> list[str]:
    """A few names that have these words in them, or the materialized versions around one that is none."""
    if re.fullmatch(DATA_VERSION, what):
        return neighbours(lake, what)
    last, words = lake.history.newest.get(ASSET), what.partition(":")[2] or what
    ds = lake.at(last.ref) if last and words else None
    if ds is None:
        return []
    quoted = words.lower().replace("'", "''")
    rows = ds.scanner(columns=["image_id"], filter=f"contains(lower(image_id), '{quoted}')", limit=NEAR_MISSES)
    return [repr(image_id) for image_id in rows.to_table()["image_id"].to_pylist()]
