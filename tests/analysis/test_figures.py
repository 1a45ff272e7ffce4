# pyright: reportAttributeAccessIssue=false
"""The numbers in figures are those of the tables."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from circuitstore.analysis.report.figures import (
    ANNOTATED,
    MAX_CLASSES,
    carriers_figure,
    changes_figure,
    faithfulness_figure,
    similarity_figure,
)
from circuitstore.circuits import dendrogram_order
from circuitstore.query import MEASURES, Similarity

from ..toy_studies import Answers, effect_items, mechanism_items
from .conftest import overview_of

LABELS = {"natural": "natural", "typographic(text=other class)": "typographic"}


@pytest.fixture(scope="module")
def shown():
    return overview_of(Answers.to(effect_items()))


def made_up(count: int) -> Similarity:
    rng = np.random.default_rng(0)
    half = np.triu(rng.random((count, count)), 1)
    square = half + half.T + np.eye(count)
    names = tuple(f"c{i}" for i in range(count))
    return Similarity(names, MEASURES["jaccard"], square, np.zeros((count, count)), np.full((count, count), np.nan))


def test_the_heat_map_is_the_similarity_with_the_noise_floor_on_its_diagonal(shown):
    similarity = shown.similarities["natural"]
    (heat,) = similarity_figure(similarity).data
    order = dendrogram_order(similarity.values)
    z = np.array(heat.z, dtype=float)
    off = ~np.eye(len(z), dtype=bool)
    assert z[off] == pytest.approx(similarity.values[np.ix_(order, order)][off], abs=5e-5)
    assert z.diagonal() == pytest.approx(similarity.floors.diagonal()[order], abs=5e-5)
    assert tuple(heat.x) == tuple(heat.y) == tuple(similarity.labels[i] for i in order)
    ticks = " ".join(heat.colorbar.ticktext)
    assert f"{similarity.chance_level:.2f} chance" in ticks
    assert f"{similarity.noise_floor:.2f} noise floor" in ticks


def test_an_unknown_floor_leaves_the_diagonal_empty():
    (heat,) = similarity_figure(made_up(3)).data
    assert [heat.z[i][i] for i in range(3)] == [None] * 3
    assert "noise" not in " ".join(heat.colorbar.ticktext)


def test_many_classes_are_sorted_by_similarity_and_limited_in_number():
    similarity = made_up(ANNOTATED + 4)
    (heat,) = similarity_figure(similarity).data
    at = [similarity.labels.index(name) for name in heat.x]
    assert sorted(at) == list(range(len(similarity.labels)))
    off = ~np.eye(len(at), dtype=bool)
    assert np.array(heat.z, dtype=float)[off] == pytest.approx(similarity.values[np.ix_(at, at)][off], abs=5e-5)
    assert len(similarity_figure(made_up(MAX_CLASSES + 5)).data[0].x) == MAX_CLASSES


def test_faithfulness_shows_every_circuit_and_every_random_one(shown):
    figure = faithfulness_figure(shown.faithfulness, shown.random, shown.reasons, LABELS)
    ticks, *conditions = figure.data
    assert [trace.name for trace in conditions] == ["natural", "typographic"]
    for trace, condition in zip(conditions, LABELS, strict=True):
        rows = shown.faithfulness[shown.faithfulness["condition"] == condition]
        assert list(trace.x) == rows["faithfulness"].tolist()
        assert list(trace.text) == rows["class"].tolist()
    assert sorted(ticks.x) == sorted(v for values in shown.random.values() for v in values)
    assert len(ticks.x) == 2 * len(shown.faithfulness)


def test_many_conditions_have_different_marks(shown):
    rows = shown.faithfulness.iloc[:1]
    table = pd.concat([rows.assign(condition=f"c{i}") for i in range(20)], ignore_index=True)
    _, *marks = faithfulness_figure(table, {}, {}, {c: c for c in table["condition"]}).data
    assert len({(trace.marker.symbol, trace.marker.color) for trace in marks}) == 20


def test_a_circuit_without_faithfulness_is_marked_and_not_placed(shown):
    table = shown.faithfulness.copy()
    table.loc[2, "faithfulness"] = np.nan
    random = {i: v for i, v in shown.random.items() if i != 2}
    figure = faithfulness_figure(table, random, {2: "the gap is small"}, LABELS)
    assert len(figure.data[1].x) == 3
    assert not np.isnan(figure.data[1].x).any()
    (note,) = figure.layout.annotations
    assert "undefined" in note.text
    assert round(note.y) == 2


def test_bars_of_changes_are_the_counts_with_their_noise_floor(shown):
    (change,) = shown.changes
    gained, up, lost, down = changes_figure(change.by_class).data
    assert list(gained.x) == change.by_class["gained"].tolist()
    assert list(lost.x) == (-change.by_class["lost"]).tolist()
    assert list(up.x) == change.by_class["floor"].tolist() == [-x for x in down.x]


def test_bars_of_carriers_are_the_largest_mean_scores():
    shown = overview_of(Answers.to(mechanism_items()))
    (table,) = shown.carriers.values()
    (bars,) = carriers_figure(table, max_edges=7).data
    assert list(bars.y) == table["edge"].head(7).tolist()
    assert list(bars.x) == table["score"].head(7).tolist()
    assert list(bars.error_x.array) == table["error"].head(7).tolist()


def test_names_are_escaped(shown):
    similarity = replace(shown.similarities["natural"], labels=("<b>1</b>", "a&b", '"', "</script>"))
    (heat,) = similarity_figure(similarity).data
    assert set(heat.x) == {"&lt;b&gt;1&lt;/b&gt;", "a&amp;b", '"', "&lt;/script&gt;"}


def test_figures_are_json_without_nan(shown):
    figure = similarity_figure(made_up(4))
    assert "NaN" not in figure.to_json()
    assert json.loads(figure.to_json())["data"][0]["z"][0][0] is None
