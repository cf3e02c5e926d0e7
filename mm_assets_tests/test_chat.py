"""Templates, messages and the pre-flight that needs no model."""

import pytest

from mm_assets.chat import Message, assistant_message, fault, fill, user_message, without_gaps


def test_a_template_fills_only_what_it_knows() -> None:
    assert fill("a photo of a {} {label}", ["gym", "pool"], label="pool") == "a photo of a {} pool"
    assert fill("one of {labels}", ["gym", "pool"]) == "one of gym, pool"
    assert fill("{caption} {other}", caption="Two chairs") == "Two chairs {other}"


def test_braces_in_a_value_are_plain_text() -> None:
    assert fill("a {label}, not a {labels}", ["{label}"], label="{labels}") == "a {labels}, not a {label}"
    assert fill("{caption}", ["x"], caption="a sign that says {labels} {caption} \\1") == (
        "a sign that says {labels} {caption} \\1"
    )


@pytest.mark.parametrize("label", ["Terrace/Patio", "living room", 'the "Blue" bar\'s', "Küche 廚房", "50 % off"])
def test_a_label_is_any_text(label: str) -> None:
    assert fill("a {label}, of {labels}", [label, "x"], label=label) == f"a {label}, of {label}, x"


def test_a_sound_example_has_no_fault() -> None:
    assert fault([user_message("what is it?"), assistant_message("a pool")], 1) is None


@pytest.mark.parametrize(
    ("messages", "images", "says"),
    [
        ([], 1, "alternate"),
        ([assistant_message("a pool")], 0, "alternate"),
        ([user_message("?"), user_message("?")], 2, "alternate"),
        ([user_message("?"), assistant_message("a pool"), user_message("?")], 2, "alternate"),
        ([user_message("?"), assistant_message("a pool")], 2, "1 image placeholders for 2 images"),
        ([user_message("see <image>"), assistant_message("a pool")], 1, "special token <image>"),
        ([user_message("?"), assistant_message("  ")], 1, "empty"),
    ],
)
def test_a_fault_is_named(messages: list[Message], images: int, says: str) -> None:
    assert says in str(fault(messages, images))


def test_null_fields_of_a_struct_column_go_away() -> None:
    stored = [{"role": "user", "content": [{"type": "image", "text": None}, {"type": "text", "text": "hi"}]}]
    assert without_gaps(stored) == [user_message("hi")]
