"""The report is one self-contained file with the numbers of the store, for any store."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from circuitstore.analysis import write_report
from circuitstore.analysis.overview import Overview, read_overview
from circuitstore.analysis.report import page as page_module
from circuitstore.analysis.report.inputs import images_table
from circuitstore.analysis.report.page import render
from circuitstore.circuits import Extraction
from circuitstore.errors import InputError
from circuitstore.store import create_store, open_store
from circuitstore.testing.factories import make_item
from plotly.offline import get_plotlyjs

from ..toy_studies import (
    HOSTILE,
    Answers,
    effect_items,
    mechanism_items,
    renamed,
)
from .html_page import Page

LOADING = {"src", "href", "data", "poster", "srcset", "action", "xlink:href", "background"}


@pytest.fixture(scope="module")
def written(toy_store, tmp_path_factory) -> Path:
    return write_report(toy_store, tmp_path_factory.mktemp("out") / "deep" / "report.html", run="toys")


@pytest.fixture(scope="module")
def page(written) -> Page:
    return Page(written.read_text(encoding="utf-8"))


def test_the_page_loads_nothing(page):
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base", "form"), tag
        for name in LOADING & attributes.keys():
            held = ("#", "data:text/csv") if "download" in attributes else "#"
            assert str(attributes[name]).startswith(held), (tag, name, attributes[name])
    assert not re.search(r"url\(|@import", page.styles)
    assert {a.get("xmlns") for tag, a in page.tags if tag == "svg"} == {"http://www.w3.org/2000/svg"}


def test_plotly_is_included_once_and_the_file_is_small(page, written):
    assert sum("plotly.js v" in script for script in page.scripts) == 1
    assert written.stat().st_size < 6_000_000


def test_links_lead_to_parts_of_the_page_and_ids_are_unique(page):
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {str(a["href"])[1:] for tag, a in page.tags if tag == "a" and "download" not in a} <= set(ids)


def test_every_figure_has_an_element_an_alternative_text_and_a_caption(page):
    places = {a["id"]: a for tag, a in page.tags if tag == "div" and a.get("class") == "plot"}
    fed = [a["data-for"] for tag, a in page.tags if tag == "script" and "data-for" in a]
    assert sorted(fed) == sorted(places)
    assert len(fed) == 10  # heat maps of 2 + 1 conditions, faithfulness and stability of 2 studies, 4 of edges
    for attributes in places.values():
        assert attributes["role"] == "img"
        assert len(str(attributes["aria-label"])) > 20
    assert page.count("figcaption") == page.count("figure")
    assert all(a.get("role") == "img" and a.get("aria-label") for tag, a in page.tags if tag == "svg")


def test_the_heat_map_has_the_similarities_of_the_stored_circuits(page, toys):
    heat = page.figures[0]["data"][0]
    members = {r.item.target_class.name: set(r.circuit.edges) for r in toys.of(attack="natural")}
    for i, a in enumerate(heat["y"]):
        for j, b in enumerate(heat["x"]):
            if i != j:
                expected = len(members[a] & members[b]) / len(members[a] | members[b])
                assert heat["z"][i][j] == pytest.approx(expected, abs=5e-5)


def test_the_faithfulness_figure_has_the_stored_values(page, toys):
    natural = next(t for f in page.figures for t in f["data"] if t.get("name") == "natural")
    expected = [r.evaluation.faithfulness for r in toys.of(attack="natural")]
    assert natural["x"] == expected


def test_every_circuit_is_drawn_with_its_id(page, toys):
    for record in toys.records:
        assert f"circuit {record.id[:12]}." in page.text


def test_recipes_and_provenance_are_shown(page, toy_store):
    for stated in (
        "eap-ig(rule=midpoint, steps=5)",
        "unattacked-twin",
        "typographic(text=other class)",
        "toy-3x2",
        "cpu",
    ):
        assert stated in page.text
    assert toy_store.id in page.text
    assert "Gained" not in page.text.split("Mechanism study:")[1].split("Warnings")[0]


def test_hostile_names_are_escaped(store_of):
    items = [renamed(item, HOSTILE + str(item.target_class.class_index)) for item in effect_items(3)]
    overview = read_overview(store_of(Answers.to([*items, *mechanism_items(3)])))
    html = render(overview)
    clean = render(replace(overview, notes=("<img src=x onerror=alert(1)>",)))
    page = Page(html)
    assert "<script>alert(1)" not in html
    assert not any(script.startswith("alert") for script in page.scripts)
    assert HOSTILE + "0" in page.text
    assert page.figures[0]["data"][0]["x"][0].startswith("&lt;/script&gt;")
    assert Page(clean).count("img") == 0


def test_an_empty_store_says_so(tmp_path):
    create_store(tmp_path / "empty").close()
    with open_store(tmp_path / "empty") as store:
        path = write_report(store, tmp_path / "r.html")
    page = Page(path.read_text())
    assert "no circuits yet" in page.text
    assert not page.scripts
    assert page.count("figure") == 0


def test_the_page_of_a_large_store_is_small(store_of, tmp_path):
    items = [make_item(class_index=c, n_layers=2, n_heads=2) for c in range(90)]
    path = write_report(store_of(Answers.to(items, n=10)), tmp_path / "r.html")
    page = Page(path.read_text())
    assert path.stat().st_size < 6_000_000
    assert "The first 80 of 90 classes are shown" in page.text
    assert "To keep the page small, 78 more classes are not drawn" in page.text


def test_studies_that_the_page_has_no_room_for_are_left_out_and_counted(store_of, monkeypatch):
    answers = Answers.to(effect_items(3))
    more = [replace(r, extraction=Extraction.of("edges", {"n": n})) for r in answers.records for n in (31, 32)]
    overview = read_overview(store_of(Answers(answers.discoveries, answers.records + more)))
    assert len(overview.studies) == 3
    limit = len(get_plotlyjs()) + page_module.FRAME_BYTES + 100_000
    monkeypatch.setattr(page_module, "PAGE_BYTES", limit)
    html = render(overview)
    page = Page(html)
    assert len(html.encode()) <= limit
    shown = [a["href"] for tag, a in page.tags if tag == "a" and str(a["href"]).startswith("#study")]
    assert 1 <= len(shown) < 3
    assert [f"#{a['id']}" for tag, a in page.tags if tag == "h2" and a["id"].startswith("study")] == shown
    assert f"{3 - len(shown)} more stud" in page.text


def test_every_table_can_be_downloaded_with_all_digits(page, toys):
    assert len(page.files) == page.count("table") + page.count("figure")
    table = page.csv("study-1-faithfulness")
    stored = [r.evaluation.faithfulness for r in toys.of(metric="logit", attack="natural")]
    assert table["faithfulness"].tolist()[: len(stored)] == stored
    pairs = page.csv("study-1-pairs-1")
    square = np.array(page.figures[0]["data"][0]["z"], dtype=float)
    assert sorted(pairs["jaccard"]) == pytest.approx(sorted(square[np.triu_indices(len(square), 1)]), abs=5e-5)


def test_every_figure_can_be_saved_as_svg_and_its_numbers_as_csv(page):
    buttons = [a["data-svg"] for tag, a in page.tags if tag == "button"]
    assert len(buttons) == len(set(buttons)) == page.count("figure")
    for name in buttons:
        assert len(page.csv(name)) > 0
    drawn = {a["id"] for tag, a in page.tags if tag == "div" and a.get("class") == "plot"}
    assert {f"{id}-figure" for id in drawn} == {name for name in buttons if "drawing" not in str(name)}


def test_the_numbers_of_figures_and_drawings_are_those_of_the_store(page, toys):
    heat = page.csv("study-1-alike-0-figure").set_index("Unnamed: 0")
    assert np.array_equal(heat.to_numpy(), np.array(page.figures[0]["data"][0]["z"], float))
    natural = toys.of(metric="logit", attack="natural")
    marks = page.csv("study-1-faith-figure")
    own = marks.loc[marks["series"] == "natural"].set_index("label")["value"]
    assert own.to_dict() == pytest.approx({r.item.target_class.name: r.evaluation.faithfulness for r in natural})
    assert (marks["series"] == "random connected circuits of the same size").sum() == 2 * 8
    table, record = page.csv("study-1-drawing-2-figure"), natural[0]
    assert set(table["edge"]) == set(record.circuit.edges)
    scores = [record.circuit.score[record.circuit.universe.edge_index[edge]] for edge in table["edge"]]
    assert table["value"].tolist() == pytest.approx(scores)


def test_a_folder_of_images_is_named_by_its_path():
    spec = '[images]\nsource = { folder = "photos/", classes = { tabby = 281 } }\n'
    overview = Overview("id", None, (), pd.DataFrame(), specs={"mine": spec})
    assert images_table(overview).rows == [("mine", "photos/", "default", "correct")]


def test_a_file_that_cannot_be_written_and_an_unknown_run_raise_an_error(toy_store, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_report(toy_store, tmp_path / "file" / "r.html")
    with pytest.raises(InputError, match="toys"):
        write_report(toy_store, tmp_path / "r.html", run="tois")
    assert not (tmp_path / "r.html").exists()
