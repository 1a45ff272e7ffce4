"""The report is one file that loads nothing, tells the store's numbers, and copes with any store."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from circuitstore.analysis.contents import read_contents
from circuitstore.analysis.report import render, write_report
from circuitstore.circuits import EdgeScores
from circuitstore.errors import InputError
from circuitstore.store import create_store, open_store
from circuitstore.testing.factories import make_discovery, make_item, make_record

from .conftest import HOSTILE, SHAPE, Answers, effect_items, mechanism_items, renamed

LOADING = {"src", "href", "data", "poster", "srcset", "action", "xlink:href", "background"}


class Page(HTMLParser):
    """Tags, attributes that could load something, texts of scripts and of all else."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.figures: list[dict] = []
        self.scripts: list[str] = []
        self.styles = self.text = ""
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if self._open and self._open[-1][0] == tag:
            self._open.pop()

    def handle_data(self, data):
        match self._open[-1] if self._open else None:
            case ("style", _):
                self.styles += data
            case ("script", {"type": "application/json"}):
                self.figures.append(json.loads(data))
            case ("script", _):
                self.scripts.append(data)
            case _:
                self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture(scope="module")
def written(store, tmp_path_factory) -> Path:
    return write_report(store, tmp_path_factory.mktemp("out") / "deep" / "report.html", run="toys")


@pytest.fixture(scope="module")
def page(written) -> Page:
    return Page(written.read_text(encoding="utf-8"))


def test_nothing_is_loaded_from_anywhere(page):
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base", "form"), tag
        for name in LOADING & attributes.keys():
            assert str(attributes[name]).startswith("#"), (tag, name, attributes[name])
    assert not re.search(r"url\(|@import", page.styles)
    assert {a.get("xmlns") for tag, a in page.tags if tag == "svg"} == {"http://www.w3.org/2000/svg"}


def test_plotly_is_there_once_and_the_file_can_be_mailed(page, written):
    assert sum("plotly.js v" in script for script in page.scripts) == 1
    assert written.stat().st_size < 6_000_000


def test_links_lead_to_parts_of_the_page_and_ids_are_unique(page):
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {str(a["href"])[1:] for tag, a in page.tags if tag == "a"} <= set(ids)


def test_every_figure_has_its_place_its_words_and_its_caption(page):
    places = {a["id"]: a for tag, a in page.tags if tag == "div" and a.get("class") == "plot"}
    fed = [a["data-for"] for tag, a in page.tags if tag == "script" and "data-for" in a]
    assert sorted(fed) == sorted(places)
    assert len(fed) == 7  # heat maps of 2 + 1 conditions, faithfulness of 2 studies, changes, carriers
    for attributes in places.values():
        assert attributes["role"] == "img"
        assert len(str(attributes["aria-label"])) > 20
    assert page.count("figcaption") == page.count("figure")
    assert all(a.get("role") == "img" and a.get("aria-label") for tag, a in page.tags if tag == "svg")


def test_the_heat_map_holds_the_similarities_of_the_stored_circuits(page, answers):
    heat = page.figures[0]["data"][0]
    members = {r.item.target_class.name: set(r.circuit.edges) for r in answers.of(attack="natural")}
    for i, a in enumerate(heat["y"]):
        for j, b in enumerate(heat["x"]):
            if i != j:
                expected = len(members[a] & members[b]) / len(members[a] | members[b])
                assert heat["z"][i][j] == pytest.approx(expected, abs=5e-5)


def test_the_faithfulness_figure_holds_the_stored_figures(page, answers):
    natural = next(t for f in page.figures for t in f["data"] if t.get("name") == "natural")
    expected = [r.evaluation.faithfulness for r in answers.of(attack="natural")]
    assert natural["x"] == expected


def test_every_circuit_is_drawn_with_its_id(page, answers):
    for record in answers.records:
        assert f"circuit {record.id[:12]}." in page.text


def test_it_says_what_was_asked_and_how_it_came_to_be(page, store):
    for told in (
        "eap-ig(rule=midpoint, steps=5)",
        "unattacked-twin",
        "typographic(text=other class)",
        "toy-3x2",
        "cpu",
    ):
        assert told in page.text
    assert store.id in page.text
    assert "Gained" not in page.text.split("Mechanism study:")[1].split("Warnings")[0]


def test_hostile_names_stay_text(store_of):
    items = [renamed(item, HOSTILE + str(item.target_class.class_index)) for item in effect_items(3)]
    contents = read_contents(store_of(Answers.to([*items, *mechanism_items(3)])))
    html = render(contents)
    clean = render(replace(contents, notes=("<img src=x onerror=alert(1)>",)))
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


