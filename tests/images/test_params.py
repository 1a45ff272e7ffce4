"""Parameters: one canonical value each, and refusals that say what is allowed."""

from __future__ import annotations

import pytest
from circuitstore.errors import InputError
from circuitstore.images import CONDITIONS, CORRUPTIONS, resolve_condition, resolve_corruption


@pytest.mark.parametrize("kind", CONDITIONS)
def test_conditions_are_resolved_in_full(kind: str) -> None:
    condition = resolve_condition(kind)
    assert condition.kind == kind
    assert dict(condition.params).keys() == CONDITIONS[kind].params.keys()
    assert resolve_condition(kind, dict(condition.params)) == condition


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_corruptions_are_resolved_in_full(kind: str) -> None:
    corruption = resolve_corruption(kind)
    assert corruption.kind == kind
    assert dict(corruption.params).keys() == CORRUPTIONS[kind].params.keys()
    assert resolve_corruption(kind, dict(corruption.params)) == corruption


def test_one_value_however_it_is_written() -> None:
    spoken = resolve_condition("typographic", {"colour": "white", "size": 1, "text": " other  class "})
    coded = resolve_condition("typographic", {"colour": "#FFF", "size": 1.0})
    assert spoken == coded and spoken.text == coded.text
    assert spoken["colour"] == "#ffffff" and spoken["outline"] == "#000000"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("size", 0, "a share of the image's height, 0.01 to 1"),
        ("size", True, "a share of the image's height"),
        ("size", float("nan"), "a share of the image's height"),
        ("place", "left", "'top' or 'centre' or 'bottom' or 'random'"),
        ("number", 0, "a whole number, 1 to 100"),
        ("number", 1.0, "a whole number, 1 to 100"),
        ("colour", "whyte", "a colour"),
        ("colour", "none", "a colour"),
        ("colour", "#ffffff80", "a colour"),
        ("outline", 3, "or 'none'"),
        ("text", " ", "the text to write"),
        ("text", 5, "the text to write"),
    ],
)
def test_values_that_are_not_allowed(name: str, value: object, allowed: str) -> None:
    with pytest.raises(InputError, match=f"typographic: {name}: expected .*{allowed}"):
        resolve_condition("typographic", {name: value})


def test_text_that_cannot_be_written() -> None:
    with pytest.raises(InputError, match="the font has no 日 本"):
        resolve_condition("typographic", {"text": "日本"})


def test_unknown_names_come_with_their_neighbours() -> None:
    with pytest.raises(InputError, match="unknown condition 'typografic'; did you mean 'typographic'"):
        resolve_condition("typografic")
    with pytest.raises(InputError, match="unknown parameter of typographic 'color'; did you mean 'colour'"):
        resolve_condition("typographic", {"color": "red"})
    with pytest.raises(InputError, match="unknown corruption 'blurr'; did you mean 'blur'"):
        resolve_corruption("blurr")
    with pytest.raises(InputError, match=r"unknown parameter of unattacked-twin 'n'.*valid: none"):
        resolve_corruption("unattacked-twin", {"n": 1})
