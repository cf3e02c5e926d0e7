"""Finds the license of a base model: from the setting, else from its own model card, else unknown."""

import yaml

UNKNOWN = "unknown"
CARD = "README.md"
# This project's code builds the tiny model from random numbers, so it has this project's license.
OURS, OUR_LICENSE = "mm_assets.demo.tiny_llava:build", "apache-2.0"


def license_of(chosen: str | None, card: str | None, builder: str | None) -> tuple[str, str]:
    """The license of a base model, by Hugging Face's name in lower case, and a sentence on how it is known.

    Args:
        chosen: the setting `serve.license`.
        card: README.md of the base model; None where it has none.
        builder: import path of the function that built the base model; None for one from the hub.
    """
    if chosen is not None:
        return chosen.lower(), "as set (serve.license)"
    fields = front_matter(card or "")
    identifier, name = fields.get("license"), fields.get("license_name")
    if isinstance(identifier, str) and identifier.strip():
        named = f" ({name})" if isinstance(name, str) else ""  # the name of a license that the hub does not list
        return identifier.strip().lower(), f"as the base model's own card says{named}"
    if builder == OURS:
        return OUR_LICENSE, "the base model is built by mm_assets, under its license"
    if card is None:
        return UNKNOWN, "the base model's own card is not in the lake: ask its owner, and set serve.license"
    return UNKNOWN, "the base model's card says nothing of its license: ask its owner, and set serve.license"


def front_matter(card: str) -> dict[str, object]:
    """The YAML at the head of a model card; {} where there is none that can be read."""
    head, _, rest = card.replace("\r\n", "\n").partition("---\n")
    if head.strip() or "\n---" not in rest:
        return {}
    try:
        front = yaml.safe_load(rest.partition("\n---")[0])
    except yaml.YAMLError:
        return {}
    return front if isinstance(front, dict) else {}
