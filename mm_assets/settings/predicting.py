"""The section of the predictions: the questions, the engine, and how answers are chosen."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from mm_assets.settings.section import MiB, Resources, Section, Share
from mm_assets.settings.stages import BATCH_SECONDS, PromptTemplate, TaskName

# The name of the section in messages.
PREDICT = "predict"
LabelMethod = Literal["likelihood", "greedy"]


class Ask(Section):
    """A question about an image."""

    task: TaskName | None = Field(
        None,
        description="What is asked: `label` or `caption`; unset: the label, where the model was trained on labels.",
    )
    prompt: PromptTemplate | None = Field(
        None, description="Prompt in place of the one that the model was trained with; may use {labels}."
    )


class Decoding(Ask):
    """What decides an answer, besides the model."""

    label_method: LabelMethod | None = Field(
        None,
        description="How a label is chosen. `likelihood`: the likeliest of all answers, each computed to its end. "
        "`greedy`: token by token the likeliest one that an answer allows. Unset: `greedy` with vLLM, which has no "
        "other method, else `likelihood`.",
    )
    max_new_tokens: int = Field(64, gt=0, description="Greatest length of a caption, in tokens.")
    precision: Literal["float32", "bf16"] = Field("float32", description="Arithmetic of the inference.")


class Sampling(Section):
    """How vLLM chooses the next token of a caption; a label is always the likeliest."""

    temperature: float = Field(0.0, ge=0, description="0 takes the likeliest token; above 0, tokens are drawn.")
    top_p: float = Field(
        1.0, gt=0, le=1, description="Tokens are drawn from the likeliest ones with this total probability."
    )
    top_k: int = Field(0, ge=0, description="Tokens are drawn from this number of likeliest ones; 0: from all.")
    repetition_penalty: float = Field(
        1.0, gt=0, description="Above 1, tokens that occurred already become less likely."
    )
    seed: int = Field(
        0, ge=0, description="Seed of the drawing, together with the image's bytes: a rerun draws the same tokens."
    )


class VllmSettings(Section):
    """Arguments of a vLLM engine; its parallel GPUs are those of `predict.resources`."""

    max_model_len: int | None = Field(
        None, gt=0, description="Greatest length of prompt and answer, in tokens; unset: the model's own."
    )
    max_num_seqs: int = Field(128, gt=0, description="Greatest number of images that an engine answers at once.")
    max_num_batched_tokens: int | None = Field(
        None, gt=0, description="Greatest number of tokens per step; unset: vLLM chooses."
    )
    gpu_memory_utilization: float = Field(
        0.9, gt=0, le=1, description="Share of the GPU's memory that an engine takes."
    )
    enforce_eager: bool = Field(
        False, description="Start sooner and run slower, without CUDA graphs; always so on CPUs."
    )


class PredictSettings(Decoding):
    """How answers are generated, for the evaluation and for the predictions."""

    model: Literal["latest", "production"] = Field(
        "latest", description="`latest`: this lineage's checkpoint; `production`: the promoted model."
    )
    engine: Literal["transformers", "vllm"] = Field(
        "transformers",
        description="What computes the predictions; `vllm` must be installed (`make vllm`). The evaluation always "
        "uses transformers, with the same method.",
    )
    also: list[Ask] = Field(
        default_factory=list,
        description="Further questions about each image, in the same pass: `[{task: caption}]`. The checks judge only "
        "the answers to the first question (`predict.task`, `predict.prompt`).",
    )
    batch_size: int = Field(32, gt=0, description="Images per forward pass; with vLLM, per piece of work.")
    answers_at_once: int = Field(
        8, gt=0, description="Answers per image in one forward pass; each takes memory for a cache."
    )
    batch_rows: int = Field(2048, gt=0, description="Greatest number of rows between two commits.")
    batch_bytes: int = Field(1024 * MiB, gt=0, description="Greatest number of image bytes between two commits.")
    batch_seconds: float = BATCH_SECONDS
    error_budget: Share = Field(
        0.5, description="Greatest share of usable images without an answer, for each question."
    )
    actors: int | None = Field(
        None,
        gt=0,
        description="Ray actors that hold a model; unset: one, or with GPUs as many as the cluster has GPUs for.",
    )
    renderers: int | None = Field(
        None, gt=0, description="CPU workers that prepare images for vLLM; unset: all CPUs that the engines leave."
    )
    sampling: Sampling = Field(Sampling(), description="How vLLM chooses the next token of a caption.")
    vllm: VllmSettings = Field(VllmSettings(), description="Arguments of a vLLM engine.")
    price_per_hour: float | None = Field(
        None,
        gt=0,
        description="Price of one actor's resources per hour, in any currency; predictions then report their cost.",
    )
    resources: Resources = Field(
        Resources(), description="Resources of one actor; vLLM computes on all its GPUs in parallel."
    )

    @model_validator(mode="before")
    @classmethod
    def _method_of_the_engine(cls, data: Any) -> Any:  # noqa: ANN401  (whatever is given)
        if isinstance(data, dict) and data.get("label_method") is None:
            return {**data, "label_method": "greedy" if data.get("engine") == "vllm" else "likelihood"}
        return data

    @model_validator(mode="after")
    def _as_the_engine_can(self) -> Self:
        if self.engine == "vllm" and self.label_method == "likelihood":
            raise ValueError("label_method: vllm chooses labels by the method greedy; likelihood needs transformers")
        if self.engine == "vllm" and self.resources.gpus % 1:
            raise ValueError(f"resources: gpus {self.resources.gpus:g}: a vLLM engine takes whole GPUs")
        if self.engine == "transformers" and self.sampling != Sampling():
            raise ValueError("sampling: transformers takes the likeliest token; drawing tokens needs engine: vllm")
        return self

    def by_transformers(self) -> Self:
        """The same settings with the engine of the evaluation, transformers."""
        return self.model_copy(update={"engine": "transformers", "sampling": Sampling()})

    def decoding(self) -> Decoding:
        """The part that decides an answer, besides the model."""
        return self.part(Decoding)
