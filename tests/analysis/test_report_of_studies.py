"""The sections of studies in the report, and the reasons for missing parts."""

from __future__ import annotations

from dataclasses import replace

from circuitstore.analysis import sentences, summarise, write_report
from circuitstore.analysis.overview import read_overview
from circuitstore.analysis.report.page import render
from circuitstore.circuits import Extraction
from circuitstore.testing.factories import make_discovery, make_item, make_record

from ..toy_studies import (
    SHAPE,
    Answers,
    contrasted,
    effect_items,
    mechanism_items,
    whole,
    with_faithfulness,
)
from .html_page import Page


def test_a_single_circuit_is_drawn_and_missing_parts_have_reasons(store_of, tmp_path):
    store = store_of(Answers.to(effect_items(1, ("natural",))))
    page = Page(write_report(store, tmp_path / "r.html").read_text())
    assert "only one class has a circuit without a flag" in page.text
    assert "the study has no condition other than natural" in page.text
    assert page.count("svg") == 1
    assert len(page.figures) == 2  # its stability and faithfulness


def test_a_study_of_neither_kind_says_why_nothing_is_gained(store_of, tmp_path):
    items = [make_item(class_index=c, attack=a, metric="logit-diff", **SHAPE) for c in (0, 1) for a in ("natural", "x")]
    page = Page(write_report(store_of(Answers.to(items)), tmp_path / "r.html").read_text())
    assert "neither those of an effect study" in page.text
    assert "Edges that the condition adds" not in page.text


def test_the_attention_form_is_drawn_with_its_links(store_of, tmp_path):
    store = store_of(Answers.to(effect_items(2, form="attention", **SHAPE), n=20))
    page = Page(write_report(store, tmp_path / "r.html").read_text())
    assert "contains" in page.text
    assert any("stroke-dasharray" in a for tag, a in page.tags if tag == "path")


def test_methods_that_only_select_are_shown_without_scores(store_of, tmp_path):
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
    assert len(page.figures) == 7  # neither stability nor bars of carriers


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


def test_residuals_notes_and_failures_are_among_the_warnings(store_of, tmp_path):
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


def test_flagged_circuits_are_listed_with_their_flag_and_shown_nowhere_else(store_of, tmp_path):
    answers = Answers.to(effect_items(3))
    answers.records[0] = whole(answers.records[0])
    page = Page(write_report(store_of(answers), tmp_path / "r.html").read_text())
    stated = "1 of 6 circuits are flagged (whole model: class-0 (natural)): listed only in the table of faithfulness"
    assert page.text.count(stated) == 2  # in the section and in the warnings
    listed = page.csv("study-1-faithfulness")
    assert listed["flag"].fillna("").tolist() == ["whole model", *[""] * 5]
    assert page.figures[0]["data"][0]["x"] == ["class-1", "class-2"]
    assert [t["y"] for f in page.figures for t in f["data"] if t.get("name") == "gained"] == [["class-1", "class-2"]]
    assert page.count("svg") == 5 + 1
    assert f"circuit {answers.records[0].id[:12]}" not in page.text


def test_a_study_with_only_flagged_circuits(store_of, tmp_path):
    for items in (effect_items(2), mechanism_items(2)):
        answers = Answers.to(items)
        store = store_of(replace(answers, records=[whole(r) for r in answers.records]))
    page = Page(write_report(store, tmp_path / "r.html").read_text())
    assert page.figures == []
    assert page.text.count("No circuit without a flag;") == page.text.count("All circuits are flagged") == 2
    assert "no class has circuits without a flag under natural and another condition" in page.text
    assert len(page.csv("study-1-faithfulness")) == 4


def test_titles_say_what_distinguishes_the_studies_of_a_kind(store_of, tmp_path):
    answers = Answers.to(effect_items(2))
    larger = [replace(r, extraction=Extraction.of("top", {"n": 31})) for r in answers.records]
    store = store_of(Answers(answers.discoveries, answers.records + larger))
    page = Page(write_report(store, tmp_path / "r.html").read_text())
    for title in ("Effect study: edges", "Effect study: top"):
        assert f"{title}: natural, typographic" in page.text
    tables = summarise(store).tables
    assert {title.partition(": most")[0] for title in tables if "most similar classes, natural" in title} == {
        "Effect study: edges",
        "Effect study: top",
    }


def test_a_contrast_with_one_class_is_noted_for_the_noise_floor(store_of):
    items = [contrasted(item, "class-9") for item in effect_items(2)]
    page = Page(render(read_overview(store_of(Answers.to(items)))))
    assert "noise floor does not cover the choice of the contrast class: 4 of 4 circuits" in page.text
    assert "contrasted with different classes" not in page.text
    assert set(page.csv("study-1-faithfulness")["against"]) == {"class-9"}


def test_different_contrast_classes_are_noted(store_of):
    items = [contrasted(item, f"class-{item.target_class.class_index + 1}", "x") for item in effect_items(2)]
    page = Page(render(read_overview(store_of(Answers.to(items)))))
    assert "contrasted with different classes (class-0: class-1, x" in page.text
    assert "does not cover the choice" not in page.text


def test_faithfulness_above_1_is_no_better_than_below_1(store_of):
    answers = Answers.to(effect_items(2))
    for i, record in enumerate(answers.records):
        attacked = record.item.condition.kind != "natural"
        answers.records[i] = with_faithfulness(record, *((3.82, 1.21) if attacked else (0.9, 0.1)))
    store = store_of(answers)
    page = Page(render(read_overview(store)))
    for stated in (
        "natural: median faithfulness 0.90 (0.90 to 0.90), of random connected circuits of the same size 0.10; 2 of 2 "
        "circuits nearer to 1 than the mean of the random circuits.",
        "typographic: median faithfulness 3.82 (3.82 to 3.82), of random connected circuits of the same size 1.21; 0 "
        "of 2 circuits nearer to 1 than the mean of the random circuits; above 1 (the circuit gives more of the metric "
        "than the whole model): class-0, class-1.",
    ):
        assert stated in page.text
        assert stated in str(summarise(store))
    assert page.csv("study-1-faithfulness")["nearer_than_random"].tolist() == [True, True, False, False]


def test_a_note_on_several_circuits_is_one_warning(store_of):
    answers = Answers.to(effect_items(2))
    records = [replace(r, notes=("fewer images than requested",)) for r in answers.records]
    notes = read_overview(store_of(Answers(answers.discoveries, records))).notes
    (note,) = [note for note in notes if "fewer images" in note]
    assert note.startswith("Effect study: class-0 (natural), class-1 (natural), class-0 (typographic) and 1 more: ")


def test_only_edges_that_change_in_several_classes_are_named(store_of):
    (shown,) = read_overview(store_of(Answers.to(effect_items(1)))).studies
    (change,) = shown.changes
    assert "Most often" not in sentences.changes(change)
    assert change.by_class["gained"].iloc[0] > 0


def test_conditions_are_listed_with_their_parameters(store_of):
    page = Page(render(read_overview(store_of(Answers.to(effect_items(2))))))
    table = page.csv("conditions").fillna("")
    assert table["condition"].tolist() == ["natural", "typographic"]
    assert table["parameters"].tolist() == ["natural", "typographic(text=other class)"]
    assert table["role"].tolist() == ["natural", "attack"]
