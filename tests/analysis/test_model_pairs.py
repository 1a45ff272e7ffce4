"""Comparisons of models in the report and in the summary."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from circuitstore.analysis import summarise
from circuitstore.analysis.overview import read_overview
from circuitstore.analysis.report.page import render
from circuitstore.circuits import WorkItem
from circuitstore.testing.factories import make_discovery, make_record

from ..toy_studies import (
    Answers,
    effect_items,
    of_model,
    renamed,
)
from .html_page import Page


def two_models(tuned: Sequence[WorkItem]) -> Answers:
    return Answers.to([*effect_items(3), *tuned])


def test_models_are_compared_by_class(store_of, tmp_path):
    answers = two_models([of_model(item, "tuned", "f" * 64) for item in effect_items(3)])
    changed = make_discovery(4, item=answers.discoveries[6].item)  # other scores for the tuned model's first class
    answers.discoveries[6] = changed
    answers.records[6] = make_record(changed, 30)
    store = store_of(answers)
    overview = read_overview(store)
    first = overview.model_pairs[0]
    was, now = (
        set(answers.of(model=m, class_index=0, attack="natural")[0].circuit.edges) for m in ("toy-3x2", "tuned")
    )
    row = first.table.set_index("class").loc["class-0"]
    assert (first.before, first.after, first.label) == ("toy-3x2", "tuned", "natural")
    assert (row["gained"], row["lost"]) == (len(now - was), len(was - now)) != (0, 0)
    assert row["jaccard"] == pytest.approx(len(was & now) / len(was | now))
    same = first.table.set_index("class").drop(index="class-0")
    assert not same[["gained", "lost"]].to_numpy().any()
    page = Page(render(overview))
    assert "toy-3x2 → tuned, natural" in page.text
    gained = page.chart("models-1")["data"][0]
    assert gained["x"] == page.csv("models-1")["gained"].tolist()
    assert (
        f"noise floor {first.means['changed_floor']:.1f}. Mean edge Jaccard {first.means['jaccard']:.2f}" in page.text
    )
    assert "From toy-3x2 to tuned, a class gains" in str(summarise(store))


def test_models_of_different_shapes_are_not_compared(toy_store, store_of):
    assert read_overview(toy_store).model_pairs == read_overview(toy_store).model_notes == ()
    other = [of_model(i, "small", "e" * 64) for i in effect_items(3, n_layers=2, n_heads=2)]
    assert read_overview(store_of(two_models(other))).model_notes == ()


def test_compared_models_have_the_labels_of_the_rest_of_the_report(store_of):
    """A model of another shape has the same name as one of them."""
    twin = [of_model(i, "toy-3x2", "d" * 64) for i in effect_items(3, n_layers=2, n_heads=2)]
    tuned = [of_model(item, "tuned", "f" * 64) for item in effect_items(3)]
    overview = read_overview(store_of(two_models([*twin, *tuned])))
    base = effect_items(1)[0].model.id[:8]
    assert {(pair.before, pair.after) for pair in overview.model_pairs} == {(f"toy-3x2 ({base})", "tuned")}


def test_models_without_a_common_class_are_not_compared(store_of):
    apart = [of_model(renamed(i, f"other-{i.target_class.class_index}"), "tuned", "f" * 64) for i in effect_items(3)]
    overview = read_overview(store_of(two_models(apart)))
    assert overview.model_pairs == ()
    (note,) = overview.model_notes
    assert note.startswith("toy-3x2, tuned: nothing to compare")
