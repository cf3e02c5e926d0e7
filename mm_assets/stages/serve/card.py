"""Writes the model card of a bundle: a README.md in Hugging Face's format, with the model's lineage.

https://huggingface.co/docs/hub/model-cards names the fields of its front matter.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from mm_assets.engines.models.registry import Model
from mm_assets.lineage.records import Record
from mm_assets.previews.markdown import escaped, table
from mm_assets.stages.serve import request as asking
from mm_assets.stages.serve.request import Request

NAME = "README.md"
# The lowest version that these weights were tried with. The config is that of transformers 5, and the vision tower's
# weights have the names that vLLM's own loader reads (engines/models/weights.py).
MIN_VLLM_VERSION = "0.32.0"
TAGS = ["vision-language", "lora", "vllm", "mm-assets"]
TASK_TAGS = {"label": "image-classification", "caption": "image-captioning"}
# Fields of the recipe that the table leaves out: other parts of the card have them, or a reader needs none.
NOT_SHOWN = ("kind", "revision", "labels", "tasks", "sft_dataset", "base_model")
CELL = 200


@dataclass(frozen=True)
class Base:
    """The base model of a card.

    Args:
        name: its name.
        digest: digest of its files.
        license: its license, as Hugging Face names it.
        license_known: how the license is known, in words.
        revision: its commit on the hub; None for one that was built.
    """

    name: str
    digest: str
    license: str
    license_known: str
    revision: str | None = None


@dataclass(frozen=True)
class Story:
    """Everything that a card tells.

    Args:
        model: the packed model.
        base: the base model that it was made from.
        promotion: the evaluation that promoted it.
        ancestors: the records of everything that this evaluation was made from, and its own.
        requests: the chat request of each task.
        served_as: the model's name in the requests.
    """

    model: Model
    base: Base
    promotion: Record
    ancestors: Sequence[Record]
    requests: Mapping[str, Request]
    served_as: str


def card(story: Story) -> str:
    """The card as Markdown with YAML in front; the same story gives the same text."""
    sections = (_summary(story), _use(story), _judged(story), _made_from(story), _license(story.base))
    return f"---\n{front_matter(story)}---\n\n" + "\n".join(sections)


def front_matter(story: Story) -> str:
    """What the hub and other programs read."""
    fields = {
        "license": story.base.license,
        "base_model": story.base.name,
        "base_model_relation": "finetune",
        "library_name": "transformers",
        "pipeline_tag": "image-text-to-text",
        "tags": [*TAGS, *(TASK_TAGS[task] for task in story.requests)],
        "model_digest": story.model.digest,
        "min_vllm_version": MIN_VLLM_VERSION,
    }
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)


def _summary(story: Story) -> str:
    revision = f" at {story.base.revision}" if story.base.revision else ""
    return f"""# Model {story.model.digest}

{escaped(story.base.name, CELL)}{revision}, fine-tuned with LoRA and merged: a vision-language model that answers \
questions about one picture.
The digest is SHA-256 over the names and contents of the model's files in the lake (the adapter's among them), 16 \
digits; `mm-assets trace \
{story.model.digest}` follows it in the lake that it comes from.
"""


def _use(story: Story) -> str:
    questions = [
        f"What it was trained to be asked ({task}):\n\n```json\n{asking.as_text(request)}```\n"
        for task, request in story.requests.items()
    ]
    answers = [f"- {item['task']}: {escaped(item['answer'], CELL)}" for item in story.model.recipe["tasks"]]
    labels = story.model.recipe["labels"]
    label_list = f"\nLabels:\n\n```json\n{json.dumps(labels, ensure_ascii=False)}\n```\n" if labels else ""
    return f"""## Use

```
python -m vllm.entrypoints.openai.api_server --model . --served-model-name {story.served_as} \
--host 127.0.0.1 --limit-mm-per-prompt '{{"image": 1}}'
```

vLLM {MIN_VLLM_VERSION} is the lowest version that these weights were tried with. Other words than these are a \
question that the model was not trained on.

{chr(10).join(questions)}
How it answers:

{chr(10).join(answers)}
{label_list}"""


def _judged(story: Story) -> str:
    metadata = story.promotion.metadata
    champion = f"{metadata['champion']}{' (the base model)' if metadata['champion'] == story.base.digest else ''}"
    low, high = metadata["interval"]
    rows = [
        [f"{metadata['measure']}", f"{metadata['accuracy']:.4f}"],
        ["held-out examples", f"{metadata['rows']:,}"],
        ["task", metadata["task"]],
        ["answers", "held to the labels" if metadata["task"] == "label" else "the right ones, as they are foretold"],
        ["champion before", champion],
        [f"{metadata['measure']} of the champion", f"{metadata['champion_accuracy']:.4f}"],
        ["difference, with its interval", f"{metadata['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"],
        ["decision", f"promoted: {metadata['decision']}"],
        ["evaluation", story.promotion.data_version],
    ]
    against = "On held-out examples, against the model in production before it (the base where there was none)."
    return f"## Evaluation\n\n{against}\n\n{_table(rows)}\n"


def _made_from(story: Story) -> str:
    versions = [[record.asset, record.data_version] for record in story.ancestors]
    recipe = {name: value for name, value in story.model.recipe.items() if name not in NOT_SHOWN and value is not None}
    return f"""## Lineage

Every data version names a Lance version in the lake.

{table(["asset", "data version"], versions, cell=CELL)}

Base model {escaped(story.base.name, CELL)}, digest {story.base.digest}. Recipe:

{_table([[name, _plain(value)] for name, value in recipe.items()])}

The LoRA adapter alone is not in this bundle: it lies in the lake, in `models/{story.model.digest}/adapter`.
"""


def _license(base: Base) -> str:
    return f"## License\n\n{escaped(base.license)}: {base.license_known}.\n"


def _table(rows: Sequence[Sequence[object]]) -> str:
    return table(["", ""], rows, cell=CELL)


def _plain(value: Any) -> str:  # noqa: ANN401  (any JSON value)
    return value if isinstance(value, str) else json.dumps(value)
