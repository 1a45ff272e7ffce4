"""The faithfulness of circuits on images of other classes, in the report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from circuitstore.analysis.cross_classes import nearest_on
from circuitstore.analysis.overview import read_overview
from circuitstore.analysis.report.page import render
from circuitstore.analysis.sentences import cross_faithfulness
from circuitstore.circuits import CircuitRecord
from circuitstore.errors import InputError
from circuitstore.results import Table

from ..toy_studies import Answers, effect_items
from .html_page import Page


@pytest.fixture(scope="module")
def answers() -> Answers:
    return Answers.to(effect_items(3))


def value(a: CircuitRecord, b: CircuitRecord) -> float:
    """Return a made-up faithfulness of the circuit of one class on images of another."""
    return 0.1 * a.item.target_class.class_index + 0.01 * b.item.target_class.class_index


def crossed(records: list[CircuitRecord], **other: Any) -> Table:
    """Return the rows of a cross evaluation of each circuit on the images of each item."""

    def rows() -> Iterator[dict[str, Any]]:
        for a in records:
            for b in records:
                item = b.item
                yield {
                    "circuit": a.id,
                    "on_model_id": item.model.id,
                    "on_class": item.target_class.name,
                    "on_group": item.selection.group,
                    "on_condition": item.condition.text,
                    "corruption": item.recipe.corruption.text,
                    "metric": item.recipe.metric.text,
                    "dtype": item.recipe.dtype,
                    "faithfulness": value(a, b),
                    "retention": 0.5,
                    **other,
                }

    return Table(pd.DataFrame(rows()))


def test_the_matrix_has_the_faithfulness_of_each_circuit_on_each_class(store_of, answers):
    (shown,) = read_overview(store_of(answers), cross=crossed(answers.records)).studies
    assert list(shown.cross_classes) == list(shown.study.conditions)
    for condition, matrix in shown.cross_classes.items():
        records = [r for r in answers.records if r.item.condition.text == condition]
        assert list(matrix.index) == list(matrix.columns) == [r.item.target_class.name for r in records]
        assert matrix.to_numpy() == pytest.approx(np.array([[value(a, b) for b in records] for a in records]))


def test_the_report_shows_the_matrix_in_the_order_of_the_similarities(store_of, answers):
    natural = [r for r in answers.records if r.item.condition.text == "natural"]
    page = Page(render(read_overview(store_of(answers), cross=crossed(natural))))
    heat = page.csv("study-1-cross-0-figure").set_index("Unnamed: 0")
    similar = page.csv("study-1-alike-0-figure").set_index("Unnamed: 0")
    assert list(heat) == list(heat.index) == list(similar)
    by_name = {r.item.target_class.name: r for r in natural}
    for a, row in heat.iterrows():
        assert row.to_dict() == pytest.approx({b: value(by_name[a], by_name[b]) for b in by_name}, abs=5e-5)
    assert "study-1-cross-1-figure.csv" not in page.files
    assert "natural: median faithfulness of a circuit on images of its own class 0.11" in page.text


@pytest.mark.parametrize("other", [{"on_model_id": "x"}, {"on_condition": "x"}, {"metric": "x"}, {"on_group": "x"}])
def test_results_on_other_images_or_models_are_not_shown(store_of, answers, other):
    records = answers.records[:1] if "on_condition" in other else answers.records[:3]
    rows = crossed(records, **other).frame.drop_duplicates(["circuit", "on_class"])
    (shown,) = read_overview(store_of(answers), cross=Table(rows)).studies
    assert shown.cross_classes == {}


def test_without_results_there_is_no_section(store_of, answers):
    assert "Faithfulness on images of other classes</h3>" not in render(read_overview(store_of(answers)))


def test_a_table_without_the_columns_raises_an_error(store_of, answers):
    with pytest.raises(InputError, match="no column circuit, on_model_id"):
        read_overview(store_of(answers), cross=Table(pd.DataFrame({"x": [1]})))


def test_the_nearest_circuit_is_that_with_faithfulness_nearest_to_1_on_either_side():
    names = ["a", "b", "c"]
    matrix = pd.DataFrame([[0.9, 0.5, np.nan], [1.2, 1.6, np.nan], [np.nan, 0.7, np.nan]], names, names)
    assert nearest_on(matrix).to_dict() == {"a": "a", "b": "c"}
    assert "for 1 of 2 classes, no circuit of another class is nearer to 1" in cross_faithfulness("natural", matrix)


def test_a_matrix_without_known_values_on_other_classes_has_no_median():
    matrix = pd.DataFrame([[0.9, np.nan], [np.nan, 1.1]], ["a", "b"], ["a", "b"])
    assert "its own class 1.00, on those of another class –" in cross_faithfulness("natural", matrix)
