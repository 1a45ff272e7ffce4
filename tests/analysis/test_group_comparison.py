"""The groups of images in the report, compared with the circuits of the store."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from circuitstore.analysis.overview import read_overview
from circuitstore.analysis.report import page as page_module
from circuitstore.analysis.report.page import render
from circuitstore.circuits import WorkItem
from circuitstore.circuits.similarity import jaccard

from ..toy_studies import Answers, effect_items
from .html_page import Page


def in_group(item: WorkItem, group: str) -> WorkItem:
    return replace(item, selection=replace(item.selection, group=group))


def answers(groups: tuple[str, ...], conditions: tuple[str, ...] = ("natural",)) -> Answers:
    return Answers.to([in_group(item, group) for group in groups for item in effect_items(2, conditions)])


def test_the_groups_of_each_class_are_compared_pair_by_pair(store_of):
    given = answers(("dark", "light", ""))
    (found,) = read_overview(store_of(given)).groups
    by_key = {(r.item.target_class.name, r.item.selection.group or "undivided"): r for r in given.records}
    assert len(found.pairs) == 2 * 3
    for row in found.pairs.to_dict("records"):
        a, b = (by_key[row["class"], row[side]].circuit for side in ("a", "b"))
        assert row["jaccard"] == pytest.approx(jaccard(a, b))
    assert len(found.circuits) == 6
    for row in found.circuits.to_dict("records"):
        record = by_key[row["class"], row["image_group"]]
        assert (row["n_edges"], row["faithfulness"]) == (record.circuit.n_edges, record.evaluation.faithfulness)


def test_each_condition_is_a_comparison_of_its_own(store_of):
    given = answers(("dark", "light"), ("natural", "typographic"))
    page = Page(render(read_overview(store_of(given))))
    assert page.text.count("Mean edge Jaccard of the groups of a class") == 2
    for number in (1, 2):
        assert len(page.csv(f"groups-circuits-{number}")) == 4
        assert page.csv(f"groups-pairs-{number}")["a"].tolist() == ["dark"] * 2
        jaccards = page.csv(f"groups-{number}-figure").set_index("series")["value"]["Jaccard"]
        assert np.sort(jaccards).tolist() == np.sort(page.csv(f"groups-pairs-{number}")["jaccard"]).tolist()


def test_without_groups_there_is_no_section(toy_store):
    overview = read_overview(toy_store)
    assert overview.groups == ()
    assert "Groups of images" not in render(overview)


def test_groups_that_no_class_has_two_of_are_noted(store_of):
    items = [in_group(item, f"group {i}") for i, item in enumerate(effect_items(2, ("natural",)))]
    overview = read_overview(store_of(Answers.to(items)))
    assert overview.groups == ()
    assert [note for note in overview.notes if note.startswith("groups of images: nothing to compare")]


def test_the_circuits_of_groups_are_drawn_side_by_side_with_what_all_of_them_share(store_of):
    given = answers(("dark", "light", ""))
    page = Page(render(read_overview(store_of(given))))
    circuits = {(r.item.target_class.name, r.item.selection.group or "undivided"): r.circuit for r in given.records}
    titles = [str(a["aria-label"]) for tag, a in page.tags if tag == "div" and a.get("class") == "scroll"]
    drawn = [tuple(title.split(", ")) for title in titles if tuple(title.split(", ")) in circuits]
    assert len(drawn) == len(set(drawn)) == 2 * 3
    for number, key in enumerate(drawn, 1):
        table = page.csv(f"groups-drawing-{number}-figure").set_index("edge")
        everywhere = set.intersection(*(set(c.edges) for (name, _), c in circuits.items() if name == key[0]))
        assert set(table.index) == set(circuits[key].edges)
        assert set(table.index[table["shared"]]) == everywhere


def test_groups_are_named_in_the_titles_of_their_studies(store_of):
    overview = read_overview(store_of(answers(("dark", "light", ""))))
    assert {shown.title for shown in overview.studies} == {
        "Effect study",
        "Effect study: group dark",
        "Effect study: group light",
    }


def test_classes_without_room_for_drawings_are_counted(store_of, monkeypatch):
    monkeypatch.setattr(page_module, "GROUPS_BYTES", 0)
    page = Page(render(read_overview(store_of(answers(("dark", "light"))))))
    assert "2 more classes are not drawn" in page.text
    assert "groups-drawing-1-figure.csv" not in page.files
