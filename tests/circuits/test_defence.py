"""The table of a defence study: figures from responses, intervals, and what it says in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from circuitstore.circuits import (
    DefenceCell,
    Intervention,
    Proportion,
    Response,
    adaptive_sentences,
    compact_defence_table,
    defence_table,
)
from circuitstore.testing.factories import make_item, make_responses


def response(predicted: list[int], true: int, seconds: float = 0.002) -> Response:
    trial = make_responses(make_item(), "c" * 64)["full"].trial
    found, label = np.array(predicted, np.int32), np.full(len(predicted), true, np.int32)
    images = tuple(f"{true}-{i}" for i in range(len(predicted)))
    made = Response(trial, images, np.zeros(len(predicted)), found, label, found == label)
    return replace(
        made, trial=replace(trial, intervention=Intervention("x")), provenance={"seconds_per_image": seconds}
    )


def cell(*draws: tuple[Response, ...], targets: tuple[int | None, ...], **changes: Any) -> DefenceCell:
    made = DefenceCell("pgd", "edges", "pgd", "model", draws, targets, {"strength": 1.0, "nothing": None})
    return replace(made, **changes)


def test_figures_are_counted_over_all_classes() -> None:
    """Worked out by hand: two classes of four and two images; class 1 is read as 0, class 2 as 1."""
    made = cell((response([1, 1, 0, 2], 1), response([1, 2], 2)), targets=(0, 1))
    (row,) = defence_table([made]).to_dict("records")
    assert (row["images"], row["accuracy"], row["read"]) == (6, 3 / 6, 2 / 6)
    assert row["accuracy_low"] <= 0.5 <= row["accuracy_high"] and row["seconds_per_image"] == 0.002
    assert row["settings"] == "strength 1.0"


def test_an_image_of_several_draws_counts_once() -> None:
    """Two draws that disagree on every image: each image is half right, and counts as one image in the interval."""
    one, other = response([1, 1, 1], 1), response([0, 0, 0], 1)
    (row,) = defence_table([cell((one,), (other,), targets=(0,))]).to_dict("records")
    assert (row["images"], row["accuracy"], row["read"]) == (3, 0.5, 0.5)
    assert (row["accuracy_low"], row["accuracy_high"]) == Proportion(1.5, 3).interval


def test_an_attack_without_a_target_is_read_as_nothing() -> None:
    (row,) = defence_table([cell((response([1], 1), response([1], 2)), targets=(0, None))]).to_dict("records")
    assert np.isnan(row["read"]) and np.isnan(row["read_low"]) and row["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("static", "knowing", "verdict"),
    [(0.36, 0.19, "takes all of its gain back"), (0.6, 0.3, "takes most of"), (0.4, 0.39, "the gain survives")],
)
def test_the_sentence_follows_from_the_figures(static: float, knowing: float, verdict: str) -> None:
    figures = {
        ("none", "model"): 0.2,
        ("none", "defence"): 0.2,
        ("edges", "model"): static,
        ("edges", "defence"): knowing,
    }
    rows = [("pgd", defence, "pgd", attacker, value) for (defence, attacker), value in figures.items()]
    rows += [("pgd", "edges", "natural", "none", 0.95), ("pgd", "senders", "pgd", "model", 0.4)]
    table = pd.DataFrame(rows, columns=["against", "defence", "condition", "attacker", "accuracy"])
    (sentence,) = adaptive_sentences(table)
    assert sentence.startswith(f"pgd, edges: accuracy {static:.1%}".replace("%", " %")) and verdict in sentence


def test_the_compact_table_has_a_column_per_condition() -> None:
    knowing = cell((response([0], 1),), targets=(0,), attacker="defence")
    clean = cell((response([1], 1),), targets=(None,), condition="natural", attacker="none")
    frame = compact_defence_table(defence_table([clean, cell((response([1], 1),), targets=(0,)), knowing]))
    (row,) = frame.to_dict("records")
    assert row["natural"] == "100.0 [20.7, 100.0]" and row["pgd"] == "100.0 [20.7, 100.0] read 0.0"
    assert row["pgd (knows)"] == "0.0 [0.0, 79.3] read 100.0" and (row["ms"], row["chosen"]) == (2.0, "strength 1.0")
