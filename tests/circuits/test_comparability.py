"""Comparability of recipes, field by field."""

from __future__ import annotations

from dataclasses import replace

import pytest
from circuitstore.circuits import (
    Condition,
    Corruption,
    Extraction,
    MethodUse,
    Metric,
    Recipe,
    check_comparable,
    check_conditions,
    check_version,
)
from circuitstore.errors import NotComparable

RECIPE = Recipe(
    MethodUse.of("eap-ig", {"steps": 5, "rule": "midpoint"}), "split", Metric.of("logit"), Corruption.of("other-class")
)
NATURAL, WORDS = Condition.of("natural"), Condition.of("typographic", {"text": "other class"})


def test_equal_recipes_compare_without_warnings() -> None:
    assert check_comparable(RECIPE, RECIPE) == []
    assert check_conditions(RECIPE, RECIPE, NATURAL, WORDS) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("form", "head"),
        ("method", MethodUse.of("eap")),
        ("signed", False),
        ("metric", Metric.of("logit-diff")),
        ("direction", "denoising"),
    ],
)
def test_fields_that_must_agree(field: str, value: object) -> None:
    other = replace(RECIPE, **{field: value})
    for a, b in ((RECIPE, other), (other, RECIPE)):
        with pytest.raises(NotComparable, match=f"{field}: "):
            check_comparable(a, b)


def test_all_disagreements_are_named_at_once() -> None:
    with pytest.raises(NotComparable, match=r"form: split against head; .*metric: logit against kl"):
        check_comparable(RECIPE, replace(RECIPE, form="head", metric=Metric.of("kl")))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("corruption", Corruption.of("blur"), "corruption differs: other-class against blur"),
        ("method", MethodUse.of("eap-ig", {"steps": 9, "rule": "midpoint"}), "steps=9"),
        ("method", MethodUse.of("eap-ig", {"steps": 5, "rule": "left"}), "rule=left"),
        ("dtype", "bfloat16", "dtype differs: float32 against bfloat16"),
        ("seed", 1, "seed differs: 0 against 1"),
    ],
)
def test_fields_whose_difference_is_reported(field: str, value: object, message: str) -> None:
    (warning,) = check_comparable(RECIPE, replace(RECIPE, **{field: value}))
    assert message in warning


def test_versions_of_a_method_are_reported() -> None:
    other = replace(RECIPE, method=replace(RECIPE.method, version=2))
    (warning,) = check_comparable(RECIPE, other)
    assert "version" in warning


def test_another_version_of_a_metric_measures_something_else() -> None:
    other = replace(RECIPE, metric=replace(RECIPE.metric, version=2))
    for check in (check_comparable, lambda a, b: check_conditions(a, b, NATURAL, WORDS)):
        with pytest.raises(NotComparable, match=r"metric: logit \(version 1\) against logit \(version 2\)"):
            check(RECIPE, other)


def test_versions_of_corruptions_and_conditions_are_reported() -> None:
    other = replace(RECIPE, corruption=replace(RECIPE.corruption, version=2))
    message = "corruption differs: other-class (version 1) against other-class (version 2)"
    assert check_comparable(RECIPE, other) == [message]
    words = replace(WORDS, version=2)
    assert check_conditions(RECIPE, RECIPE, NATURAL, words) == []
    (warning,) = check_conditions(RECIPE, RECIPE, WORDS, words)
    assert warning.startswith("condition differs: typographic(text=other class) (version 1) against")
    with pytest.raises(NotComparable, match=r"\(version 2\)\) both differ"):
        check_conditions(RECIPE, other, WORDS, words)


def test_a_version_is_reported_where_the_text_hides_it() -> None:
    a, b, c = Extraction.of("top", {"n": 5}), Extraction.of("top", {"n": 5}, 2), Extraction.of("top", {"n": 6}, 2)
    (warning,) = check_version("extraction", a, b)
    assert warning == "extraction differs: top(n=5) (version 1) against top(n=5) (version 2)"
    assert check_version("extraction", a, a) == check_version("extraction", a, c) == []


def test_gained_and_lost_need_the_same_corruption() -> None:
    other = replace(RECIPE, corruption=Corruption.of("unattacked-twin"))
    assert len(check_conditions(RECIPE, other, WORDS, WORDS)) == 1
    with pytest.raises(NotComparable, match="both differ"):
        check_conditions(RECIPE, other, NATURAL, WORDS)
