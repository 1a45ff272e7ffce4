"""Circuits from files of other tools are stored as imported, with the sign that the user states."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import circuitstore as cs
import numpy as np
import pytest
from circuitstore.circuits import Circuit, CircuitRecord
from circuitstore.errors import CircuitStoreWarning, InputError
from circuitstore.ingest import imported_result, index, parse_spec
from circuitstore.ingest.own import OwnImages, OwnResult
from circuitstore.query import compare
from circuitstore.store import open_store, rebuild_store

from .own_world import SPEC, World


@pytest.fixture
def file(world: World, tmp_path: Path) -> Path:
    """EAP-IG's JSON for the digits model: scores of every edge, and the 30 largest in the circuit."""
    graph = world.model.graph("split")
    scores = np.random.default_rng(0).normal(size=graph.n_edges)
    kept = np.argsort(-np.abs(scores))[:30]
    edges = {
        name: {"score": score, "in_graph": i in kept}
        for i, (name, score) in enumerate(zip(graph.edge_names, scores.tolist(), strict=True))
    }
    path = tmp_path / "graph.json"
    nodes = {name: {"in_graph": True} for name in graph.node_names}
    path.write_text(json.dumps({"cfg": {"n_layers": 4, "n_heads": 4}, "nodes": nodes, "edges": edges}))
    return path


def three(**changes: Any) -> OwnImages:
    return OwnImages(**({"dataset": "digits", "class_name": "three", "corruption": "other-class"} | changes))


def read(world: World, file: Path, **changes: Any) -> OwnResult:
    options: dict[str, Any] = {"scored": "loss", "metric": "logit"} | changes
    with pytest.warns(CircuitStoreWarning, match="edges are left out, because they are on no path"):
        return imported_result(file, "eap-ig", world.model, three(), **options)


def test_the_sign_is_that_of_the_metric(world: World, file: Path) -> None:
    edges = json.loads(file.read_text())["edges"]
    for scored, sign in (("loss", 1), ("metric", -1)):
        result = read(world, file, scored=scored)
        assert result.scores is not None
        names = result.scores.graph.edge_names
        expected = np.array([sign * edges[name]["score"] for name in names], np.float32)
        assert np.array_equal(result.scores.mean, expected)


def test_imported_circuits_are_read_verified_and_rebuilt(world: World, file: Path, tmp_path: Path) -> None:
    place = tmp_path / "data"
    result = read(world, file, edges=[40, 60])
    done = cs.store_results("imported", [result], location=place)
    assert (done.done, done.circuits, done.notices) == (1, 3, ())
    again = cs.store_results("imported", [read(world, file, edges=[40, 60])], location=place)
    assert (again.done, again.skipped, again.circuits) == (0, 1, 0)
    rebuild_store(place)
    with open_store(place) as store:
        assert store.verify().to_pandas().empty
        circuits = store.circuits()
        assert set(circuits["method"]) == {"imported(format=eap-ig)"} and set(circuits["n_images"]) == {0}
        assert set(circuits["extraction"]) == {"imported", "edges(n=40)", "edges(n=60)"} and set(circuits["flag"]) == {
            ""
        }
        record: CircuitRecord = store.circuit(circuits["id"].iloc[0])
        provenance = store.discovery(record.discovery_id).provenance
        assert provenance["source"] == {"file": "graph.json", "sha256": result.source}
        assert record.notes == (f"imported from a file with the SHA-256 {result.source}",)


def test_another_file_is_another_question_and_the_newest_counts(world: World, file: Path, tmp_path: Path) -> None:
    place = tmp_path / "data"
    cs.store_results("imported", [read(world, file)], location=place)
    file.write_text(file.read_text() + "\n")
    cs.store_results("imported", [read(world, file)], location=place)
    with open_store(place) as store:
        circuits = store.circuits()
        assert len(circuits) == 2 and circuits["counts"].sum() == 1 and circuits["question"].nunique() == 1


