"""Stored responses of the report images, and what is computed from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from circuitstore.circuits import NATURAL, ROLES, CircuitRecord
from circuitstore.evaluation import Outcome, evaluation_of
from circuitstore.ingest import index, parse_spec
from circuitstore.query import run
from circuitstore.store import Store, open_store
from scipy import stats

pytestmark = pytest.mark.slow

SPEC = """
name = "two"
model = "digits"
[images]
source = "digits"
only = ["three", "eight"]
per_class = 24
[[condition]]
kind = "natural"
[[condition]]
kind = "typographic"
[[recipe]]
method = "eap"
form = "block"
corruption = "other-class"
metric = "logit"
[[recipe]]
method = "exact"
form = "block"
corruption = "other-class"
metric = "logit"
[[extract]]
edges = 20
[[extract]]
edges = 30
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("responses")
    assert index(parse_spec(SPEC), location=folder, progress=False).circuits == 16
    return folder


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with open_store(folder) as opened:
        yield opened


def records(store: Store) -> list[CircuitRecord]:
    return [store.circuit(id) for id in store.circuits()["id"]]


def test_an_evaluation_follows_exactly_from_the_stored_responses(store: Store) -> None:
    for record in records(store):
        full, empty, circuit = (Outcome.of(store.response(record.responses[role])) for role in ROLES)
        assert record.evaluation is not None
        assert replace(record.evaluation, metric_random=()) == evaluation_of(full, empty, circuit)


def test_items_that_differ_in_method_or_size_share_the_responses_of_the_model(store: Store) -> None:
    kinds = store.responses()["intervention"].value_counts()
    assert kinds.to_dict() == {"circuit": 16, "none": 4, "corrupted": 4}


def test_the_images_are_the_report_images(store: Store) -> None:
    for record in records(store):
        images = store.images(record.id).frame
        report = list(images.loc[images["split"] == "report", "hash"])
        response = store.response(record.responses["full"])
        assert list(response.images) == report
        assert set(response.true) == {record.item.target_class.class_index}
        assert np.array_equal(response.hit, response.predicted == response.true)  # the metric raises the true class


def test_images_of_one_circuit(store: Store) -> None:
    record = records(store)[0]
    table = run(store, "images-of-circuit", {"circuit": record.id[:16]}).to_pandas()
    assert record.evaluation is not None
    for role in ROLES:
        assert table[f"metric_{role}"].mean() == getattr(record.evaluation, f"metric_{role}")
        assert table[f"hit_{role}"].mean() == getattr(record.evaluation, f"accuracy_{role}")
    assert table["file"].str.startswith("digit ").all()
    attack = record.item.condition.kind != NATURAL
    assert table["attacked_as"].notna().all() == table["linf"].notna().all() == attack
    attacked = next(r for r in records(store) if r.item.condition.kind != NATURAL)
    table = run(store, "images-of-circuit", {"circuit": attacked.id}).to_pandas().set_index("image")
    images = store.images(attacked.id).frame.set_index("hash").loc[table.index]
    for name in ("attacked_as", "linf", "l2"):
        assert list(table[name]) == list(images[name])
    assert (table["l2"] >= table["linf"]).all() and (table["linf"] > 0).all()


@pytest.mark.parametrize("method", ["eap", "exact"])
def test_conditions_are_compared_image_by_image(store: Store, method: str) -> None:
    values = {"method": method, "extraction": "edges(n=20)"}
    table = run(store, "images-over-conditions", values).to_pandas().set_index("class")
    assert set(table.index) == {"three", "eight"}
    mine = [r for r in records(store) if r.item.recipe.method.kind == method and r.extraction.text == "edges(n=20)"]
    for name, row in table.iterrows():
        pair = [r for r in mine if r.item.target_class.name == name]
        natural, attacked = sorted(pair, key=lambda r: r.item.condition.kind != NATURAL)
        before, after = (store.response(r.responses["circuit"]).to_pandas() for r in (natural, attacked))
        both = before.merge(after, on="image", suffixes=("_before", "_after"))
        assert row["images"] == len(both) > 0
        lost = (both["hit_before"] & ~both["hit_after"]).sum()
        gained = (~both["hit_before"] & both["hit_after"]).sum()
        assert (row["lost"], row["gained"]) == (lost, gained)
        expected = stats.binomtest(int(lost), int(lost + gained)).pvalue if lost + gained else 1.0
        assert row["p"] == pytest.approx(expected)
        change = both["metric_after"] - both["metric_before"]
        assert row["change"] == pytest.approx(change.mean()) and row["change_se"] == pytest.approx(change.sem())


def test_a_lost_response_is_computed_again_and_nothing_else(folder: Path) -> None:
    with open_store(folder) as store:
        record = records(store)[3]
        kept = store.response(record.responses["circuit"])
        store.archive.path("response", kept.id).unlink()
    done = index(parse_spec(SPEC), location=folder, progress=False)
    assert (done.done, done.skipped, done.circuits) == (1, 7, 1)
    with open_store(folder) as store:
        assert store.response(kept.id).sha256 == kept.sha256 and len(store.verify()) == 0
        assert store.circuit(record.id).sha256 == record.sha256


def test_a_circuit_without_responses_says_so(store: Store, folder: Path) -> None:
    bare = replace(records(store)[0], responses={}, extraction=replace(records(store)[0].extraction, version=9))
    with store.writer() as writer:
        writer.put(bare, run="two")
    table = run(store, "images-of-circuit", {"circuit": bare.id})
    assert len(table) == 0 and any("1 circuit has no responses" in note for note in table.notes)
