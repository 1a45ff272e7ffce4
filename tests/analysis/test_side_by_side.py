"""The conditions of a study side by side, and attacks with their controls, compared with naive counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from circuitstore.analysis.overview import read_overview
from circuitstore.analysis.report.numbers import numbers_of
from circuitstore.analysis.report.page import render
from circuitstore.analysis.report.side_by_side import side_by_side_figure
from circuitstore.circuits import WorkItem
from circuitstore.images import CONDITIONS
from circuitstore.query import swap_floor

from ..toy_studies import Answers, contrasted, effect_items
from .conftest import overview_of
from .html_page import Page

ATTACK = CONDITIONS.resolve("typographic")
NONSENSE = CONDITIONS.resolve("typographic", {"control": "nonsense"})
OWN = CONDITIONS.resolve("typographic", {"control": "own class"})
FGSM = CONDITIONS.resolve("fgsm", {"eps": "8/255"})
SIGNS = CONDITIONS.resolve("random-signs", {"eps": "8/255"})
BLUR = CONDITIONS.resolve("blur")
OTHERS = (ATTACK, NONSENSE, OWN, FGSM, SIGNS, BLUR)


def items(classes: int = 2) -> list[WorkItem]:
    natural = effect_items(classes, ("natural",))
    targeted = [contrasted(item, word="one") for item in natural]
    return natural + [
        replace(item, condition=c) for c in OTHERS for item in (targeted if c.kind == "typographic" else natural)
    ]


def counted(answers: Answers) -> Answers:
    """The answers with the counts and the norms that indexing stores."""
    found = []
    for n, discovery in enumerate(answers.discoveries):
        natural = discovery.item.condition.kind == "natural"
        attacked = {"attacked_correct": None if natural else 3, "succeeded": None if natural else 2}
        images = [{"split": "discovery", "hash": hash_} for hash_ in discovery.images]
        moved = images if natural else [image | {"linf": 0.5, "l2": float(i)} for i, image in enumerate(images)]
        found.append(
            replace(discovery, provenance={"tally": {"tried": 10 + n, "correct": 8, **attacked}, "images": moved})
        )
    return Answers(found, answers.records)


@pytest.fixture(scope="module")
def shown():
    return overview_of(counted(Answers.to(items())))


@pytest.fixture(scope="module")
def edges(shown):
    """Return the edges of each circuit by class and condition."""
    return {(r.item.target_class.name, r.item.condition.text): set(r.circuit.edges) for r in shown.records.values()}


def row_of(shown, condition):
    table = shown.side_by_side
    return table.set_index("condition").loc[shown.study.short(condition.text)]


def test_each_condition_has_its_role(shown):
    roles = {
        "natural": "natural",
        **{
            shown.study.short(c.text): r
            for c, r in zip(OTHERS, ("attack", "control", "control", "attack", "control", "distortion"), strict=True)
        },
    }
    assert dict(zip(shown.side_by_side["condition"], shown.side_by_side["role"], strict=True)) == roles


@pytest.mark.parametrize("condition", OTHERS, ids=lambda c: c.text)
def test_shares_are_those_of_all_images_that_were_tried(shown, condition):
    row, found = row_of(shown, condition), [d for d in shown.discoveries.values() if d.item.condition == condition]
    tried = sum(d.provenance["tally"]["tried"] for d in found)
    assert row["images"] == tried
    assert row["accuracy_natural"] == pytest.approx(16 / tried)
    assert row["accuracy"] == pytest.approx(6 / tried)
    assert row["success"] == pytest.approx(4 / 16)
    assert row["success"] != pytest.approx(1 - row["accuracy"])
    assert row["predicted_as"] == ("the target" if condition.kind == "typographic" else "another class")
    assert (row["linf"], row["l2"]) == (0.5, 3.5)


def test_natural_images_have_neither_success_nor_norms(shown):
    row = shown.side_by_side.iloc[0]
    assert row["condition"] == "natural"
    assert row["accuracy"] == row["accuracy_natural"]
    assert row[["success", "linf", "l2", "gained", "lost", "swapped_floor", "beyond_controls"]].isna().all()
    assert row["gap"] == 1


def test_edges_that_change_by_swapping_are_means_over_classes(shown):
    for condition in OTHERS:
        row, pairs = row_of(shown, condition), []
        for name in shown.study.classes:
            texts = {r.item.condition.text: i for i, r in shown.records.items() if r.item.target_class.name == name}
            at = texts["natural"], texts[condition.text]
            pairs.append(swap_floor(*[(shown.records[i], shown.discoveries[i]) for i in at]))
        assert row["swapped_floor"] == pytest.approx(np.mean([floor.mean for floor in pairs]))
        assert row["swapped_high"] == pytest.approx(np.mean([floor.high for floor in pairs]))
        assert 0 < row["swapped_floor"] <= row["swapped_high"]


def test_swap_floors_of_a_store_are_those_of_its_records(shown, store_of):
    (stored,) = read_overview(store_of(counted(Answers.to(items())))).studies
    columns = ["condition", "gained", "lost", "floor", "swapped_floor", "swapped_high"]
    pd.testing.assert_frame_equal(stored.side_by_side[columns], shown.side_by_side[columns])


def test_a_study_without_scores_per_image_has_no_swap_floor(store_of):
    answers = Answers.to(items(2))
    means = [replace(d, scores=replace(d.scores, per_image=None)) for d in answers.discoveries]
    (stored,) = read_overview(store_of(Answers(means, answers.records))).studies
    assert stored.swaps == {} and stored.side_by_side["swapped_floor"].isna().all()
    names = set(numbers_of(side_by_side_figure(stored.side_by_side))["series"])
    assert "swap floor, 95 %" not in names and "edges gained" in names


def test_answers_without_counts_have_no_shares():
    table = overview_of(Answers.to(items(1))).side_by_side
    assert table[["accuracy_natural", "accuracy", "success", "linf", "l2"]].isna().all(axis=None)
    assert (table["images"] == 0).all()
    assert table["gained"].notna().sum() == len(OTHERS)


@pytest.mark.parametrize(("attack", "controls"), [(ATTACK, [NONSENSE, OWN]), (FGSM, [SIGNS]), (BLUR, []), (OWN, [])])
def test_edges_beyond_the_controls_are_gained_under_none_of_them(shown, edges, attack, controls):
    counts = []
    for name in shown.study.classes:
        was = edges[name, "natural"]
        gained = edges[name, attack.text] - was
        for control in controls:
            gained -= edges[name, control.text] - was
        counts.append(len(gained))
    row = row_of(shown, attack)
    assert row["beyond_controls"] == pytest.approx(np.mean(counts)) if controls else np.isnan(row["beyond_controls"])


def test_every_attack_is_compared_with_each_of_its_controls(shown, edges):
    short = shown.study.short
    expected = [(ATTACK, NONSENSE), (ATTACK, OWN), (FGSM, SIGNS)]
    found = {(b.attack, b.control): b for b in shown.beyond_controls}
    assert set(found) == {(short(a.text), short(c.text)) for a, c in expected}
    for attack, control in expected:
        beyond = found[short(attack.text), short(control.text)]
        only = {"attack": {}, "control": {}}
        for row in beyond.by_class.to_dict("records"):
            was, a, c = (edges[row["class"], text] for text in ("natural", attack.text, control.text))
            gained, twin = a - was, c - was
            assert (row["gained"], row["gained_control"], row["gained_both"]) == (
                len(gained),
                len(twin),
                len(gained & twin),
            )
            for which, set_ in (("attack", gained - twin), ("control", twin - gained)):
                for edge in set_:
                    only[which][edge] = only[which].get(edge, 0) + 1
        by_edge = beyond.by_edge.set_index("edge")
        for which, counts in only.items():
            column = by_edge[f"only_{which}"]
            assert column[column > 0].to_dict() == counts
            assert getattr(beyond, f"only_{which}") == pytest.approx(sum(counts.values()) / 2)
        assert by_edge["only_attack"].is_monotonic_decreasing


def test_the_report_shows_conditions_side_by_side_and_attacks_beyond_controls(store_of):
    page = Page(render(read_overview(store_of(counted(Answers.to(items()))))))
    assert "Conditions side by side" in page.text
    table = page.csv("study-1-conditions")
    assert len(table) == 1 + len(OTHERS)
    assert table["success"].dropna().tolist() == pytest.approx([0.25] * len(OTHERS))
    figure = page.chart("study-1-conditions")
    success = next(t for t in figure["data"] if t["name"] == "success of the condition")
    swapped = [t for t in figure["data"] if t["name"] == "swap floor, 95 %"]
    assert [t["x"][1:] for t in swapped] == [(sign * table["swapped_high"][1:]).tolist() for sign in (-1, 1)]
    assert success["x"][1:] == table["success"][1:].tolist() and success["x"][0] is None
    assert "25% of the correctly classified images are predicted as the target" in page.text
    assert len(page.csv("study-1-beyond-classes-3")) == 2
    assert "no control of" not in page.text.lower()


def test_an_attack_without_a_control_is_named(store_of):
    chosen = [item for item in items(2) if item.condition.kind in ("natural", "fgsm", "blur")]
    page = Page(render(read_overview(store_of(Answers.to(chosen)))))
    assert "The study has no control of fgsm, so it is not known" in page.text
    series = set(page.csv("study-1-conditions-figure")["series"])
    assert "gained beyond controls" not in series and {"edges gained", "edges lost", "model"} <= series


def test_signs_of_hidden_gradients_are_noted(store_of):
    answers = Answers.to(items(2))
    at = next(i for i, d in enumerate(answers.discoveries) if d.item.condition == FGSM)
    attack = {"success": 0.1, "suspicious": ["more steps do worse"]}
    answers.discoveries[at] = replace(answers.discoveries[at], provenance={"attack": attack})
    overview = read_overview(store_of(answers))
    stated = "may hide its gradients, so the success of attacks says little (class-0, fgsm: more steps do worse)"
    assert [note for note in overview.notes if stated in note]
