"""Previews of a bundle: its card, and its serving.properties."""

from typing import TYPE_CHECKING

from mm_assets.stages.serve.properties import as_text

if TYPE_CHECKING:
    from mm_assets.history.materialized import Materialized

# Characters of a card that are shown: a card may name a thousand labels. The bundle has the whole card.
MAX_CARD = 12_000


def previews(materialized: "Materialized") -> dict[str, str]:
    """Markdown by name, of a materialization of `serving_bundle`; {} where nothing was promoted."""
    if "bundle" not in materialized.record.metadata:
        return {}
    from mm_assets.stages.serve.bundles import find

    bundle = find(materialized.lake, materialized.record.metadata["bundle"])
    if bundle is None:
        return {}
    return {
        "preview_card": _card_text(bundle.card),
        "preview_properties": f"```\n{as_text(bundle.properties)}```",
    }


def _card_text(card: str) -> str:
    """The card with its YAML as a code block, because Dagster would show it as a heading."""
    front, _, body = card.removeprefix("---\n").partition("---\n")
    whole = f"```yaml\n{front}```\n{body}"
    if len(whole) <= MAX_CARD:
        return whole
    kept = whole[:MAX_CARD].rpartition("\n")[0]
    closed = "\n```" if kept.count("```") % 2 else ""
    return f"{kept}{closed}\n\n... the rest is in the bundle's README.md"
