"""The line of each kind of thing in a trace: its name, and the few facts that matter to people."""

from collections.abc import Callable
from typing import Any

from mm_assets.operations.trace.nodes import Node

# Characters of an id or of a text, of a digest that is long, and of a run (as `status` shows it).
LONGEST, SHORT, RUN = 60, 12, 8

Said = Any
# A name, and facts of which some may be "".
Line = tuple[str, list[str]]


def line(node: Node) -> Line:
    """Name and facts of a node, those that there are."""
    name, words = LINES[node.kind](node)
    return name, [word for word in words if word]


def shown(text: object) -> str:
    """What a user has named: without control characters (they could rewrite the screen), and not too long."""
    whole = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
    return (whole if len(whole) <= LONGEST else f"{whole[: LONGEST - 1]}…") if whole else '""'


def _short(digest: str | None) -> str:
    return digest[:SHORT] if digest else "unknown"


def _run(said: Said) -> str:
    return f"run {said['run_id'][:RUN]}" if said["run_id"] else "run not known"


def _time(iso: str) -> str:
    return iso[:16].replace("T", " ")


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else shown(value)


def _error(said: Said) -> str:
    return f"error {shown(said['error'])}" if said.get("error") else ""


def _bytes(said: Said) -> str:
    """The digest of what was used, where it is not what the image is now."""
    if said["same_bytes"] is False:
        return f"other bytes than now (sha256 {_short(said['sha256'])})"
    return "" if said["same_bytes"] else f"sha256 {_short(said['sha256'])}"


def _image(node: Node) -> Line:
    said = node.said
    states = {
        "removed": f"no longer there at {said.get('removed_at')}",
        "let go": "no version that can be read has it",
    }
    if "sha256" not in said:
        return f"{node.kind} {shown(node.id)}", [states["let go"]]
    place = f"{said['data_version']}" if not node.kind.startswith("earlier") else f"up to {said['data_version']}"
    pinned = said.get("pinned")
    other = f"read at {pinned}" if pinned and pinned != said["data_version"] else ""
    size = f"{said['width']} x {said['height']}" if said["width"] else ""
    weight = f"{said['num_bytes']:,} bytes" if said["num_bytes"] is not None else ""
    label = f"label {shown(said['label'])}" if said["label"] is not None else "no label"
    sha = f"sha256 {_short(said['sha256'])}"
    picture = " ".join(filter(None, (said["format"], size)))
    state = states.get(said.get("state", ""), "")
    return f"{node.kind} {shown(node.id)}", [place, state, other, picture, weight, label, sha, _error(said)]


def _commit(node: Node) -> Line:
    said = node.said
    run = _run(said)
    assets = said["assets"][0] if len(said["assets"]) == 1 else f"{len(said['assets'])} assets"
    if said["exact"]:
        return f"commit {node.id}", [said["did"], assets, run, f"batch {said['batch']}" if said["batch"] else ""]
    later = f"first materialized at {said['materialized']}" if said.get("materialized") else ""
    return f"commit {node.id}", [said["did"], "no longer readable", later, run]


def _object(node: Node) -> Line:
    said = node.said
    size = f"{said['size']:,} bytes" if said["size"] is not None else ""
    return f"object {shown(node.id)}", [said["data_version"], size, f"etag {shown(said['etag'])}", _error(said)]


def _score(node: Node) -> Line:
    said = node.said
    if said["revision"] is None:
        return node.id, [f"not computed at {said['data_version']}"]
    values = [f"{name} {_number(value)}" for name, value in said["values"].items()]
    stale = "of other bytes than now" if said["same_bytes"] is False else ""
    return node.id, [*values, f"revision {said['revision']}", said["data_version"], stale, _error(said)]


def _group(node: Node) -> Line:
    said = node.said
    if said["none"]:
        return "near-duplicates", [f"in no group at {said['data_version']}"]
    others = [shown(name) for name in said["others"]]
    many = f" and {len(others) - 3:,} more" if len(others) > 3 else ""
    alone = f"with {', '.join(others[:3])}{many}" if others else "no other image"
    return f"near-duplicate group {shown(node.id)}", [alone, said["data_version"]]


def _example(node: Node) -> Line:
    said = node.said
    place = f"{said['sft_dataset']}{' (newest)' if said['newest'] else ''}"
    fate = f"left out, {shown(said['left_out'])}" if said["left_out"] else f"split {said['split']}"
    return f"example {shown(node.id)}", [place, fate, _bytes(said)]


def _no_example(node: Node) -> Line:
    return f"sft_dataset {node.id}", ["the newest, has no row of this image"]


