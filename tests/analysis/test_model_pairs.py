"""Comparisons of models in the report and in the summary."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from circuitstore.analysis import sentences, summarise
from circuitstore.analysis.model_pairs import ModelRoles
from circuitstore.analysis.overview import read_overview
from circuitstore.analysis.report.page import render
from circuitstore.circuits import WorkItem
from circuitstore.errors import InputError
from circuitstore.testing.factories import make_discovery, make_record

from ..toy_models import PLANTED
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
    assert row["similarity"] == pytest.approx(len(was & now) / len(was | now))
    same = first.table.set_index("class").drop(index="class-0")
    assert not same[["gained", "lost"]].to_numpy().any()
    page = Page(render(overview))
    assert "toy-3x2 → tuned, natural" in page.text
    gained = page.chart("models-1")["data"][0]
    assert gained["x"] == page.csv("models-1")["gained"].tolist()
    assert (
        f"noise floor {first.means['changed_floor']:.1f}. Mean edge Jaccard {first.means['similarity']:.2f}"
        in page.text
    )
    assert "From toy-3x2 to tuned, a class gains" in str(summarise(store))


def test_models_of_different_shapes_are_compared_by_profile(toy_store, store_of):
    assert read_overview(toy_store).model_pairs == read_overview(toy_store).model_notes == ()
    other = [of_model(i, "small", "e" * 64) for i in effect_items(3, n_layers=2, n_heads=2)]
    overview = read_overview(store_of(two_models(other)))
    assert {(pair.before, pair.after) for pair in overview.model_pairs} == {("toy-3x2", "small")}
    first = overview.model_pairs[0]
    assert not first.same_graph and first.by_class.empty and first.by_edge.empty
    page = Page(render(overview))
    assert "Mean overlap by kind of component and depth" in page.text
    assert "because the models have different graphs" in page.text


@pytest.mark.slow
def test_edges_beyond_the_control_come_first(model_store):
    overview = read_overview(model_store, roles=ModelRoles("base", "control"))
    pairs = {pair.after: pair for pair in overview.model_pairs}
    assert set(pairs) == {"tuned", "control"}
    found = pairs["tuned"].by_edge.head(len(PLANTED))
    assert set(found["edge"]) == set(PLANTED) and (found["beyond_control_in"] == 3).all()
    assert "beyond_control_in" not in pairs["control"].by_edge
    page = Page(render(overview))
    assert f"Most often beyond the control (number of classes): {found['edge'].iloc[0]} (3)" in page.text
    assert "by more than in the control" in page.text
    without = read_overview(model_store, roles=ModelRoles("base")).model_pairs[0]
    assert "as they do in any fine-tuning" in sentences.models(without)


def test_the_base_is_the_model_whose_circuits_were_stored_first(model_store):
    assert {pair.before for pair in read_overview(model_store).model_pairs} == {"base"}
    assert {pair.before for pair in read_overview(model_store, roles=ModelRoles("tuned")).model_pairs} == {"tuned"}
    with pytest.raises(InputError, match="unknown model 'other'"):
        read_overview(model_store, roles=ModelRoles("other"))


def test_compared_models_have_the_labels_of_the_rest_of_the_report(store_of):
    """A model of another shape has the same name as one of them."""
    twin = [of_model(i, "toy-3x2", "d" * 64) for i in effect_items(3, n_layers=2, n_heads=2)]
    tuned = [of_model(item, "tuned", "f" * 64) for item in effect_items(3)]
    overview = read_overview(store_of(two_models([*twin, *tuned])))
    base = effect_items(1)[0].model.id[:8]
    twins = f"toy-3x2 ({base})", f"toy-3x2 ({'d' * 8})"
    first = {pair.before for pair in overview.model_pairs}
    assert len(first) == 1 and first <= {*twins}
    assert {pair.after for pair in overview.model_pairs} == {*twins, "tuned"} - first


def test_models_without_a_common_class_are_not_compared(store_of):
    apart = [of_model(renamed(i, f"other-{i.target_class.class_index}"), "tuned", "f" * 64) for i in effect_items(3)]
    overview = read_overview(store_of(two_models(apart)))
    assert overview.model_pairs == ()
    (note,) = overview.model_notes
    assert note.startswith("toy-3x2, tuned: nothing to compare")
