"""What differs from one family of models to another when they are trained: a row for each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """What a training must know of a family of models.

    Args:
        lora_targets: the modules that get an adapter, as PEFT's `target_modules`.
        leaves_parameters_unused: a forward pass uses not every trained parameter; with several workers, DDP would wait
            for their gradients.
    """

    lora_targets: str
    leaves_parameters_unused: bool


# It reads the second last layer of its vision tower, so the last one learns nothing.
LLAVA_NEXT = Family(lora_targets="all-linear", leaves_parameters_unused=True)
# By `model_type` of a model's config.json.
FAMILIES = {"llava_next": LLAVA_NEXT}


def family_of(model_type: str) -> Family:
    """The row of a model; one whose family has none is trained as LLaVA-NeXT is."""
    return FAMILIES.get(model_type, LLAVA_NEXT)
