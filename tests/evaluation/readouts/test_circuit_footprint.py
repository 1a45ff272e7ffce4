"""The footprint of a circuit: sums over the footprints of its edges, and its strongest edges by themselves."""

from __future__ import annotations

import numpy as np
import pytest
from circuitstore import circuit_footprint, footprint, footprint_by_layer
from circuitstore.circuits import FORMS, Circuit, random_circuit
from circuitstore.errors import InputError
from circuitstore.evaluation import READOUTS, Execution, ImagePairs, measure

from ...reference import LABELS, relative


def pairs_of(model, images):
    return ImagePairs.of(model, images(model, 2, 1), images(model, 2, 2), LABELS)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("by", ["token", "source-token"])
def test_rows_are_sums_over_edges(toy_vit, images, form, by):
    model = toy_vit(depth=2)
    pairs, circuit = pairs_of(model, images), random_circuit(model.graph(form), 9, seed=3)
    edges = footprint(model, pairs, circuit, steps=2, by=by)
    found = circuit_footprint(model, pairs, circuit, steps=2, by=by, strongest=3, execution=Execution(batch_size=1))
    assert found.names == ("image", "edges", by.replace("-", "_")) and found.metric == edges.metric
    reads = [place for place, name in enumerate(circuit.edges) if name.startswith("input->")]
    assert 0 < len(reads) < circuit.n_edges
    assert relative(found.select(edges="out of input").values, edges.values[:, reads].sum(axis=1)) < 1e-12
    layers = footprint_by_layer(model, edges)
    for layer in layers.axis("layer").labels:
        row = found.select(edges="into logits" if layer == "logits" else f"into layer {layer}")
        assert np.allclose(row.values, layers.select(layer=layer).values, rtol=1e-12, atol=1e-14)
    strongest = found.axis("edges").labels[-3:]
    assert relative(found.select(edges=strongest).values, edges.select(edge=strongest).values) < 1e-12
    kind = READOUTS["circuit-footprint"]
    assert kind.numbers is not None and kind.numbers(model, **dict(found.use.params)) == found.values[0].size


def test_the_strongest_edges_have_the_scores_of_largest_magnitude(toy_vit, images):
    model = toy_vit(depth=2)
    graph = model.graph("block")
    score = np.random.default_rng(1).normal(size=graph.n_edges)
    circuit = Circuit(graph, np.arange(graph.n_edges) % 2 == 0, score=score)
    found = circuit_footprint(model, pairs_of(model, images), circuit, strongest=4)
    largest = sorted(circuit.edges, key=lambda name: -abs(score[graph.index_of(name)]))[:4]
    assert found.axis("edges").labels[-4:] == tuple(largest)
    everything = circuit_footprint(model, pairs_of(model, images), circuit, strongest=graph.n_edges)
    assert set(everything.axis("edges").labels[-circuit.n_edges :]) == set(circuit.edges)


def test_an_empty_circuit_has_a_footprint_of_0(toy_vit, images):
    model = toy_vit(depth=2)
    circuit = Circuit(model.graph("split"), np.zeros(model.graph("split").n_edges, bool))
    found = circuit_footprint(model, pairs_of(model, images), circuit)
    assert found.axis("edges").labels == ("out of input", "into layer 0", "into layer 1", "into logits")
    assert not found.values.any()


def test_circuits_that_do_not_fit_raise(toy_vit, images):
    model, deeper, kind = toy_vit(depth=2), toy_vit(depth=3), READOUTS["circuit-footprint"]
    pairs = pairs_of(model, images)
    with pytest.raises(InputError, match="circuit: expected one over a graph of"):
        circuit_footprint(model, pairs, random_circuit(deeper.graph("block"), 4, seed=0))
    with pytest.raises(InputError, match="expected the circuit that it is about, got none"):
        kind.read(model, measure(model, pairs, "logit"), kind.use(circuit="mine"))
    with pytest.raises(InputError, match="no parameter 'form': it is that of the circuit"):
        circuit_footprint(model, pairs, random_circuit(model.graph("block"), 4, seed=0), form="split")
