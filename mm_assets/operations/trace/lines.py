"""The line of each kind of thing in a trace: its name, and the few facts that matter to people."""

from collections.abc import Callable
from typing import Any

from mm_assets.operations.trace.nodes import Node

# Characters of an id or of a text, of a digest that is long, and of a run (as `status` shows it).
LONGEST, SHORT, RUN = 60, 12, 8

Facts = Any
# A name, and short texts; empty ones are left out.
Line = tuple[str, list[str]]


def line(node: Node) -> Line:
    """The name of a node, and its facts as short texts."""
    name, words = LINES[node.kind](node)
    return name, [word for word in words if word]


def printable(text: object) -> str:
    """A text by a user, cut to `LONGEST` and without control characters: these could rewrite the screen."""
    whole = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
    return (whole if len(whole) <= LONGEST else f"{whole[: LONGEST - 1]}…") if whole else '""'


def _short(digest: str | None) -> str:
    return digest[:SHORT] if digest else "unknown"


def _run(facts: Facts) -> str:
    return f"run {facts['run_id'][:RUN]}" if facts["run_id"] else "run not known"


def _time(iso: str) -> str:
    return iso[:16].replace("T", " ")


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else printable(value)


def _error(facts: Facts) -> str:
    return f"error {printable(facts['error'])}" if facts.get("error") else ""


def _bytes(facts: Facts) -> str:
    """The digest of the bytes that were used, unless the image still has them."""
    if facts["same_bytes"] is False:
        return f"other bytes than now (sha256 {_short(facts['sha256'])})"
    return "" if facts["same_bytes"] else f"sha256 {_short(facts['sha256'])}"


def _image(node: Node) -> Line:
    facts = node.facts
    states = {
        "removed": f"no longer there at {facts.get('removed_at')}",
        "let go": "no version that can be read has it",
    }
    if "sha256" not in facts:
        return f"{node.kind} {printable(node.id)}", [states["let go"]]
    place = f"{facts['data_version']}" if not node.kind.startswith("earlier") else f"up to {facts['data_version']}"
    pinned = facts.get("pinned")
    other = f"read at {pinned}" if pinned and pinned != facts["data_version"] else ""
    size = f"{facts['width']} x {facts['height']}" if facts["width"] else ""
    weight = f"{facts['num_bytes']:,} bytes" if facts["num_bytes"] is not None else ""
    label = f"label {printable(facts['label'])}" if facts["label"] is not None else "no label"
    sha = f"sha256 {_short(facts['sha256'])}"
    picture = " ".join(filter(None, (facts["format"], size)))
    state = states.get(facts.get("state", ""), "")
    return f"{node.kind} {printable(node.id)}", [place, state, other, picture, weight, label, sha, _error(facts)]


def _commit(node: Node) -> Line:
    facts = node.facts
    run = _run(facts)
    assets = facts["assets"][0] if len(facts["assets"]) == 1 else f"{len(facts['assets'])} assets"
    if facts["exact"]:
        return f"commit {node.id}", [facts["did"], assets, run, f"batch {facts['batch']}" if facts["batch"] else ""]
    later = f"first materialized at {facts['materialized']}" if facts.get("materialized") else ""
    return f"commit {node.id}", [facts["did"], "no longer readable", later, run]


def _object(node: Node) -> Line:
    facts = node.facts
    size = f"{facts['size']:,} bytes" if facts["size"] is not None else ""
    return f"object {printable(node.id)}", [
        facts["data_version"],
        size,
        f"etag {printable(facts['etag'])}",
        _error(facts),
    ]


def _score(node: Node) -> Line:
    facts = node.facts
    if facts["revision"] is None:
        return node.id, [f"not computed at {facts['data_version']}"]
    values = [f"{name} {_number(value)}" for name, value in facts["values"].items()]
    stale = "of other bytes than now" if facts["same_bytes"] is False else ""
    return node.id, [*values, f"revision {facts['revision']}", facts["data_version"], stale, _error(facts)]


def _group(node: Node) -> Line:
    facts = node.facts
    if facts["none"]:
        return "near-duplicates", [f"in no group at {facts['data_version']}"]
    others = [printable(name) for name in facts["others"]]
    many = f" and {len(others) - 3:,} more" if len(others) > 3 else ""
    alone = f"with {', '.join(others[:3])}{many}" if others else "no other image"
    return f"near-duplicate group {printable(node.id)}", [alone, facts["data_version"]]


def _example(node: Node) -> Line:
    facts = node.facts
    place = f"{facts['sft_dataset']}{' (newest)' if facts['newest'] else ''}"
    fate = f"left out, {printable(facts['left_out'])}" if facts["left_out"] else f"split {facts['split']}"
    return f"example {printable(node.id)}", [place, fate, _bytes(facts)]


