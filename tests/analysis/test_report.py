"""The report is one file that loads nothing, tells the store's numbers, and copes with any store."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from circuitstore.analysis import report
from circuitstore.analysis.contents import Contents, read_contents
from circuitstore.analysis.report import render, write_report
from circuitstore.analysis.sections import images_table
from circuitstore.analysis.summary import summarise
from circuitstore.circuits import Extraction, WorkItem
from circuitstore.errors import InputError
from circuitstore.store import create_store, open_store
from circuitstore.testing.factories import make_discovery, make_item, make_record
from plotly.offline import get_plotlyjs

from .conftest import (
    HOSTILE,
    SHAPE,
    Answers,
    contrasted,
    effect_items,
    mechanism_items,
    of_model,
    renamed,
    whole,
    with_faithfulness,
)

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

    @property
    def files(self) -> dict[str, str]:
        """URLs of what can be downloaded, by name."""
        return {str(a["download"]): str(a["href"]) for tag, a in self.tags if tag == "a" and "download" in a}

    def csv(self, name: str) -> pd.DataFrame:
        """The rows of a table as they are downloaded."""
        head, _, data = self.files[f"{name}.csv"].partition(",")
        assert head == "data:text/csv;charset=utf-8"
        return pd.read_csv(StringIO(unquote(data)))

    def chart(self, id: str) -> dict:
        fed = [a["data-for"] for tag, a in self.tags if tag == "script" and "data-for" in a]
        return self.figures[fed.index(id)]


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
            held = ("#", "data:text/csv") if "download" in attributes else "#"
            assert str(attributes[name]).startswith(held), (tag, name, attributes[name])
    assert not re.search(r"url\(|@import", page.styles)
    assert {a.get("xmlns") for tag, a in page.tags if tag == "svg"} == {"http://www.w3.org/2000/svg"}


def test_plotly_is_there_once_and_the_file_can_be_mailed(page, written):
    assert sum("plotly.js v" in script for script in page.scripts) == 1
    assert written.stat().st_size < 6_000_000


def test_links_lead_to_parts_of_the_page_and_ids_are_unique(page):
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {str(a["href"])[1:] for tag, a in page.tags if tag == "a" and "download" not in a} <= set(ids)


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
    assert "there is one class with a circuit without a flag" in page.text
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
            circuit=replace(r.circuit, score=None, std=None),
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
    assert "Not drawn here, so that the page stays small: 78 more classes" in page.text


def test_studies_that_the_page_has_no_room_for_are_left_out_and_counted(store_of, monkeypatch):
    answers = Answers.to(effect_items(3))
    more = [replace(r, extraction=Extraction.of("edges", {"n": n})) for r in answers.records for n in (31, 32)]
    contents = read_contents(store_of(Answers(answers.discoveries, answers.records + more)))
    assert len(contents.parts) == 3
    most = len(get_plotlyjs()) + report.FRAME_BYTES + 40_000
    monkeypatch.setattr(report, "PAGE_BYTES", most)
    html = render(contents)
    page = Page(html)
    assert len(html.encode()) <= most
    shown = [a["href"] for tag, a in page.tags if tag == "a" and str(a["href"]).startswith("#study")]
    assert 1 <= len(shown) < 3
    assert [f"#{a['id']}" for tag, a in page.tags if tag == "h2" and a["id"].startswith("study")] == shown
    assert f"{3 - len(shown)} more stud" in page.text


def test_flagged_circuits_are_listed_with_their_flag_and_shown_nowhere_else(store_of, tmp_path):
    answers = Answers.to(effect_items(3))
    answers.records[0] = whole(answers.records[0])
    page = Page(write_report(store_of(answers), tmp_path / "r.html").read_text())
    told = "1 of 6 circuits flagged (whole model: class-0 (natural)): only listed in the table of faithfulness"
    assert page.text.count(told) == 2  # at the study, and among the warnings
    listed = page.csv("study-1-faithfulness")
    assert listed["flag"].fillna("").tolist() == ["whole model", *[""] * 5]
    assert page.figures[0]["data"][0]["x"] == ["class-1", "class-2"]
    assert [t["y"] for f in page.figures for t in f["data"] if t.get("name") == "gained"] == [["class-1", "class-2"]]
    assert page.count("svg") == 5 + 1
    assert f"circuit {answers.records[0].id[:12]}" not in page.text


def test_a_study_of_flagged_circuits_only_says_so(store_of, tmp_path):
    for items in (effect_items(2), mechanism_items(2)):
        answers = Answers.to(items)
        store = store_of(replace(answers, records=[whole(r) for r in answers.records]))
    page = Page(write_report(store, tmp_path / "r.html").read_text())
    assert page.figures == []
    assert page.text.count("No circuit of") == page.text.count("All circuits are flagged") == 2
    assert "no class has a natural and an attacked circuit without a flag" in page.text
    assert len(page.csv("study-1-faithfulness")) == 4


def test_titles_say_what_distinguishes_the_studies_of_a_kind(store_of, tmp_path):
    answers = Answers.to(effect_items(2))
    larger = [replace(r, extraction=Extraction.of("top", {"n": 31})) for r in answers.records]
    store = store_of(Answers(answers.discoveries, answers.records + larger))
    page = Page(write_report(store, tmp_path / "r.html").read_text())
    for title in ("Effect study: edges", "Effect study: top"):
        assert f"{title}: natural, typographic" in page.text
    tables = summarise(store).tables
    assert {title.partition(": classes")[0] for title in tables if "classes most alike, natural" in title} == {
        "Effect study: edges",
        "Effect study: top",
    }


def two_models(tuned: Sequence[WorkItem]) -> Answers:
    return Answers.to([*effect_items(3), *tuned])


def test_models_are_held_against_each_other_class_by_class(store_of, tmp_path):
    answers = two_models([of_model(item, "tuned", "f" * 64) for item in effect_items(3)])
    changed = make_discovery(4, item=answers.discoveries[6].item)  # other scores for the tuned model's first class
    answers.discoveries[6] = changed
    answers.records[6] = make_record(changed, 30)
    store = store_of(answers)
    contents = read_contents(store)
    first = contents.pairs[0]
    was, now = (
        set(answers.of(model=m, class_index=0, attack="natural")[0].circuit.edges) for m in ("toy-3x2", "tuned")
    )
    row = first.table.set_index("class").loc["class-0"]
    assert (first.before, first.after, first.label) == ("toy-3x2", "tuned", "natural")
    assert (row["gained"], row["lost"]) == (len(now - was), len(was - now)) != (0, 0)
    assert row["jaccard"] == pytest.approx(len(was & now) / len(was | now))
    same = first.table.set_index("class").drop(index="class-0")
    assert not same[["gained", "lost"]].to_numpy().any()
    page = Page(render(contents))
    assert "toy-3x2 → tuned, natural" in page.text
    gained = page.chart("models-1")["data"][0]
    assert gained["x"] == page.csv("models-1")["gained"].tolist()
    assert f"noise floor {first.means['changed_floor']:.1f}. Edge Jaccard {first.means['jaccard']:.2f}" in page.text
    assert "From toy-3x2 to tuned a class gains" in str(summarise(store))


def test_models_of_another_shape_are_not_held_against_each_other(store, store_of):
    assert read_contents(store).pairs == read_contents(store).pair_notes == ()
    other = [of_model(i, "small", "e" * 64) for i in effect_items(3, n_layers=2, n_heads=2)]
    assert read_contents(store_of(two_models(other))).pair_notes == ()


def test_models_that_are_held_against_each_other_are_named_as_in_the_rest_of_the_report(store_of):
    """A model of another shape has the name of one of them."""
    twin = [of_model(i, "toy-3x2", "d" * 64) for i in effect_items(3, n_layers=2, n_heads=2)]
    tuned = [of_model(item, "tuned", "f" * 64) for item in effect_items(3)]
    contents = read_contents(store_of(two_models([*twin, *tuned])))
    base = effect_items(1)[0].model.id[:8]
    assert {(pair.before, pair.after) for pair in contents.pairs} == {(f"toy-3x2 ({base})", "tuned")}


def test_models_without_a_class_in_common_are_not_held_against_each_other(store_of):
    apart = [of_model(renamed(i, f"other-{i.target_class.class_index}"), "tuned", "f" * 64) for i in effect_items(3)]
    contents = read_contents(store_of(two_models(apart)))
    assert contents.pairs == ()
    (note,) = contents.pair_notes
    assert note.startswith("toy-3x2, tuned: nothing to compare")


def test_a_contrast_with_one_class_is_reported_with_the_noise_floor(store_of):
    items = [contrasted(item, "class-9") for item in effect_items(2)]
    page = Page(render(read_contents(store_of(Answers.to(items)))))
    assert "noise floor leaves out what images are contrasted with: 4 of 4 circuits" in page.text
    assert "contrasted with different classes" not in page.text
    assert set(page.csv("study-1-faithfulness")["against"]) == {"class-9"}


def test_classes_that_are_contrasted_with_different_classes_are_reported(store_of):
    items = [contrasted(item, f"class-{item.target_class.class_index + 1}", "x") for item in effect_items(2)]
    page = Page(render(read_contents(store_of(Answers.to(items)))))
    assert "contrasted with different classes (class-0: class-1, x" in page.text
    assert "leaves out what images" not in page.text


def test_faithfulness_over_1_is_no_better_than_under_1(store_of):
    answers = Answers.to(effect_items(2))
    for i, record in enumerate(answers.records):
        attacked = record.item.condition.kind != "natural"
        answers.records[i] = with_faithfulness(record, *((3.82, 1.21) if attacked else (0.9, 0.1)))
    store = store_of(answers)
    page = Page(render(read_contents(store)))
    for told in (
        "natural: faithfulness 0.90 in the median (0.90 to 0.90), that of random connected circuits of the same size "
        "0.10; 2 of 2 circuits nearer to 1 than the mean of the random ones.",
        "typographic: faithfulness 3.82 in the median (3.82 to 3.82), that of random connected circuits of the same "
        "size 1.21; 0 of 2 circuits nearer to 1 than the mean of the random ones; over 1, so that the circuit alone "
        "gives more than the whole model: class-0, class-1.",
    ):
        assert told in page.text
        assert told in str(summarise(store))
    assert page.csv("study-1-faithfulness")["nearer_than_random"].tolist() == [True, True, False, False]


def test_every_table_can_be_downloaded_with_all_digits(page, answers):
    assert len(page.files) == page.count("table")
    table = page.csv("study-1-faithfulness")
    stored = [r.evaluation.faithfulness for r in answers.of(metric="logit", attack="natural")]
    assert table["faithfulness"].tolist()[: len(stored)] == stored
    pairs = page.csv("study-1-pairs-1")
    square = np.array(page.figures[0]["data"][0]["z"], dtype=float)
    assert sorted(pairs["jaccard"]) == pytest.approx(sorted(square[np.triu_indices(len(square), 1)]), abs=5e-5)


def test_every_chart_can_be_saved_as_svg(page):
    (script,) = [s for s in page.scripts if "Plotly.newPlot" in s and "plotly.js v" not in s]
    assert "displayModeBar: true" in script
    assert re.search(r"toImageButtonOptions: {format: 'svg'", script)


def test_a_folder_of_images_is_named_by_its_path():
    spec = '[images]\nsource = { folder = "photos/", classes = { tabby = 281 } }\n'
    contents = Contents("id", None, (), pd.DataFrame(), specs={"mine": spec})
    assert images_table(contents).rows == [("mine", "photos/", "default", "correct")]


def test_a_file_that_cannot_be_written_and_an_unknown_run_are_refused(store, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_report(store, tmp_path / "file" / "r.html")
    with pytest.raises(InputError, match="toys"):
        write_report(store, tmp_path / "r.html", run="tois")
    assert not (tmp_path / "r.html").exists()