def test_index_does_not_compute_them_and_comparisons_have_a_note(world: World, file: Path, tmp_path: Path) -> None:
    place = tmp_path / "data"
    spec = parse_spec(SPEC.replace('form = "block"', 'form = "split"').replace("[[extract]]\ntop = 9\n", ""))
    computed = index(spec, location=place, progress=False)
    cs.store_results("computed", [read(world, file, edges=[12])], location=place)
    again = index(spec, location=place, progress=False)
    assert (computed.done, again.done, again.failed) == (2, 0, {})
    with open_store(place) as store:
        table = compare(store, "method", condition="natural", extraction="edges(n=12)")
        assert len(table) == 1
        assert [note for note in table.notes if note.startswith("1 of 2 circuits were imported from files")]


def test_a_method_of_a_spec_cannot_be_imported() -> None:
    with pytest.raises(InputError, match="results of the method 'imported' were read from a file"):
        index(parse_spec(SPEC.replace('"eap"', '"imported"')), progress=False, location="none")
    assert not Path("none").exists()


def test_files_of_circuitstore_have_its_sign_and_their_order(world: World, tmp_path: Path) -> None:
    scores = world.scores(3)
    cs.store_results("mine", [world.result(3, scores=scores, circuits=[scores.greedy(20)])], location=tmp_path / "data")
    with open_store(tmp_path / "data") as store:
        record = store.circuit(store.circuits()["id"].iloc[0])
    file = cs.export_circuits([record], "eap-ig", tmp_path / "ours.json")
    result = imported_result(file, "eap-ig", world.model, three())
    (circuit,) = result.circuits
    assert isinstance(circuit, Circuit)
    assert result.scores is not None and np.array_equal(result.scores.mean, record.circuit.score)
    assert np.array_equal(circuit.order, record.circuit.order) and circuit.graph.form == "block"
    assert result.provenance["about"]["id"] == record.id
    with pytest.raises(InputError, match="circuitstore wrote this file"):
        imported_result(file, "eap-ig", world.model, three(), scored="metric")


def test_a_file_of_edges_only_is_stored_without_scores(world: World, tmp_path: Path) -> None:
    file = tmp_path / "edges.json"
    file.write_text('[["tok_embeds", "a0.h1.q"], ["a0.h1", "m2"], ["m2", "resid_post"]]')
    result = imported_result(file, "edge-pruning", world.model, three(), found_by="edge-pruning")
    done = cs.store_results("imported", [result], location=tmp_path / "data")
    assert (done.done, done.circuits) == (1, 1)
    with open_store(tmp_path / "data") as store:
        record = store.circuit(store.circuits()["id"].iloc[0])
        assert record.circuit.edges == ("input->a0.h1<q>", "a0.h1->m2", "m2->logits")
        assert record.extraction.text == "found" and record.circuit.score is None
        assert record.item.recipe.method.text == "imported(format=edge-pruning, found_by=edge-pruning)"
        assert record.item.recipe.metric.text == "not-stated"
    with pytest.raises(InputError, match="the file has no scores, so 'loss' does not apply"):
        imported_result(file, "edge-pruning", world.model, three(), scored="loss")
    with pytest.raises(InputError, match="edges: the file has no scores to extract circuits from"):
        imported_result(file, "edge-pruning", world.model, three(), edges=[3])


def test_the_sign_is_never_guessed(world: World, file: Path) -> None:
    with pytest.raises(InputError, match="scored: expected loss or metric"):
        imported_result(file, "eap-ig", world.model, three())
    with pytest.raises(InputError, match="unknown value of scored 'los'; did you mean 'loss'"):
        imported_result(file, "eap-ig", world.model, three(), scored="los")
    with pytest.raises(InputError, match="report: give `images`, too"):
        report = (world.clean(3)[:2], world.clean(7)[:2])
        cs.store_results(
            "x",
            [
                cs.OwnResult(
                    model=world.model,
                    images=three(),
                    method="eap",
                    scores=world.scores(1),
                    circuits=[world.scores(1).greedy(9)],
                    report=report,
                )
            ],
        )


def test_scores_without_a_circuit_give_a_warning(world: World, file: Path) -> None:
    content = json.loads(file.read_text())
    for edge in content["edges"].values():
        edge["in_graph"] = False
    file.write_text(json.dumps(content))
    with pytest.warns(CircuitStoreWarning, match="scores edges without selecting any; extract circuits"):
        result = imported_result(file, "eap-ig", world.model, three(), scored="loss")
    assert result.circuits == []
