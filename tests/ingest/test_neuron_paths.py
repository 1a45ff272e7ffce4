"""Neuron paths in a spec: what is stored for each class and condition, what a second call adds, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from circuitstore.circuits import Neurons
from circuitstore.errors import InputError
from circuitstore.evaluation import PathSearch, neuron_paths
from circuitstore.images import Predictions, open_source
from circuitstore.ingest import dry_run, index, parse_spec
from circuitstore.ingest.neuron_paths import search_method, search_of
from circuitstore.models import ViT
from circuitstore.query import run
from circuitstore.store import Store, open_store, rebuild_store

SPEC = """
name = "paths"
model = "digits"
[images]
source = "digits"
only = ["three", "eight"]
per_class = 12
examples = 0
[[condition]]
kind = "natural"
[[condition]]
kind = "fgsm"
eps = "8/255"
[[recipe]]
method = "eap"
form = "block"
corruption = "blur"
conditions = ["natural"]
[[extract]]
edges = 9
[[neuron_paths]]
score = "ig"
steps = 4
rule = "midpoint"
[[neuron_paths]]
search = "activation"
k = 2
conditions = ["natural"]
"""
SEARCH = PathSearch(score="ig", steps=4, rule="midpoint")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, digits_model: ViT) -> Path:
    folder = tmp_path_factory.mktemp("paths")
    result = index(parse_spec(SPEC), model=digits_model, location=folder, progress=False)
    assert (result.done, result.skipped, result.failed, result.circuits) == (8, 0, {}, 8)
    return folder


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with open_store(folder) as opened:
        yield opened


@pytest.mark.slow
def test_each_class_and_condition_has_the_path_of_its_discovery_images(store: Store, digits_model: ViT) -> None:
    predictions = Predictions(open_source("digits", digits_model), digits_model)
    rows = store.circuits(method=search_method("neuron-path", {"score": "ig", "steps": 4, "rule": "midpoint"}).text)
    assert sorted(rows[["class", "attack"]].to_numpy().tolist()) == [
        [name, attack] for name in ("eight", "three") for attack in ("fgsm", "natural")
    ]
    for id in rows["id"]:
        record = store.circuit(id)
        found, cls = store.discovery(record.discovery_id), record.item.target_class
        by_hash = {ref.hash: ref for ref in predictions.source.candidates(cls)}
        refs = [by_hash[hash_] for hash_ in found.images]
        assert [predictions.source.split_of(ref) for ref in refs] == ["discovery"] * 6
        images = digits_model.preprocess.normalise(predictions.views(cls, refs, record.item.condition))
        expected = neuron_paths(digits_model, images, [cls.class_index] * 6, SEARCH)
        assert found.trace["paths"] == expected.paths.tolist()
        assert np.allclose(found.trace["parts"], expected.parts) and np.allclose(found.trace["jas"], expected.jas)
        assert record.circuit.universe == Neurons(digits_model.n_layers, expected.n_neurons)
        assert record.circuit.n_edges == digits_model.n_layers and record.flag == ""
        for edge in record.circuit.edges:
            layer, neuron = map(int, edge.partition("->")[0].removeprefix("m").split(".n"))
            share = (expected.paths[:, layer] == neuron).any(axis=1).mean()
            assert record.circuit.score is not None
            assert record.circuit.score[record.circuit.universe.edge_index[edge]] == pytest.approx(share)


@pytest.mark.slow
def test_the_graph_answers_and_a_rebuilt_store_is_the_same(folder: Path) -> None:
    with open_store(folder) as store:
        assert len(store.verify()) == 0, str(store.verify())
        before = store.circuits().drop(columns="created_ms")
        named = run(store, "neurons-of-class", {"class": "three"})
        two = [row for row in named if row["method"].startswith("activation(")]
        assert len(two) == 2 * 4 and all(row["neuron"].startswith(f"m{row['layer']}.n") for row in two)
        assert len(run(store, "neuron-paths", {"circuit": two[0]["circuit"]})) == 6 * 4 * 2
        through = list(run(store, "neuron-in-edge-circuits", {"neuron": two[-1]["neuron"]}))
        assert {row["class"] for row in through} <= {"three", "eight"} and {row["form"] for row in through} <= {"block"}
    rebuild_store(folder)
    with open_store(folder) as store:
        assert store.circuits().drop(columns="created_ms").equals(before) and len(store.verify()) == 0


@pytest.mark.slow
def test_a_second_call_computes_only_what_is_missing(folder: Path, digits_model: ViT) -> None:
    spec = parse_spec(SPEC)
    assert index(spec, model=digits_model, location=folder, progress=False).skipped == 8
    with open_store(folder) as store:
        before = store.circuits().drop(columns="created_ms")
        lost = store.circuits(method=search_method("activation", {"k": 2}).text)
        store.archive.path("discovery", lost["discovery_id"].iloc[0]).unlink()
        store.archive.path("circuit", lost["id"].iloc[1]).unlink()
    result = index(spec, model=digits_model, location=folder, progress=False)
    assert (result.done, result.skipped, result.circuits, result.failed) == (2, 6, 1, {})
    with open_store(folder) as store:
        assert store.circuits().drop(columns="created_ms").equals(before) and len(store.verify()) == 0


@pytest.mark.slow
def test_the_cost_is_estimated(digits_model: ViT, tmp_path: Path) -> None:
    rows = dry_run(parse_spec(SPEC), model=digits_model, location=tmp_path).to_pandas()
    paths = [row for row in rows.to_dict("records") if "neurons" in row["recipe"]]
    assert [(row["items"], row["images"]) for row in paths] == [(2, 12)] * 3
    assert all(row["forwards"] >= 12 for row in paths)


def test_a_search_has_all_its_parameters_in_its_name() -> None:
    method = search_method("neuron-path", {"score": "ig", "steps": 4, "rule": "midpoint"})
    assert search_of(method) == SEARCH and method != search_method("neuron-path", {})
    assert method.text.startswith("neuron-path(beam=1, candidates=together, k=1") and "score=ig" in method.text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'search = "activation"',
            'search = "activations"',
            r"neuron_paths\[1\]: unknown search 'activations'",
        ),
        ("steps = 4", "stps = 4", r"neuron_paths\[0\]: .*unknown field 'stps'; did you mean 'steps'"),
        ("steps = 4", "steps = 0", r"neuron_paths\[0\]: steps: expected a whole number of at least 1, got 0"),
    ],
)
def test_a_mistake_is_named_by_its_path(old: str, new: str, message: str, digits_model: ViT, tmp_path: Path) -> None:
    assert old in SPEC
    with pytest.raises(InputError, match=message):
        index(parse_spec(SPEC.replace(old, new)), model=digits_model, location=tmp_path, progress=False)