def test_one_circuit_alone_is_drawn_and_what_is_missing_is_named(store_of, tmp_path):
    store = store_of(Answers.to(effect_items(1, ("natural",))))
    page = Page(write_report(store, tmp_path / "r.html").read_text())
    assert "one class alone" in page.text
    assert "no attacked condition was asked for" in page.text
    assert page.count("svg") == 1
    assert len(page.figures) == 1  # its faithfulness


def test_a_study_of_neither_kind_says_why_nothing_is_gained(store_of, tmp_path):
    items = [make_item(class_index=c, attack=a, metric="logit-diff", **SHAPE) for c in (0, 1) for a in ("natural", "x")]
    page = Page(write_report(store_of(Answers.to(items)), tmp_path / "r.html").read_text())
    assert "neither those of an effect study" in page.text
    assert "What the condition adds" not in page.text


def test_the_attention_form_is_drawn_with_its_links(store_of, tmp_path):
    store = store_of(Answers.to(effect_items(2, form="attention", **SHAPE), n=20))
    page = Page(write_report(store, tmp_path / "r.html").read_text())
    assert "contains" in page.text
    assert any("stroke-dasharray" in a for tag, a in page.tags if tag == "path")


def test_methods_that_only_select_are_told_without_scores(store_of, tmp_path):
    found = [make_discovery(item=item) for item in [*effect_items(2), *mechanism_items(2)]]
    bare = [replace(d, scores=None, members=d.scores.greedy(20).members) for d in found]
    records = [
        replace(
            r,
            circuit=replace(r.circuit, scores=None),
            score=None,
            std=None,
            frequency=None,
            full_in=None,
            full_out=None,
        )
        for r in (make_record(d, 20) for d in found)
    ]
    page = Page(write_report(store_of(Answers(bare, records)), tmp_path / "r.html").read_text())
    assert "noise floor –" in page.text
    assert page.count("svg") == 6 + 2
    assert len(page.figures) == 6  # no bars of carriers


def test_circuits_without_evaluation_or_faithfulness_say_why(store_of, tmp_path):
    answers = Answers.to(effect_items(3))
    guarded = replace(
        answers.records[0].evaluation,
        faithfulness=None,
        reasons={"faithfulness": "the gap 0.1 is under 3 standard errors"},
    )
    answers.records[0] = replace(answers.records[0], evaluation=guarded)
    answers.records[2] = replace(answers.records[2], evaluation=None)
    page = Page(write_report(store_of(answers), tmp_path / "r.html").read_text())
    assert "the gap 0.1 is under 3 standard errors" in page.text
    assert "no report images" in page.text


def test_residuals_notes_and_failures_are_warned_of(store_of, tmp_path):
    answers = Answers.to(effect_items(2))
    scores = replace(answers.discoveries[0].scores, residual=0.0712)
    answers.discoveries[0] = replace(answers.discoveries[0], scores=scores)
    answers.records[1] = replace(answers.records[1], notes=("30 images of 36 asked",))
    store = store_of(answers)
    with store.writer() as writer:
        late = make_item(5, class_index=3, **SHAPE)
        writer.start_run("toys", "", [late])
        writer.fail(late.id, "no image qualifies")
    page = Page(write_report(store, tmp_path / "r.html").read_text())
    assert "7.1%" in page.text
    assert "30 images of 36 asked" in page.text
    assert "no image qualifies" in page.text


def test_a_large_store_makes_no_large_page(store_of, tmp_path):
    items = [make_item(class_index=c, n_layers=2, n_heads=2) for c in range(90)]
    path = write_report(store_of(Answers.to(items, n=10)), tmp_path / "r.html")
    page = Page(path.read_text())
    assert path.stat().st_size < 6_000_000
    assert "The first 80 of 90 classes are shown" in page.text
    assert "78 more classes are not drawn" in page.text


def test_whole_graph_circuits_are_warned_of(store_of, tmp_path):
    answers = Answers.to(effect_items(2))
    record = answers.records[0]
    whole = EdgeScores(record.circuit.graph, np.arange(1, record.circuit.graph.n_edges + 1, dtype=np.float32))
    answers.records[0] = replace(record, circuit=whole.top(1.0))
    page = Page(write_report(store_of(answers), tmp_path / "r.html").read_text())
    assert "1 circuit of the effect study holds every edge" in page.text


def test_a_file_that_cannot_be_written_and_an_unknown_run_are_refused(store, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_report(store, tmp_path / "file" / "r.html")
    with pytest.raises(InputError, match="toys"):
        write_report(store, tmp_path / "r.html", run="tois")
    assert not (tmp_path / "r.html").exists()
