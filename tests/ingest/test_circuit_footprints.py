"""Footprints of circuits in a spec: of the circuits that the spec's recipes find, one for each, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from circuitstore.circuits import Extraction, circuit_id
from circuitstore.errors import InputError
from circuitstore.evaluation import circuit_footprint
from circuitstore.images import Predictions, build_pairs, open_source
from circuitstore.ingest import dry_run, index, make_plan, parse_spec
from circuitstore.models import ViT
from circuitstore.store import open_store

SPEC = """
name = "footprints"
model = "digits"
[images]
source = "digits"
only = ["three"]
per_class = 8
examples = 0
[[condition]]
kind = "natural"
[[condition]]
kind = "fgsm"
eps = "8/255"
[[recipe]]
method = "eap"
corruption = "mean-image"
[[recipe]]
method = "eap"
form = "block"
corruption = "unattacked-twin"
metric = "logit-diff"
conditions = ["fgsm"]
[[extract]]
edges = 30
[[extract]]
retention = 0.5
[[readout]]
kind = "circuit-footprint"
steps = 1
strongest = 2
"""
READOUT = SPEC[SPEC.index("[[readout]]") :]


def test_each_circuit_of_the_spec_is_asked_for_once(digits_model: ViT) -> None:
    plan = make_plan(parse_spec(SPEC), digits_model)
    circuits = [(p.item, e) for p in plan.items for e in p.extractions]
    about = [p.about for p in plan.items if p.about is not None]
    assert len(circuits) == 2 * 2 + 2 and sorted(map(_id, about)) == sorted(map(_id, circuits))
    questions = {p.item.recipe.method.text for p in plan.items if p.about is not None}
    assert len(questions) == 4  # one for each recipe and extraction, over classes and conditions
    order = [circuit_id(p.item.id, e) for p in plan.items for e in p.extractions or [Extraction.of("none")]]
    for place, planned in enumerate(plan.items):
        assert planned.about is None or circuit_id(planned.about[0].id, planned.about[1]) in order[:place]


def _id(circuit: tuple) -> str:
    return circuit_id(circuit[0].id, circuit[1])


@pytest.mark.slow
def test_the_stored_footprint_is_that_of_the_stored_circuit(digits_model: ViT, tmp_path: Path) -> None:
    spec = parse_spec(SPEC)
    result = index(spec, model=digits_model, location=tmp_path, progress=False)
    assert (result.done, result.failed, result.circuits) == (3 + 6, {}, 6)
    predictions = Predictions(open_source("digits", digits_model), digits_model)
    with open_store(tmp_path) as store:
        listed = store.readouts(kind="circuit-footprint")
        records = [store.readout(id) for id in listed["id"]]
        assert {record.provenance["circuit"] for record in records} == set(store.circuits()["id"])
        for record in records:
            item, stored = record.item, store.circuit(record.provenance["circuit"])
            assert stored.item.condition == item.condition and stored.item.selection == item.selection
            by_hash = {ref.hash: ref for ref in predictions.source.candidates(item.target_class)}
            refs, recipe = [by_hash[hash_] for hash_ in record.images], item.recipe
            pairs = build_pairs(predictions, item.target_class, refs, item.condition, recipe.corruption)
            made = circuit_footprint(digits_model, pairs, stored.circuit, metric=recipe.metric, steps=1, strongest=2)
            assert made.axes[1:] == record.mean.axes
            assert np.allclose(record.mean.values, made.mean().values, atol=1e-5)
        before = listed.drop(columns="created_ms")
        store.archive.path("readout", listed["id"][0]).unlink()
    result = index(spec, model=digits_model, location=tmp_path, progress=False)  # from circuits that are stored
    assert (result.done, result.skipped, result.failed) == (1, 8, {})
    with open_store(tmp_path) as store:
        assert store.readouts(kind="circuit-footprint").drop(columns="created_ms").equals(before)
        assert len(store.verify()) == 0


@pytest.mark.slow
def test_a_circuit_that_failed_has_no_footprint(digits_model: ViT, tmp_path: Path) -> None:
    second = SPEC[SPEC.index('[[recipe]]\nmethod = "eap"\nform') : SPEC.index("[[extract]]")]
    harmless = SPEC.replace(second, "").replace('kind = "fgsm"\neps = "8/255"', 'kind = "random-signs"\neps = "1/255"')
    harmless = harmless.replace("[images]", '[images]\nchoose = "successful"')
    result = index(parse_spec(harmless), model=digits_model, location=tmp_path, progress=False)
    assert result.done == 1 + 2  # under the natural condition: a discovery, and the footprints of its two circuits
    reasons = list(result.failed.values())
    assert sum("it is about the circuit of an item, which failed (three" in reason for reason in reasons) == 2
    assert sum("no discovery images qualify" in reason for reason in reasons) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "steps = 1",
            'metric = "logit"',
            r"readout\[0\]: metric: circuit-footprint is about the circuits of each",
        ),
        ("steps = 1", 'circuit = "top"', r"readout\[0\]: circuit: circuit-footprint is about the circuits"),
        ("steps = 1", 'form = "block"', r"readout\[0\]: .*no parameter 'form': it is that of the circuit"),
        ("steps = 1", "steps = 0", r"readout\[0\]: .*steps: expected a whole number"),
        ('"mean-image"', '"zero"', r"readout\[0\]: .*the corruption zero of recipe\[0\] has none"),
        (SPEC[SPEC.index("[[recipe]]") :], READOUT, r"readout\[0\]: .*needs a \[\[recipe\]\] and an \[\[extract\]\]"),
    ],
)
def test_a_mistake_is_named_by_its_path(old: str, new: str, message: str, digits_model: ViT) -> None:
    assert old in SPEC
    with pytest.raises(InputError, match=message):
        make_plan(parse_spec(SPEC.replace(old, new)), digits_model)


def test_a_condition_without_circuits_is_named(digits_model: ViT) -> None:
    attacked = SPEC.replace('corruption = "mean-image"', 'corruption = "mean-image"\nconditions = ["fgsm"]')
    with pytest.raises(InputError, match=r"readout\[0\]: conditions: none of the circuits is found under natural"):
        make_plan(parse_spec(f'{attacked}conditions = ["natural"]'), digits_model)


@pytest.mark.slow
def test_the_cost_is_estimated(digits_model: ViT, tmp_path: Path) -> None:
    rows = dry_run(parse_spec(SPEC), model=digits_model, location=tmp_path).to_pandas()
    rows = rows.loc[rows["recipe"].str.startswith("circuit-footprint")]
    assert rows[["items", "images", "forwards", "backwards"]].values.tolist() == [[1, 2, 6, 2]] * 6
