"""Families of models, a row each, with their differences in training."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """A family's differences in training.

    Args:
        lora_targets: the modules that get an adapter, as PEFT's `target_modules`.
        leaves_parameters_unused: a forward pass does not use every trained parameter. With several workers, DDP would
            otherwise wait for the missing gradients.
    """

    lora_targets: str
    leaves_parameters_unused: bool


# It reads the second last layer of its vision tower, so the last one learns nothing.
LLAVA_NEXT = Family(lora_targets="all-linear", leaves_parameters_unused=True)
# By `model_type` of a model's config.json.
FAMILIES = {"llava_next": LLAVA_NEXT}


def family_of(model_type: str) -> Family:
    """The family of a model; a model without a row is trained like LLaVA-NeXT."""
    return FAMILIES.get(model_type, LLAVA_NEXT)
