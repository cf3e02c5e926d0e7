"""The license of the base model: set, read from its card, or not known."""

import pytest

from mm_assets.stages.serve.license import license_of

CARD = "---\nlanguage: en\nlicense: llama2\ntags: [a]\n---\n# LLaVA\n"


@pytest.mark.parametrize(
    ("chosen", "card", "builder", "expected"),
    [
        ("MIT", CARD, None, "mit"),
        (None, CARD, None, "llama2"),
        (None, "---\nlicense: Apache-2.0\n---", None, "apache-2.0"),
        (None, "# no front matter\n---\nlicense: mit\n---\n", None, "unknown"),
        (None, "---\nlanguage: en\n---\n", None, "unknown"),
        (None, "---\nlicense: [a, b]\n---\n", None, "unknown"),
        (None, "---\nlicense: {broken\n---\n", None, "unknown"),
        (None, "---\nlicense: mit\n", None, "unknown"),
        (None, CARD.replace("\n", "\r\n"), None, "llama2"),
        (None, None, None, "unknown"),
        (None, None, "mm_assets.demo.tiny_llava:build", "apache-2.0"),
        (None, None, "my_package.models:build", "unknown"),
    ],
)
def test_what_is_known_of_a_license(chosen: str | None, card: str | None, builder: str | None, expected: str) -> None:
    assert license_of(chosen, card, builder)[0] == expected


def test_how_a_license_is_known_is_said() -> None:
    other = "---\nlicense: other\nlicense_name: llama3\n---\n"
    assert license_of(None, other, None) == ("other", "as the base model's own card says (llama3)")
    assert "is not in the lake" in license_of(None, None, None)[1]
    assert "says nothing of its license" in license_of(None, "# a card", None)[1]
