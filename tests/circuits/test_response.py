"""Trials and responses: what makes two of them the same question, and what a response says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from circuitstore.circuits import Corruption, MethodUse, Metric, Response, trials_of
from circuitstore.testing.factories import make_item, make_responses

ITEM = make_item()


def ids(item=ITEM, circuit: str = "a" * 64) -> dict[str, str]:
    return {role: trial.id for role, trial in trials_of(item, circuit).items()}


def test_method_form_and_direction_ask_nothing_else_of_the_model() -> None:
    recipe = replace(ITEM.recipe, method=MethodUse.of("eap"), form="block", direction="denoising", signed=False)
    assert ids(replace(ITEM, recipe=recipe)) == ids()


def test_what_is_corrupted_matters_where_something_is() -> None:
    blurred = ids(replace(ITEM, recipe=replace(ITEM.recipe, corruption=Corruption.of("blur"))))
    assert [role for role in ids() if blurred[role] == ids()[role]] == ["full"]


@pytest.mark.parametrize(
    "item",
    [
        make_item(1),
        make_item(class_index=1),
        make_item(attack="typographic"),
        make_item(n_layers=2),
        replace(ITEM, recipe=replace(ITEM.recipe, metric=Metric.of("kl"))),
        replace(ITEM, recipe=replace(ITEM.recipe, dtype="bfloat16")),
        replace(ITEM, recipe=replace(ITEM.recipe, seed=1)),
    ],
    ids=["images", "class", "condition", "model", "metric", "dtype", "seed"],
)
def test_everything_else_is_another_question(item) -> None:
    assert set(ids(item).values()).isdisjoint(ids().values())


def test_circuits_differ_in_their_own_trial_only() -> None:
    mine, theirs = ids(), ids(circuit="b" * 64)
    assert [role for role in mine if mine[role] != theirs[role]] == ["circuit"]


def test_a_checksum_covers_images_and_every_array() -> None:
    response = make_responses(ITEM, "a" * 64)["circuit"]
    same = replace(response, provenance={"device": "another"})
    others: list[Response] = [
        replace(response, images=response.images[::-1]),
        replace(response, metric=np.nextafter(response.metric, np.inf)),
        replace(response, predicted=response.predicted + 1),
        replace(response, true=response.true + 1),
        replace(response, hit=~response.hit),
    ]
    assert same.sha256 == response.sha256
    assert len({response.sha256, *(other.sha256 for other in others)}) == 6


def test_a_row_an_image_and_properties_of_all() -> None:
    response = make_responses(ITEM, "a" * 64, n_images=3)["circuit"]
    frame = response.to_pandas()
    assert list(frame.columns) == ["image", "true", "predicted", "hit", "metric"] and len(frame) == 3
    properties = response.properties()
    assert properties["metric_mean"] == frame["metric"].mean() and properties["accuracy"] == frame["hit"].mean()
    assert (properties["circuit"], properties["corruption"], properties["n_images"]) == ("a" * 64, "other-class", 3)
    assert "circuit, 3 images" in repr(response)
