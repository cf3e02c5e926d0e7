"""The sections of the stages from ingest to evaluate."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from mm_assets.settings.former import in_former_words, refuse_former_bounds
from mm_assets.settings.section import ImportPath, MiB, Resources, Section, Share

# Pillow itself refuses images of more than twice its MAX_IMAGE_PIXELS, whatever we would allow.
PILLOW_MAX_PIXELS = 178_956_970


def _template(allowed: set[str], text: str) -> str:
    # `{}` is plain text: the drawn profile's prompt has a blank to fill in.
    unknown = set(re.findall(r"{(\w+)}", text)) - allowed
    if unknown:
        listed = " and ".join(f"{{{name}}}" for name in sorted(allowed))
        raise ValueError(f"{{{sorted(unknown)[0]}}} is not known here: the template may use {listed}")
    return text


TaskName = Literal["label", "caption"]
# Placeholders that the answer of a task may use, besides the task's own.
ANSWERS_MAY_USE: dict[TaskName, set[str]] = {"label": {"labels"}, "caption": set()}

PromptTemplate = Annotated[str, Field(min_length=1), AfterValidator(lambda text: _template({"labels"}, text))]

# The field of each stage that commits in batches.
BATCH_SECONDS: float = Field(
    60.0, gt=0, description="Seconds between two commits; a commit waits until the current piece of work is done."
)


class ImageLimits(Section):
    """Limits that an object must keep to become an image."""

    max_bytes: int = Field(64 * MiB, gt=0, description="Greatest size of an object, in bytes.")
    max_pixels: int = Field(
        100_000_000, gt=0, le=PILLOW_MAX_PIXELS, description="Greatest size of an image, in pixels."
    )
    decode_timeout_s: float = Field(20.0, gt=0, description="Greatest time to decode one image, in seconds.")
    decode_memory_bytes: int = Field(
        4096 * MiB, ge=512 * MiB, description="Address space of the decoding process, in bytes."
    )


class IngestSettings(ImageLimits):
    """Limits that an object must keep to become an image, and how much is read between two commits."""

    batch_rows: int = Field(2048, gt=0, description="Greatest number of rows between two commits.")
    batch_bytes: int = Field(256 * MiB, gt=0, description="Greatest number of bytes between two commits.")
    batch_seconds: float = BATCH_SECONDS
    on_removed: Literal["keep", "delete"] = Field(
        "delete", description="What happens to the row of an image whose object is no longer listed."
    )
    error_budget: Share = Field(1.0, description="Greatest share of rejected rows in the table; 1 allows all.")

    def limits(self) -> ImageLimits:
        """The part that decides which images are rejected."""
        return self.part(ImageLimits)


class ScoreSettings(Section):
    """How scores are computed."""

    batch_rows: int = Field(4096, gt=0, description="Greatest number of rows between two commits.")
    batch_bytes: int = Field(1024 * MiB, gt=0, description="Greatest number of image bytes between two commits.")
    batch_seconds: float = BATCH_SECONDS
    error_budget: Share = Field(0.5, description="Greatest share of failed cells, for each scorer.")
    error_budgets: dict[str, Share] = Field(
        default_factory=dict, description="Greatest share of failed cells of single scorers, by name: `{phash: 0.01}`."
    )
    own: list[ImportPath] = Field(
        default_factory=list, description="Your own scorers, by import path: `my_package.scorers:watermark`."
    )
    resources: dict[str, Resources] = Field(
        default_factory=dict,
        description="Resources of one worker, by scorer; unset: those of the scorer's class, else one CPU.",
    )

    def budget(self, scorer: str) -> tuple[float, str]:
        """Greatest share of failed cells of a scorer, and the name of the setting that gives it."""
        if scorer in self.error_budgets:
            return self.error_budgets[scorer], "score.error_budgets"
        return self.error_budget, "score.error_budget"


class DuplicateSettings(Section):
    """When two images count as the same picture."""

    max_distance: int = Field(
        2, ge=0, le=12, description="Hamming distance of two 64-bit phashes: 2 for drawn pictures, 8-10 for photos."
    )


class TaskSettings(Section):
    """A task: the prompt, the answer to learn, and the share of its examples that is trained on."""

    task: TaskName = Field(description="What the answer says of the image: its label, or its caption.")
    prompt: PromptTemplate = Field(description="Words of the user; may use {labels}.")
    answer: str = Field(
        min_length=1, description="Words of the assistant; must use {label} (and may use {labels}), or {caption}."
    )
    weight: float = Field(
        1.0,
        gt=0,
        description="Weight of the task: the share weight / greatest weight of its training examples is taken.",
    )

    @field_validator("answer")
    @classmethod
    def _says_its_own(cls, text: str, info: ValidationInfo) -> str:
        task: TaskName | None = info.data.get("task")
        if task is None:  # refused already
            return text
        if f"{{{task}}}" not in text:
            raise ValueError(f"the answer must contain {{{task}}}, or every image would be trained to say the same")
        return _template({task} | ANSWERS_MAY_USE[task], text)


class Limit(Section):
    """The least and the greatest value that a score of an example may have."""

    min: float | None = Field(None, description="Least value.")
    max: float | None = Field(None, description="Greatest value.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class CurateSettings(Section):
    """Which images become examples, and the words of an example."""

    tasks: list[TaskSettings] = Field(
        min_length=1,
        description="What each image is asked: a task `label`, `caption` or both, each with prompt, answer and weight.",
    )
    labels: list[Annotated[str, Field(min_length=1)]] | None = Field(
        None, min_length=2, description="The classes to train on; unset: all."
    )
    limits: dict[str, Limit] = Field(
        default_factory=dict,
        description="Least (`min`) and greatest (`max`) values of scores, by column: `{sharpness: {min: 60}}`.",
    )
    max_tokens: int = Field(4096, gt=0, description="Greatest length of an example, in tokens, image tokens included.")

    @model_validator(mode="before")
    @classmethod
    def _without_former_bounds(cls, values: Any) -> Any:  # noqa: ANN401  (whatever the profile says)
        if isinstance(values, Mapping):
            refuse_former_bounds(values)
        return values

    @field_validator("tasks")
    @classmethod
    def _one_of_each(cls, tasks: list[TaskSettings]) -> list[TaskSettings]:
        names = [task.task for task in tasks]
        twice = sorted(name for name in set(names) if names.count(name) > 1)
        if twice:
            raise ValueError(f"the task {twice[0]} is there twice: give one prompt and one answer for each task")
        if "label" not in names and any("{labels}" in task.prompt for task in tasks):
            raise ValueError("{labels} stands for nothing without the task label: take it out of the prompt")
        return tasks

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.labels is not None and len(set(self.labels)) < 2:
            raise ValueError("labels: one class only; a classifier needs at least two different labels")
        return self

    def decides(self) -> dict[str, Any]:
        """The values that decide the rows of the dataset, for a digest."""
        return in_former_words(self.model_dump(mode="json"))


class BaseModelSettings(Section):
    """The model that fine-tuning starts from."""

    kind: Literal["built", "huggingface"] = Field(
        description="`built`: built in place by `builder`; `huggingface`: downloaded from the hub."
    )
    model_id: str | None = Field(None, description="Hugging Face id, for kind huggingface.")
    revision: str | None = Field(
        None, pattern=r"^[0-9a-f]{40}$", description="The full commit of the model on the hub, for kind huggingface."
    )
    builder: ImportPath = Field(
        "mm_assets.demo.tiny_llava:build",
        description="For kind built: a function that gets a folder to save the model into, and the seed. The default "
        "builds a tiny model with random weights.",
    )
    chat_template: Literal["own", "mistral"] = Field(
        "own", description="`own`: the model's template; `mistral`: this project's template, with generation marks."
    )
    seed: int = Field(0, ge=0, description="Seed of the random weights, for kind built.")

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.kind == "huggingface" and not (self.model_id and self.revision):
            raise ValueError("kind huggingface needs model_id and revision (the full commit on the hub)")
        return self


class Recipe(Section):
    """The recipe of a checkpoint."""

    epochs: int = Field(gt=0, description="Passes over the training split.")
    batch_size: int = Field(gt=0, description="Examples per worker and step.")
    gradient_accumulation: int = Field(
        1, gt=0, description="Number of steps whose gradients are added up before an update."
    )
    learning_rate: float = Field(gt=0, description="Peak learning rate of AdamW.")
    warmup_steps: int = Field(10, ge=0, description="Steps of linear warm-up before the cosine decay.")
    lora_r: int = Field(16, gt=0, description="LoRA rank.")
    lora_alpha: int = Field(32, gt=0, description="LoRA alpha.")
    lora_exclude: str | None = Field(None, description="Regular expression of modules that get no adapter.")
    modules_to_save: list[str] = Field(
        default_factory=list, description="Modules that are trained in full, besides the adapter."
    )
    precision: Literal["float32", "bf16"] = Field("float32", description="Arithmetic of the training.")
    workers: int = Field(1, gt=0, description="Number of Ray Train workers; each takes batches of its own.")
    seed: int = Field(0, ge=0, description="Seed of shuffling and of new weights.")


class TrainSettings(Recipe):
    """The fine-tuning: its recipe, and the resources of its workers."""

    resources: Resources = Field(
        Resources(), description="Resources of one worker; with 1 CPU, a run on the CPU is repeatable to the bit."
    )

    def recipe(self) -> Recipe:
        """The part that decides the weights."""
        return self.part(Recipe)


class EvaluateSettings(Section):
    """What a challenger must show to be promoted."""

    min_accuracy: Share = Field(0.6, description="Least accuracy on the held-out split for a promotion.")
    confidence: float = Field(
        0.95, gt=0, lt=1, description="Confidence of the interval of the difference between challenger and champion."
    )
    bootstrap_samples: int = Field(2000, ge=100, description="Number of resamples of the paired bootstrap.")