def _checkpoint(node: Node) -> Line:
    said = node.said
    name = f"{node.kind} {node.id}"
    if said.get("lost"):
        return name, ["not in the registry"]
    production = "in production" if said["in_production"] else ""
    called = shown(said["name"]) if said["name"] is not None and not said.get("how") else ""
    at, made = _time(said.get("created_at") or ""), _run(said) if "run_id" in said else ""
    wrong = f"wrong in the registry: {', '.join(said['wrong'])}" if said.get("wrong") else ""
    return name, [said.get("how", ""), production, called, at, made, wrong]


def _evaluation(node: Node) -> Line:
    said = node.said
    measured = f"{said['measure']} {_number(said['accuracy'])}, champion {_number(said['champion_accuracy'])}"
    gate = "promoted" if said["promoted"] else "not promoted"
    return f"evaluation {node.id}", [f"as {said['as']}", measured, gate, shown(said["decision"])]


def _answer(node: Node) -> Line:
    said = node.said
    judged = {True: "right", False: "wrong", None: f"score {_number(said['challenger_score'])}"}[said["right"]]
    answer = f"{judged}: {shown(said['challenger_label'])}" if said["challenger_label"] is not None else judged
    champion = f"champion {_short(said['champion'])} said {shown(said['champion_label'])}"
    theirs = champion if said["champion_label"] is not None else ""
    return f"evaluation {node.id}", [answer if not said["error"] else "", theirs, _time(said["at"]), _error(said)]


def _prediction(node: Node) -> Line:
    said = node.said
    model = f"{said['model_digest']}{' (in production)' if said['in_production'] else ''}"
    answer = shown(said["label"] if said["label"] is not None else said["answer"]) if not said["error"] else ""
    right = {True: "right", False: "wrong", None: ""}[said["right"]]
    sure = f"confidence {_number(said['confidence'])}" if said["confidence"] is not None else ""
    run = _run(said)
    return f"prediction {node.id}", [answer, right, sure, _error(said), f"model {model}", run, _bytes(said)]


def _predictions(node: Node) -> Line:
    last = f"last {node.said['data_version']}" if "data_version" in node.said else ""
    return f"predictions of prompt {node.id}", [f"{node.said['count']:,}", last]


def _bundle(node: Node) -> Line:
    said = node.said
    uploaded = f"uploaded to {said['uploaded_to']}" if said["uploaded_to"] else ""
    facts = [said["uri"], f"{said['num_bytes']:,} bytes", f"sha256 {_short(said['sha256'])}", uploaded]
    return f"bundle {node.id}", [*facts, _time(said["created_at"]), _run(said)]


def _recipe(node: Node) -> Line:
    names = ("model_id", "builder", "epochs", "learning_rate", "lora_r", "precision", "seed")
    facts = [f"{name} {_number(node.said[name])}" for name in names if node.said.get(name) is not None]
    return f"recipe {_short(node.id)}", facts


def _version(node: Node) -> Line:
    said = node.said
    name = f"{said['asset']} {node.id}"
    if said.get("see"):
        return name, ["see above"]
    if said.get("lost"):
        return name, ["lineage.lance has no record of it"]
    rows = f"{said['rows']:,} rows" if "rows" in said else ""
    splits = " ".join(f"{split} {count:,}" for split, count in said.get("splits", {}).items())
    unchanged = "found unchanged" if said.get("found_unchanged") else ""
    again = f"reused {said['reused']} times" if said["reused"] else ""
    gone = "let go by maintenance" if said["let_go"] else ""
    digest = f"model {said['digest']}" if "digest" in said else ""
    return name, [digest, rows, splits, _time(said["at"]), _run(said), unchanged, again, gone]


def _let_go(node: Node) -> Line:
    said = node.said
    if "versions" in said:
        first, last = said["versions"][-1], said["versions"][0]
        span = first if first == last else f"{len(said['versions']):,} versions, {first} to {last}"
        return f"{said['asset']} {span}", [f"{said['why']}: not known"]
    name = node.id if node.id == said["asset"] else f"{said['asset']} {node.id}"
    return name, [f"{said['why']}{' ' + said['at'][:10] if 'at' in said else ''}: not known"]


def _copies(node: Node) -> Line:
    some = f"the first {node.said['traced']:,} of them" if node.said["traced"] < node.said["copies"] else ""
    return f"bytes {_short(node.id)}", [f"{node.said['copies']:,} images have or had them", some]


LINES: dict[str, Callable[[Node], Line]] = {
    "image": _image,
    "earlier bytes": _image,
    "earlier row": _image,
    "bytes": _copies,
    "commit": _commit,
    "object": _object,
    "score": _score,
    "near-duplicate group": _group,
    "example": _example,
    "no example": _no_example,
    "checkpoint": _checkpoint,
    "base model": _checkpoint,
    "model": _checkpoint,
    "evaluation": _evaluation,
    "held-out answer": _answer,
    "prediction": _prediction,
    "predictions": _predictions,
    "bundle": _bundle,
    "recipe": _recipe,
    "version": _version,
    "let go": _let_go,
}
