"""The section of the predictions: what is asked, by which engine, and how its answers are chosen."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from mm_assets.settings.section import MiB, Resources, Section, Share
from mm_assets.settings.stages import BATCH_SECONDS, PromptTemplate, TaskName

# The section, as sentences about its settings name it.
PREDICT = "predict"
LabelMethod = Literal["likelihood", "greedy"]


class Ask(Section):
    """What is asked about an image."""

    task: TaskName | None = Field(
        None, description="What is asked: `label` or `caption`; unset asks for the label where that was trained."
    )
    prompt: PromptTemplate | None = Field(
        None, description="Another prompt for that task than the one the model was trained with; may use {labels}."
    )


class Decoding(Ask):
    """What decides on an answer, besides the model."""

    label_method: LabelMethod | None = Field(
        None,
        description="How a label is chosen. `likelihood`: the likeliest of all answers, each computed to its end; "
        "`greedy`: the likeliest token next, held to the answers. Unset: `greedy` with vLLM, which knows no other, "
        "else `likelihood`.",
    )
    max_new_tokens: int = Field(64, gt=0, description="Longest caption that is written, in tokens.")
    precision: Literal["float32", "bf16"] = Field("float32", description="Arithmetic of the inference.")


class Sampling(Section):
    """How vLLM chooses the next token of a caption; a label is always the likeliest."""

    temperature: float = Field(0.0, ge=0, description="0 takes the likeliest token; above, tokens are drawn.")
    top_p: float = Field(1.0, gt=0, le=1, description="Tokens are drawn from the likeliest of this probability.")
    top_k: int = Field(0, ge=0, description="Tokens are drawn from so many likeliest; 0 from all.")
    repetition_penalty: float = Field(1.0, gt=0, description="Above 1, what was said is said again less often.")
    seed: int = Field(0, ge=0, description="With an image's bytes it decides what is drawn: a rerun draws the same.")


class VllmSettings(Section):
    """What a vLLM engine is told; its parallel GPUs are those of `predict.resources`."""

    max_model_len: int | None = Field(
        None, gt=0, description="Longest prompt and answer, in tokens; unset: the model's."
    )
    max_num_seqs: int = Field(128, gt=0, description="Images that an engine answers at once, at most.")
    max_num_batched_tokens: int | None = Field(None, gt=0, description="Tokens per step; unset: as vLLM chooses.")
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="Share of the GPU's memory that it takes.")
    enforce_eager: bool = Field(False, description="Start sooner and run slower: no CUDA graphs. Always so on CPUs.")


class PredictSettings(Decoding):
    """How answers are generated, for the evaluation and for the predictions."""

    model: Literal["latest", "production"] = Field("latest", description="This lineage's checkpoint, or the promoted.")
    engine: Literal["transformers", "vllm"] = Field(
        "transformers",
        description="What computes the predictions; `vllm` must be installed (`make vllm`). The evaluation is always "
        "by transformers, with the same method.",
    )
    also: list[Ask] = Field(
        default_factory=list,
        description="Further questions about each image, in the same pass: `[{task: caption}]`. The checks judge the "
        "answers to the first, `predict.task` and `predict.prompt`.",
    )
    batch_size: int = Field(32, gt=0, description="Images per forward pass; with vLLM, per piece of work.")
    answers_at_once: int = Field(8, gt=0, description="Answers per image in one forward pass; each takes a cache.")
    batch_rows: int = Field(2048, gt=0, description="Rows between two commits, at most.")
    batch_bytes: int = Field(1024 * MiB, gt=0, description="Bytes of images between two commits, at most.")
    batch_seconds: float = BATCH_SECONDS
    error_budget: Share = Field(
        0.5, description="Greatest share of usable images to which an answer is missing, of each question."
    )
    actors: int | None = Field(
        None, gt=0, description="Ray actors that hold a model; unset: one, or as many as the cluster has GPUs for."
    )
    renderers: int | None = Field(
        None, gt=0, description="CPU workers that prepare images for vLLM; unset: all CPUs that the engines leave."
    )
    sampling: Sampling = Field(Sampling(), description="How the next token of a caption is chosen, with vLLM.")
    vllm: VllmSettings = Field(VllmSettings(), description="What a vLLM engine is told.")
    price_per_hour: float | None = Field(
        None, gt=0, description="Of one actor's resources, in any currency: predictions then say what they cost."
    )
    resources: Resources = Field(Resources(), description="Of one actor; vLLM computes on all its GPUs in parallel.")

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
        """The same method and resources, with the engine of the evaluation."""
        return self.model_copy(update={"engine": "transformers", "sampling": Sampling()})

    def decoding(self) -> Decoding:
        """The part that decides on an answer, besides the model."""
        return self.part(Decoding)