def _no_example(node: Node) -> Line:
    return f"sft_dataset {node.id}", ["the newest, has no row of this image"]


def _checkpoint(node: Node) -> Line:
    facts = node.facts
    title = f"{node.kind} {node.id}"
    if facts.get("lost"):
        return title, ["not in the registry"]
    production = "in production" if facts["in_production"] else ""
    own_name = printable(facts["name"]) if facts["name"] is not None and not facts.get("how") else ""
    at, run = _time(facts.get("created_at") or ""), _run(facts) if "run_id" in facts else ""
    wrong = f"wrong in the registry: {', '.join(facts['wrong'])}" if facts.get("wrong") else ""
    return title, [facts.get("how", ""), production, own_name, at, run, wrong]


def _evaluation(node: Node) -> Line:
    facts = node.facts
    measured = f"{facts['measure']} {_number(facts['accuracy'])}, champion {_number(facts['champion_accuracy'])}"
    gate = "promoted" if facts["promoted"] else "not promoted"
    return f"evaluation {node.id}", [f"as {facts['as']}", measured, gate, printable(facts["decision"])]


def _answer(node: Node) -> Line:
    facts = node.facts
    judged = {True: "right", False: "wrong", None: f"score {_number(facts['challenger_score'])}"}[facts["right"]]
    answer = f"{judged}: {printable(facts['challenger_label'])}" if facts["challenger_label"] is not None else judged
    champion = f"champion {_short(facts['champion'])} said {printable(facts['champion_label'])}"
    theirs = champion if facts["champion_label"] is not None else ""
    return f"evaluation {node.id}", [answer if not facts["error"] else "", theirs, _time(facts["at"]), _error(facts)]


def _prediction(node: Node) -> Line:
    facts = node.facts
    model = f"{facts['model_digest']}{' (in production)' if facts['in_production'] else ''}"
    answer = printable(facts["label"] if facts["label"] is not None else facts["answer"]) if not facts["error"] else ""
    right = {True: "right", False: "wrong", None: ""}[facts["right"]]
    sure = f"confidence {_number(facts['confidence'])}" if facts["confidence"] is not None else ""
    run = _run(facts)
    return f"prediction {node.id}", [answer, right, sure, _error(facts), f"model {model}", run, _bytes(facts)]


def _predictions(node: Node) -> Line:
    last = f"last {node.facts['data_version']}" if "data_version" in node.facts else ""
    return f"predictions of prompt {node.id}", [f"{node.facts['count']:,}", last]


def _bundle(node: Node) -> Line:
    facts = node.facts
    uploaded = f"uploaded to {facts['uploaded_to']}" if facts["uploaded_to"] else ""
    texts = [facts["uri"], f"{facts['num_bytes']:,} bytes", f"sha256 {_short(facts['sha256'])}", uploaded]
    return f"bundle {node.id}", [*texts, _time(facts["created_at"]), _run(facts)]


def _recipe(node: Node) -> Line:
    names = ("model_id", "builder", "epochs", "learning_rate", "lora_r", "precision", "seed")
    values = [f"{name} {_number(node.facts[name])}" for name in names if node.facts.get(name) is not None]
    return f"recipe {_short(node.id)}", values


def _version(node: Node) -> Line:
    facts = node.facts
    name = f"{facts['asset']} {node.id}"
    if facts.get("see"):
        return name, ["see above"]
    if facts.get("lost"):
        return name, ["lineage.lance has no record of it"]
    rows = f"{facts['rows']:,} rows" if "rows" in facts else ""
    splits = " ".join(f"{split} {count:,}" for split, count in facts.get("splits", {}).items())
    unchanged = "found unchanged" if facts.get("found_unchanged") else ""
    again = f"reused {facts['reused']} times" if facts["reused"] else ""
    expired = "expired" if facts["let_go"] else ""
    digest = f"model {facts['digest']}" if "digest" in facts else ""
    return name, [digest, rows, splits, _time(facts["at"]), _run(facts), unchanged, again, expired]


def _unreadable(node: Node) -> Line:
    facts = node.facts
    if "versions" in facts:
        first, last = facts["versions"][-1], facts["versions"][0]
        span = first if first == last else f"{len(facts['versions']):,} versions, {first} to {last}"
        return f"{facts['asset']} {span}", [f"{facts['why']}: not known"]
    name = node.id if node.id == facts["asset"] else f"{facts['asset']} {node.id}"
    return name, [f"{facts['why']}{' ' + facts['at'][:10] if 'at' in facts else ''}: not known"]


def _copies(node: Node) -> Line:
    some = f"the first {node.facts['traced']:,} of them" if node.facts["traced"] < node.facts["copies"] else ""
    return f"bytes {_short(node.id)}", [f"{node.facts['copies']:,} images have or had them", some]


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
    "let go": _unreadable,
}
