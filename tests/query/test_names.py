"""Abbreviated values, and models by name, label or id."""

from __future__ import annotations

import pytest
from circuitstore.circuits import Extraction, digest
from circuitstore.errors import InputError
from circuitstore.query.names import Models, matches
from hypothesis import given
from hypothesis import strategies as st

ATTACKS = [
    "natural",
    "typographic(size=0.1, text=cat, dog)",
    "typographic(size=0.2, text=cat, dog)",
    "blurred(size=0.1)",
]
SIZED = ["retention(size_of=natural, target=0.85)", "retention(target=0.85)", "retention(size_of=natural, target=0.9)"]


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("natural", ATTACKS, ATTACKS[:1]),
        ("typographic", ATTACKS, ATTACKS[1:3]),
        ("typographic(size=0.2)", ATTACKS, ATTACKS[2:3]),
        ("typographic(text=cat, dog)", ATTACKS, ATTACKS[1:3]),
        ("typographic(text=cat)", ATTACKS, []),
        ("typographic(text=cat, dog, size=0.1)", ATTACKS, ATTACKS[1:2]),
        ("typo", ATTACKS, []),
        ("size=0.1", ATTACKS, []),
        ("retention(target=0.85)", SIZED, SIZED[:2]),
        ("retention(target=0.85)", SIZED[:1], SIZED[:1]),
        ("retention(size_of=natural, target=0.85)", SIZED, SIZED[:1]),
        ("retention(target=0.9)", SIZED, SIZED[2:]),
        ("retention", SIZED, SIZED),
        ("retention(size_of=natural)", SIZED, [SIZED[0], SIZED[2]]),
        ("edges(n=24)", ["edges(absolute=True, n=24)", "edges(n=24)"], ["edges(n=24)"]),
        ("edges(n=24)", ["edges(absolute=True, n=24)"], ["edges(absolute=True, n=24)"]),
        ("tench (fish)", ["tench (fish)", "tench"], ["tench (fish)"]),
        ("tench", ["tench (fish)"], []),
        ("", ["", "tench"], [""]),
    ],
)
def test_values_match_their_text_and_abbreviations(text: str, values: list[str], expected: list[str]) -> None:
    assert matches(text, values) == set(expected)


EXTRACTIONS = st.builds(
    lambda kind, params: Extraction.of(kind, params).text,
    st.sampled_from(["top", "edges"]),
    st.dictionaries(st.sampled_from(["n", "absolute", "of"]), st.integers(0, 2), max_size=3),
)


@given(st.sets(EXTRACTIONS, min_size=1, max_size=8))
def test_a_value_matches_only_itself_and_a_kind_matches_all_its_values(values: set[str]) -> None:
    for value in values:
        assert matches(value, values) == {value}
        kind = value.partition("(")[0]
        if kind not in values:
            assert matches(kind, values) == {v for v in values if v.partition("(")[0] == kind}


A, B, C = (digest(["model", name]) for name in "abc")


def test_models_with_the_same_name_get_different_labels() -> None:
    models = Models([("vit", A), ("vit", B), ("deit", C)])
    assert models.labels == sorted(["deit", f"vit ({A[:8]})", f"vit ({B[:8]})"])
    assert models.id("deit") == C
    for given_id in (A, A[:8], A[:3], f"vit ({A[:8]})"):
        assert models.id(given_id) == A
    with pytest.raises(InputError, match=rf"here: 'vit' matches 2 models.*vit \({min(A, B)[:8]}\); vit \("):
        models.id("vit", "here")
    with pytest.raises(InputError, match="unknown model 'vti'"):
        models.id("vti")
    with pytest.raises(InputError, match="unknown model ''"):
        models.id("")


def test_the_beginning_of_several_ids_raises_an_error() -> None:
    models = Models([("one", "abc1" * 16), ("two", "abc2" * 16)])
    assert models.id("abc1") == "abc1" * 16
    with pytest.raises(InputError, match="'abc' matches 2 models; give the first digits of an id: one; two"):
        models.id("abc")


def test_a_model_may_have_two_names_and_names_take_precedence_over_ids() -> None:
    models = Models([("vit", A), ("mine", A), ("vit", B), (A[:4], C)])
    assert models.label(A) == "mine" and models.label(B) == f"vit ({B[:8]})"
    assert models.id("mine") == A and models.id(A[:4]) == C and models.id(A[:5]) == A


@given(st.sets(st.tuples(st.sampled_from(["x", "y"]), st.integers(0, 5).map(lambda i: digest([i]))), min_size=1))
def test_labels_and_ids_lead_back_to_the_model(pairs: set[tuple[str, str]]) -> None:
    models = Models(pairs)
    ids = {id for _, id in pairs}
    assert len(set(models.labels)) == len(ids)
    for id in ids:
        assert models.id(id) == models.id(models.label(id)) == id
