"""Parameters of conditions and corruptions: one canonical value each, and errors that say what is allowed."""

from __future__ import annotations

import pytest
from circuitstore.errors import InputError
from circuitstore.images import CONDITIONS
from circuitstore.images.params import pixels


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
        ("text", {}, "the text to write"),
        ("text", [], "the text to write"),
        ("text", ["cat", 5], "the text to write"),
        ("text", {"cat": ""}, "the text to write"),
        ("font", "7x9", "5x7 or 3x5"),
        ("control", "nothing", "none or own class or nonsense or no word"),
    ],
)
def test_invalid_values_raise(name: str, value: object, allowed: str) -> None:
    with pytest.raises(InputError, match=f"^condition 'typographic': {name}: expected {allowed}.*, got .*$"):
        CONDITIONS.resolve("typographic", {name: value})


def test_a_table_or_a_list_of_words_has_one_canonical_value() -> None:
    spoken = CONDITIONS.resolve("typographic", {"text": {"three": " big  cat", "eight": "dog"}})
    assert spoken["text"] == '{"eight": "dog", "three": "big cat"}'
    drawn = CONDITIONS.resolve("typographic", {"text": ["dog", "cat", "dog"]})
    assert drawn["text"] == '["cat", "dog"]'
    for condition in (spoken, drawn):
        assert CONDITIONS.resolve("typographic", dict(condition.params)) == condition


def test_later_parameters_leave_the_identity_of_earlier_attacks() -> None:
    before = ("colour", "number", "outline", "place", "size", "text")
    assert tuple(dict(CONDITIONS.resolve("typographic").params)) == before
    changed = CONDITIONS.resolve("typographic", {"font": "3x5", "control": "nonsense"})
    assert {"font", "control"} < set(dict(changed.params))


@pytest.mark.parametrize(
    ("value", "canonical", "size"),
    [
        ("8/255", "8/255", 8 / 255),
        (" 16 / 510 ", "8/255", 8 / 255),
        (8 / 255, "8/255", 8 / 255),
        ("0.2", "51/255", 0.2),
        (0.03, 0.03, 0.03),
        ("3.5/255", 3.5 / 255, 3.5 / 255),
        (1, 1.0, 1.0),
        (1e-9, 1e-9, 1e-9),
    ],
)
def test_equal_budgets_are_equal(value: object, canonical: object, size: float) -> None:
    eps = CONDITIONS.resolve("random-signs", {"eps": value})["eps"]
    assert eps == canonical and type(eps) is type(canonical)
    assert CONDITIONS.resolve("random-signs", {"eps": eps})["eps"] == eps
    assert pixels(eps) == pytest.approx(size, rel=1e-12)


NO_BUDGETS = [0, -0.1, 1.5, "2", "8/0", "8", "1/2/3", "8/", "a lot", "", True, None, [8], "nan", float("inf")]


@pytest.mark.parametrize("value", NO_BUDGETS)
def test_other_budgets_raise(value: object) -> None:
    expected = r"^condition 'random-signs': eps: expected a number above 0 and up to 1, .*\"8/255\", got .*$"
    with pytest.raises(InputError, match=expected):
        CONDITIONS.resolve("random-signs", {"eps": value})


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
