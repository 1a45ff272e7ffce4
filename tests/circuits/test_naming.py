"""Short names of canonical texts are distinct and no longer than necessary."""

from __future__ import annotations

import pytest
from circuitstore.circuits import Variant, short_names
from hypothesis import given
from hypothesis import strategies as st

WORD = "typographic(number=1, size=0.15, text=other class)"


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["natural", WORD], ["natural", "typographic"]),
        (
            [WORD, "typographic(number=1, size=0.4, text=other class)"],
            ["typographic(size=0.15)", "typographic(size=0.4)"],
        ),
        (
            ["retention(target=0.85)", "retention(size_of=natural, target=0.85)"],
            ["retention", "retention(size_of=natural)"],
        ),
        (["top", "top(n=4)"], ["top", "top(n=4)"]),
        (["blur(radius=2, s=1)", "blur(radius=3, s=2)"], ["blur(radius=2, s=1)", "blur(radius=3, s=2)"]),
        (["typographic(size=1, text=a, b and c)"], ["typographic"]),
        (["crane (bird)", "f(x)"], ["crane (bird)", "f(x)"]),
        (
            [
                "eap(n=1), split, other-class(of=all)",
                "eap-ig(n=1, steps=5), split, blur",
                "eap-ig(n=1, steps=2), head, blur",
            ],
            ["eap, split, other-class", "eap-ig(steps=5), split, blur", "eap-ig(steps=2), head, blur"],
        ),
        (["crane, bird", "crane (machine), steel"], ["crane, bird", "crane (machine), steel"]),
        (["eap(n=1), split", "eap(n=1)"], ["eap(n=1), split", "eap(n=1)"]),
        ([], []),
    ],
)
def test_a_name_is_the_kind_with_what_differs(texts: list[str], names: list[str]) -> None:
    assert short_names(texts) == dict(zip(texts, names, strict=True))


def test_names_that_would_be_equal_are_not_shortened() -> None:
    """A text may itself contain what separates parameters."""
    texts = ["a(x=1, x=2)", "a(x=2)"]
    assert short_names(texts) == {text: text for text in texts}


scalars = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.15, "a", "a, b=c", ")", "", "two words"])
variants = st.builds(
    lambda kind, params: Variant.of(kind, params).text,
    st.sampled_from(["natural", "top", "eap-ig"]),
    st.dictionaries(st.sampled_from(["n", "size", "text"]), scalars, max_size=3),
)


@given(st.lists(variants | st.text(max_size=8), unique=True, max_size=6))
def test_names_are_distinct_and_no_longer_than_the_texts(texts: list[str]) -> None:
    names = short_names(texts)
    assert set(names) == set(texts)
    assert len(set(names.values())) == len(texts)
    for text, name in names.items():
        assert len(name) <= len(text)
        assert text.startswith(name.split("(")[0])
        assert name == text or "(" in text


@given(variants)
def test_a_single_text_is_named_by_its_kind(text: str) -> None:
    assert short_names([text]) == {text: text.split("(")[0]}
