"""The universe of neurons: one edge per neuron, and neurons of neighbouring MLPs connected through the MLP between."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from circuitstore.circuits import (
    UNIVERSES,
    Circuit,
    ComputationGraph,
    ModelInfo,
    Neurons,
    class_path,
    neurons,
    path_shares,
    random_circuit,
    universe_of,
)
from circuitstore.circuits import similarity as pairwise_similarity
from circuitstore.errors import InputError, NotComparable
from hypothesis import given
from hypothesis import strategies as st

MODEL = ModelInfo("f" * 64, "toy", 3, 2, 8, 10)


def paths(width: int = 4, layers: int = 3, k: int = 1) -> st.SearchStrategy[np.ndarray]:
    """Paths of one to six images, without a neuron twice in a layer."""
    one = st.permutations(range(width)).map(lambda order: order[:k])
    image = st.lists(one, min_size=layers, max_size=layers)
    return st.lists(image, min_size=1, max_size=6).map(np.array)


def test_a_neuron_is_contained_in_its_mlp_and_feeds_the_next() -> None:
    universe = Neurons(2, 2)
    assert universe.node_names == ("m0", "m0.n0", "m0.n1", "m1", "m1.n0", "m1.n1", "logits")
    assert universe.edge_names == ("m0.n0->m1", "m0.n1->m1", "m1.n0->logits", "m1.n1->logits")
    assert universe.structural_links == (("m0", "m0.n0"), ("m0", "m0.n1"), ("m1", "m1.n0"), ("m1", "m1.n1"))
    assert [(c.kind, c.layer, c.neuron) for c in universe.components[2:5]] == [
        ("neuron", 0, 1), ("mlp", 1, None), ("neuron", 1, 0),
    ]  # fmt: skip


def test_nodes_that_other_universes_have_are_the_same_components() -> None:
    graph = {c.name: c for c in ComputationGraph(3, 2, "split").components}
    own = {c.name: c for c in Neurons(3, 5).components}
    assert graph.keys() & own.keys() == {"m0", "m1", "m2", "logits"}
    assert all(graph[name] == own[name] for name in graph.keys() & own.keys())


def test_a_model_and_its_number_of_neurons_give_the_universe() -> None:
    use = neurons(5)
    assert universe_of(MODEL, use) == Neurons(3, 5) and use.form == f"neurons-{use.form[-6:]}"
    assert len(use.form) <= 16 and neurons(6).form != use.form
    with pytest.raises(InputError, match="width: expected a whole number of at least 1, got 0"):
        UNIVERSES.resolve("neurons", {"width": 0})
    with pytest.raises(InputError, match="width is missing"):
        UNIVERSES.resolve("neurons")


@given(paths(k=2))
def test_the_share_of_a_neuron_is_that_of_the_images_whose_path_it_is_on(found: np.ndarray) -> None:
    universe = Neurons(3, 4)
    scores = path_shares(universe, found)
    for layer, neuron in product(range(3), range(4)):
        share = (found[:, layer] == neuron).any(axis=1).mean()
        assert scores.mean[universe.index_of(universe.edge_names[layer * 4 + neuron])] == pytest.approx(share)
    assert scores.per_image is not None and set(np.unique(scores.per_image)) <= {0.0, 1.0}
    assert scores.mean.reshape(3, 4).sum(axis=1) == pytest.approx([2, 2, 2])
    assert np.array_equal(scores.rounded().per_image, scores.per_image)  # the archive's half precision is exact


@given(paths(k=1), st.integers(1, 4))
def test_a_class_path_has_the_most_frequent_neurons_of_every_layer(found: np.ndarray, k: int) -> None:
    universe = Neurons(3, 4)
    shares = path_shares(universe, found).mean
    circuit = class_path(universe, shares, k)
    assert circuit.n_edges == circuit.size_requested == 3 * k and circuit.astray is None
    chosen = circuit.members.reshape(3, 4)
    for layer in range(3):
        of_layer = shares.reshape(3, 4)[layer]
        assert of_layer[chosen[layer]].min() >= of_layer[~chosen[layer]].max(initial=0)
    names = [name for name in circuit.nodes if "." in name]
    assert len(names) == 3 * k and set(circuit.nodes) == {*names, "m0", "m1", "m2", "logits"}


def test_all_neurons_of_neighbouring_mlps_are_connected_and_no_others() -> None:
    circuit = Circuit.from_edges(Neurons(3, 9), ["m0.n5->m1", "m0.n2->m1", "m1.n7->m2", "m2.n0->logits"])
    graph = circuit.to_networkx()
    steps = {(a, c) for a, b in graph.edges() for x, c in graph.edges(b) if "." in a and x == b}
    assert steps == {("m0.n5", "m1.n7"), ("m0.n2", "m1.n7"), ("m1.n7", "m2.n0")}


def test_a_layer_without_neurons_leaves_no_path() -> None:
    universe = Neurons(3, 4)
    with pytest.warns(UserWarning, match="pruning left none of 2 edges"):
        assert Circuit.from_edges(universe, ["m0.n1->m1", "m2.n3->logits"]).n_edges == 0


@pytest.mark.parametrize("seed", range(3))
def test_random_circuits_are_paths(seed: int) -> None:
    circuit = random_circuit(Neurons(4, 6), 9, seed=seed)
    layers = [circuit.universe.components[circuit.universe.node_index[name]].layer for name in circuit.nodes]
    assert circuit.n_edges == 9 and set(layers) == {0, 1, 2, 3, None}


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([[[0], [1]]], "expected 3 layers, got 2"),
        ([[[0], [1], [4]]], "expected neurons from 0 to 3, got 0 to 4"),
        ([[[0], [1], [-1]]], "expected neurons from 0 to 3, got -1 to 1"),
    ],
)
def test_paths_that_do_not_fit_raise(found: list[object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        path_shares(Neurons(3, 4), np.array(found))
    with pytest.raises(InputError, match="at least one image, got none"):
        path_shares(Neurons(3, 4), np.empty((0, 3, 1), int))


def test_paths_are_not_compared_with_circuits_of_edges() -> None:
    path = Circuit.from_edges(Neurons(2, 4), ["m0.n1->m1", "m1.n2->logits"])
    circuit = Circuit.from_edges(ComputationGraph(2, 2, "block"), ["input->logits"])
    with pytest.raises(NotComparable, match="universes"):
        pairwise_similarity.jaccard(path, circuit)
    assert pairwise_similarity.jaccard(path, path) == 1
