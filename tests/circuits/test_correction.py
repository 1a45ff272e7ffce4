"""The table of corrections, worked out by hand from responses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from circuitstore.circuits import (
    NO_CUE,
    Fit,
    FitUse,
    Intervention,
    Proportion,
    Response,
    compact_correction_table,
    correction_table,
)
from circuitstore.testing.factories import make_item, make_responses

ITEM = make_item()


def response(predicted: list[int], true: int) -> Response:
    trial = make_responses(ITEM, "c" * 64)["full"].trial
    found, label = np.array(predicted, np.int32), np.full(len(predicted), true, np.int32)
    images = tuple(f"{true}-{i}" for i in range(len(predicted)))
    made = Response(trial, images, np.zeros(len(predicted)), found, label, found == label)
    about = Intervention.of("x", {"n": len(predicted)})
    return replace(made, trial=replace(trial, intervention=about), provenance={"seconds_per_image": 0.002})


def record(cells: list[dict[str, Any]], pair: list[int] | None, method: str = "edges", **changes: Any) -> Fit:
    facts = {
        "error": "cue", "under": "natural", "pair": pair, "changed": True, "settings": {"edges": 24}, "cells": cells,
    }  # fmt: skip
    return Fit("correction", FitUse.of(method), ITEM.model, "digits", (), {}, facts | changes)


RESPONSES = {
    "plain": response([1, 1, 1, 0], 1),
    "own": response([1, 1], 1),
    "other": response([2, 2, 1], 1),
    "again": response([2, 1, 1], 1),
    "two": response([2, 1], 2),
}


def accuracies(made: Fit) -> Mapping[str, float]:
    frame = correction_table([made], RESPONSES.__getitem__)
    known = frame.dropna(subset="accuracy")
    assert (known["accuracy_low"] <= known["accuracy"]).all() and (frame["seconds_per_image"] == 0.002).all()
    return dict(zip(frame["group"], frame["accuracy"], strict=True))


def test_groups_are_the_relations_of_the_cue() -> None:
    """Class 1 with no cue, its own and that of class 2, in two draws: 3 of 4, 2 of 2, and (1 + 2)/2 of 3."""
    cells = [
        {"cue": NO_CUE, "responses": ["plain", "plain"]},
        {"cue": 1, "responses": ["own", "own"]},
        {"cue": 2, "responses": ["other", "again"]},
    ]
    found = accuracies(record(cells, None))
    assert found == {"no cue": 0.75, "agreeing": 1.0, "misleading": 0.5, "worst group": 0.5}
    frame = correction_table([record(cells, None)], RESPONSES.__getitem__).set_index("group")
    assert tuple(frame.loc["misleading", ["accuracy_low", "accuracy_high"]]) == Proportion(1.5, 3).interval
    assert frame.loc["misleading", "images"] == 3 and set(frame["settings"]) == {"edges 24"}


def test_a_confused_pair_is_judged_by_both_classes() -> None:
    """Class 1 is read as 2 twice in three; class 2 once as 1."""
    cells = [{"cue": NO_CUE, "responses": ["other"]}, {"cue": NO_CUE, "responses": ["two"]}]
    found = accuracies(record(cells, [1, 2]))
    expected = {"true class": 1 / 3, "other class": 0.5, "all": 0.4, "confused": 2 / 3}
    assert {name: found[name] for name in expected} == pytest.approx(expected) and np.isnan(found["all others"])


def test_what_was_chosen_is_said() -> None:
    cells = [{"cue": NO_CUE, "responses": ["plain"]}]
    rows = [record(cells, None, "none", changed=False, settings={}), record(cells, None, changed=False, settings={})]
    shown = compact_correction_table(correction_table(rows, RESPONSES.__getitem__))
    assert shown["chosen"].tolist() == ["", "nothing better within the loss"] and shown["ms"].tolist() == [2.0, 2.0]
    assert (
        shown["no cue"].tolist() == [str(Proportion(3, 4))] * 2
        and compact_correction_table(correction_table([], RESPONSES.__getitem__)).empty
    )
