"""Universes: properties derived from the two tables, and the registry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from circuitstore.circuits import (
    FORMS,
    UNIVERSES,
    Circuit,
    Component,
    ComputationGraph,
    Edges,
    EdgeScores,
    ModelInfo,
    Universe,
    UniverseKind,
    UniverseUse,
    computation_graph,
    greedy,
    random_circuit,
    universe_of,
)
from circuitstore.circuits import similarity as pairwise
from circuitstore.errors import InputError, NotComparable
from circuitstore.testing.picked_neurons import PickedNeurons

MODEL = ModelInfo("f" * 64, "toy", 2, 3, 8, 10)


@dataclass(frozen=True)
class Diamond(Universe):
    """Two first nodes, two last nodes, an isolated node, ports, and a link.

    a and b feed c; c is linked to d; d feeds e at two ports, and f.
    """

    @property
    def text(self) -> str:
        return "diamond"

    def make_components(self) -> tuple[Component, ...]:
        return tuple(Component(name, "neuron") for name in "abcdefz")

    def make_edges(self) -> Edges:
        return Edges(np.array([0, 1, 3, 3, 3]), np.array([2, 2, 4, 4, 5]), ("", "", "q", "k", ""))

    @property
    def structural_links(self) -> tuple[tuple[str, str], ...]:
        return (("c", "d"),)


def test_names_are_derived_from_the_tables() -> None:
    universe = Diamond()
    assert universe.edge_names == ("a->c", "b->c", "d->e<q>", "d->e<k>", "d->f")
    assert [universe.edge(i).name for i in range(universe.n_edges)] == list(universe.edge_names)
    assert [universe.index_of(name) for name in universe.edge_names] == list(range(5))
    with pytest.raises(InputError, match="unknown edge of the diamond 'a->d'"):
        universe.index_of("a->d")


@pytest.mark.parametrize(
    ("edges", "kept", "nodes"),
    [
        ("a->c d->f", "a->c d->f", "acdf"),
        ("a->c b->c d->e<k>", "a->c b->c d->e<k>", "abcde"),
        ("a->c b->c", "", ""),
        ("d->e<q> d->f", "", ""),
    ],
)
def test_paths_lead_from_any_first_to_any_last_node(edges: str, kept: str, nodes: str) -> None:
    universe = Diamond()
    members = np.isin(universe.edge_names, edges.split())
    assert list(np.array(universe.edge_names)[universe.prune(members)]) == kept.split()
    alive = universe.reachable(members)
    assert "".join(name for name, on in zip(universe.node_names, alive, strict=True) if on) == nodes


def test_circuits_grow_from_all_last_nodes() -> None:
    scores = EdgeScores(Diamond(), np.array([0.1, 0.9, 0.5, 0.4, 0.3]))
    assert scores.universe.edge_names[4] == "d->f"
    assert greedy(scores, 2).edges == ("b->c", "d->e<q>")
    assert [scores.universe.edge_names[i] for i in greedy(scores, 5).order] == [
        "d->e<q>",
        "b->c",
        "d->e<k>",
        "d->f",
        "a->c",
    ]
    assert dict(zip(scores.universe.node_names, scores.inflow.round(6), strict=True)) == {
        "a": 0, "b": 0, "c": 1.0, "d": 0, "e": 0.9, "f": 0.3, "z": 0
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_random_circuits_lead_from_first_to_last_nodes(seed: int) -> None:
    universe = PickedNeurons(((1, 2, 3), (4,), (5, 6), (7, 8)))
    circuit = random_circuit(universe, 6, seed=seed)
    assert 3 <= circuit.n_edges <= 6 and circuit.astray is None
    assert random_circuit(Diamond(), 2, seed=seed).n_edges == 2


def test_a_circuit_exports_a_graph_with_its_links() -> None:
    circuit = Circuit.from_edges(Diamond(), ["a->c", "d->e<q>"])
    graph = circuit.to_networkx()
    assert graph.graph == {"universe": "diamond"}
    assert {(a, b, data["kind"]) for a, b, data in graph.edges(data=True)} == {
        ("a", "c", "feeds"),
        ("c", "d", "contains"),
        ("d", "e", "feeds"),
    }
    assert circuit.to_pandas()["edge"].tolist() == ["a->c", "d->e<q>"]
    assert repr(circuit) == "Circuit(2 of 5 edges, 4 nodes, diamond, given)"


def test_functions_that_need_a_computation_graph_raise() -> None:
    scores = EdgeScores(Diamond(), np.zeros(5))
    for act in (lambda: scores.project("block"), lambda: scores.top(5).draw(), lambda: scores.top(5).graph):
        with pytest.raises(InputError, match="expected edges of a computation graph, got those of diamond"):
            act()
    graph = ComputationGraph(1, 1)
    assert computation_graph(graph) is graph


def test_two_universes_are_not_comparable() -> None:
    a, b = (EdgeScores(PickedNeurons(((1,), (n,))), np.zeros(1)) for n in (2, 3))
    with pytest.raises(NotComparable, match=r"the universes differ: PickedNeurons\(.*2.*against PickedNeurons\(.*3"):
        pairwise.jaccard(a.top(1), b.top(1))
    assert pairwise.jaccard(a.top(1), a.top(1)) == 1
    with pytest.raises(InputError, match=r"scores: expected those of PickedNeurons\(.*got those of"):
        a.top(1).scored(b)


def test_the_forms_are_the_universes_that_are_shipped() -> None:
    assert set(FORMS) <= set(UNIVERSES)
    for form in FORMS:
        assert universe_of(MODEL, UNIVERSES.resolve(form)) == ComputationGraph(2, 3, form)
    assert universe_of(MODEL, UniverseUse("split")) is universe_of(MODEL, UniverseUse("split"))


def test_a_key_that_is_too_long_for_the_catalog_raises() -> None:
    assert UniverseKind(key="neighbour", make=PickedNeurons).key == "neighbour"
    with pytest.raises(InputError, match="universe 'neighbours': expected a key of at most 9 letters"):
        UniverseKind(key="neighbours", make=PickedNeurons)
