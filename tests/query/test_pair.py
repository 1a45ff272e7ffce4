"""Two circuits edge by edge: the same figures as comparisons of all pairs, and pairs that are not comparable."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from circuitstore.circuits import FORMS
from circuitstore.errors import InputError, NotComparable
from circuitstore.query import compare, compare_pair, pair_floors
from circuitstore.store import Store

from ..toy_studies import SHAPE, Answers, effect_items, make_item, store_of, toy_store, toys  # noqa: F401

EFFECT = {"metric": "logit", "corruption": "other-class"}


def id_of(store: Store, **equals) -> str:
    (id,) = store.circuits(**equals)["id"]
    return id


def test_figures_of_a_pair_are_those_of_the_comparison_of_all_pairs(toy_store: Store) -> None:  # noqa: F811
    for row in compare(toy_store, "condition", **EFFECT):
        natural, attacked = (
            id_of(toy_store, **{"class": row["class"]}, condition=row[side], **EFFECT) for side in ("a", "b")
        )
        pair = compare_pair(toy_store, natural, attacked)
        floors = pair_floors(toy_store, pair)
        assert pair.differing == ("condition",)
        assert pair.change
        assert pair.jaccard == pytest.approx(row["jaccard"])
        assert pair.chance == pytest.approx(row["chance"])
        assert pair.p_chance == pytest.approx(row["p_chance"])
        assert (pair.common, pair.sides.count("b"), pair.sides.count("a")) == (
            row["common"],
            row["gained"],
            row["lost"],
        )
        assert (floors.a.value + floors.b.value) / 2 == pytest.approx(row["noise_floor"])
        assert floors.swapped.mean == pytest.approx(row["swapped_floor"])


def test_the_frame_has_the_union_with_the_scores_of_both(toy_store: Store) -> None:  # noqa: F811
    a, b = (id_of(toy_store, class_index=i, condition="natural") for i in (0, 1))
    pair = compare_pair(toy_store, a, b)
    frame = pair.to_pandas()
    first, second = (toy_store.circuit(id).circuit for id in (a, b))
    assert set(frame["edge"]) == {*first.edges, *second.edges}
    assert set(frame.loc[frame["side"] != "b", "edge"]) == {*first.edges}
    assert set(frame.loc[frame["side"] != "a", "edge"]) == {*second.edges}
    for name, circuit in (("a", first), ("b", second)):
        index = [circuit.universe.index_of(edge) for edge in frame["edge"]]
        assert np.array_equal(frame[f"score_{name}"], circuit.score[index])
        assert np.array_equal(frame[f"rank_{name}"], circuit.ranks[index])
    assert not pair.change  # edges of another class are not gained


def test_classes_and_conditions_that_both_differ_are_noted(toy_store: Store) -> None:  # noqa: F811
    a = id_of(toy_store, class_index=0, attack="natural", **EFFECT)
    b = id_of(toy_store, class_index=1, attack="typographic", **EFFECT)
    pair = compare_pair(toy_store, a, b)
    assert not pair.change
    assert "class and condition differ" in pair.notes[0]


def test_pairs_that_are_not_comparable_say_why(toy_store: Store) -> None:  # noqa: F811
    effect, mechanism = (
        id_of(toy_store, class_index=0, condition=condition, **recipe)
        for condition, recipe in (
            ("natural", EFFECT),
            ("typographic(text=other class)", {"metric": "logit-diff", "corruption": "unattacked-twin"}),
        )
    )
    with pytest.raises(NotComparable, match=r"condition .* and corruption .* both differ"):
        compare_pair(toy_store, effect, mechanism)
    with pytest.raises(InputError, match="expected two circuits"):
        compare_pair(toy_store, effect, effect[:20])


@pytest.mark.parametrize("form", [FORMS[1], FORMS[-1]])
def test_forms_are_compared_in_the_coarser_one_without_scores(
    store_of: Callable[[Answers], Store],  # noqa: F811
    form: str,
) -> None:
    store = store_of(Answers.to([make_item(form=other, **SHAPE) for other in ("split", form)], n=20))
    fine, coarse = (id_of(store, form=other) for other in ("split", form))
    pair = compare_pair(store, fine, coarse)
    assert {circuit.graph.form for circuit in pair.circuits} == {form}
    assert pair.jaccard == pytest.approx(compare(store, "form").frame["jaccard"][0])
    assert pair.scores() is None
    assert pair.chance is None


def test_models_of_different_shapes_are_not_compared_edge_by_edge(store_of: Callable[[Answers], Store]) -> None:  # noqa: F811
    store = store_of(Answers.to([*effect_items(1, ("natural",)), make_item(n_layers=2, n_heads=2)]))
    ids = store.circuits()["id"]
    with pytest.raises(NotComparable, match="2 layers of 2 heads"):
        compare_pair(store, ids[0], ids[1])
