"""Parameters of conditions and corruptions: one canonical value each, and errors that say what is allowed."""

from __future__ import annotations

import pytest
from circuitstore.errors import InputError
from circuitstore.images import CONDITIONS


def test_every_spelling_has_one_canonical_value() -> None:
    spoken = CONDITIONS.resolve("typographic", {"colour": "white", "size": 1, "text": " other  class "})
    coded = CONDITIONS.resolve("typographic", {"colour": "#FFF", "size": 1.0})
    assert spoken == coded and spoken.text == coded.text
    assert spoken["colour"] == "#ffffff" and spoken["outline"] == "#000000"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("size", 0, "a share of the image's height, 0.01 to 1"),
        ("size", True, "a share of the image's height"),
        ("size", float("nan"), "a share of the image's height"),
        ("place", "left", "top or centre or bottom or random"),
        ("number", 0, "a whole number, 1 to 100"),
        ("colour", "whyte", "a colour"),
        ("colour", "none", "a colour"),
        ("colour", "#ffffff80", "a colour"),
        ("outline", 3, "a colour .* or 'none'"),
        ("text", " ", "the text to write"),
        ("text", 5, "the text to write"),
    ],
)
def test_invalid_values_raise(name: str, value: object, allowed: str) -> None:
    with pytest.raises(InputError, match=f"^condition 'typographic': {name}: expected {allowed}.*, got {value!r}$"):
        CONDITIONS.resolve("typographic", {name: value})


@pytest.mark.parametrize("value", ["", " ", "a\0b", True, 1.5, None])
def test_a_name_is_a_printable_text_or_a_number(value: object) -> None:
    with pytest.raises(InputError, match="condition 'folder': name: expected a name for the attack, got"):
        CONDITIONS.resolve("folder", {"name": value})


def test_a_name_has_no_default_and_a_class_may_be_named_by_its_index() -> None:
    with pytest.raises(InputError, match="condition 'folder': name is missing; expected a name for the attack"):
        CONDITIONS.resolve("folder")
    assert CONDITIONS.resolve("folder", {"name": " my  pgd "}).params == (("name", "my pgd"),)
    assert CONDITIONS.resolve("folder", {"name": "a", "target": 281})["target"] == "281"


def test_a_text_that_cannot_be_written_raises() -> None:
    with pytest.raises(InputError, match=r"condition 'typographic': text: .*the font has no 日 本"):
        CONDITIONS.resolve("typographic", {"text": "日本"})
