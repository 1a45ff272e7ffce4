"""The stability of circuits in the report is that of the named queries, and its calibration that of the benchmarks."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from circuitstore.analysis.overview import read_overview
from circuitstore.analysis.report.page import render
from circuitstore.analysis.stability import CALIBRATION, ENOUGH
from circuitstore.query import run

from ..toy_studies import Answers, effect_items
from .html_page import Page

BENCHMARKS = Path(__file__).parents[2] / "docs" / "benchmarks.md"


@pytest.fixture(scope="module")
def effect(toy_store):
    return read_overview(toy_store).studies[0]


def test_there_is_a_row_per_class_of_the_natural_condition(effect):
    assert effect.stability["class"].tolist() == list(effect.study.classes)
    assert set(effect.stability["condition"]) == {"natural"}


def test_the_figures_are_those_of_the_named_queries(toy_store, effect):
    ids = {r.item.target_class.name: r.id for r in effect.main_records}
    for row in effect.stability.iloc[:2].to_dict("records"):
        edges = run(toy_store, "edge-stability", {"circuit": ids[row["class"]]})
        assert {name: row[name] for name in ("certain", "abstained", "excluded")} == {
            name: edges.facts[name] for name in ("certain", "abstained", "excluded")
        }
        members = edges.frame.loc[edges.frame["member"]]
        assert row["frequency"] == pytest.approx(members["frequency"].mean())
        assert row["replication"] == pytest.approx(members["replication"].mean())
        curve = run(toy_store, "stability-by-images", {"circuit": ids[row["class"]], "jaccard": ENOUGH})
        last = curve.frame.iloc[-2]
        assert (row["half"], row["jaccard"], row["chance"]) == (last["images"], last["jaccard"], last["chance"])
        assert (row["doubled"], row["enough"]) == (curve.facts["doubled"], curve.facts["images_for"])


def test_every_edge_is_certain_excluded_or_abstained(effect):
    total = effect.stability[["certain", "abstained", "excluded"]].sum(axis=1)
    assert (total == effect.study.universe.n_edges).all()


def test_the_calibration_is_that_of_the_benchmarks():
    rows = re.findall(
        r"^\| found, (?:frequency )?([^|a-z]*(?:below|to)?[^|a-z]*) \|(.*)\|$", BENCHMARKS.read_text(), re.M
    )
    measured = {name: [float(cell) for cell in cells.split("|")[1:]] for name, cells in rows}
    assert measured == {row[0]: list(row[1:]) for row in CALIBRATION.itertuples(index=False)}


def test_without_scores_per_image_stability_is_unknown(store_of):
    answers = Answers.to(effect_items(2))
    bare = [replace(d, scores=replace(d.scores, per_image=None)) for d in answers.discoveries]
    overview = read_overview(store_of(Answers(bare, answers.records)))
    assert overview.studies[0].stability.empty
    assert "Unknown: it needs scores per image, for at least 6 images" in Page(render(overview)).text
