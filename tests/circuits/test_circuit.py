"""A circuit's nodes, links, ranks and exports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from circuitstore import errors
from circuitstore.circuits import FORMS, Circuit, ComputationGraph, EdgeScores, Form, greedy
from circuitstore.errors import CircuitStoreWarning, InputError
from circuitstore.testing.factories import make_discovery, make_item, make_record
from hypothesis import given
from hypothesis import strategies as st


@st.composite
def circuits(draw: st.DrawFn) -> Circuit:
    graph = ComputationGraph(draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.sampled_from(FORMS)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scores = EdgeScores.from_images(graph, rng.normal(size=(3, graph.n_edges)).astype(np.float32))
    return greedy(scores, draw(st.integers(0, graph.n_edges)))


def test_named_edges_are_pruned_in_the_order_given() -> None:
    graph = ComputationGraph(1, 2)
    circuit = Circuit.from_edges(graph, ["m0->logits", "a0.h0->m0", "a0.h1->logits", "input->a0.h0<v>"])
    assert circuit.edges == ("input->a0.h0<v>", "a0.h0->m0", "m0->logits")
    assert circuit.nodes == ("input", "a0.h0", "m0", "logits")
    assert (circuit.size_requested, circuit.n_edges) == (4, 3)
    assert [graph.edge_names[i] for i in circuit.order] == ["m0->logits", "a0.h0->m0", "input->a0.h0<v>"]
    assert circuit.ranks[graph.index_of("a0.h0->m0")] == 2


def test_a_repeated_name_counts_once() -> None:
    circuit = Circuit.from_edges(ComputationGraph(1, 1), ["input->logits", "input->logits"])
    assert (circuit.size_requested, circuit.n_edges, len(circuit.order)) == (1, 1, 1)
    assert circuit.ranks.max() == 1


def test_no_edges_have_no_nodes() -> None:
    circuit = Circuit.from_edges(ComputationGraph(2, 2, "attention"), [])
    assert (circuit.n_edges, circuit.nodes, circuit.links) == (0, (), ())


def test_a_circuit_emptied_by_pruning_warns_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "_INTERNAL", (*errors._INTERNAL, "jaxtyping"))  # its checks add frames
    graph = ComputationGraph(1, 1)
    scores = EdgeScores(graph, np.zeros(graph.n_edges))
    scores.mean[graph.index_of("m0->logits")] = 1.0
    asked = [
        lambda: scores.top(1),
        lambda: scores.greedy(1),
        lambda: scores.threshold(0.5),
        lambda: Circuit.from_edges(graph, ["m0->logits"]),
    ]
    for ask in asked:
        with pytest.warns(CircuitStoreWarning, match="left none of 1 edges") as message:
            assert ask().n_edges == 0
        assert message[0].filename == __file__
    assert greedy(scores, 1).n_edges == 0  # a size search does not warn
    assert scores.top(0).n_edges == 0


def test_members_of_another_graph_raise() -> None:
    with pytest.raises(InputError, match="members"):
        Circuit(ComputationGraph(1, 1), np.zeros(3, bool))


def test_scores_are_attached_and_removed() -> None:
    scores = make_discovery().scores
    assert scores is not None
    scored = scores.greedy(12)
    bare = replace(scored, score=None, std=None)
    assert list(bare.to_pandas()) == ["edge", "sender", "receiver", "port", "rank"]
    for again in (bare.scored(scores), Circuit.from_edges(scores.graph, bare.edges, scores)):
        assert again.edges == scored.edges
        assert np.array_equal(again.score, scores.mean) and np.array_equal(again.std, scores.std)
    pd.testing.assert_frame_equal(bare.scored(scores).to_pandas(), scored.to_pandas())
    with pytest.raises(InputError, match=r"scores: expected those of ComputationGraph.*4.*got those of .*1"):
        bare.scored(EdgeScores(ComputationGraph(1, 1), np.zeros(8)))


@given(circuits())
def test_nodes_are_those_of_the_edges_and_their_links(circuit: Circuit) -> None:
    ends = {end for e in circuit.to_pandas().itertuples() for end in (e.sender, e.receiver)}  # pyright: ignore[reportAttributeAccessIssue]
    assert set(circuit.nodes) == ends
    linked = {(a, b) for a, b in circuit.graph.structural_links if a in ends and b in ends}
    assert set(circuit.links) == linked


@given(circuits())
def test_ranks_count_the_members_in_extraction_order(circuit: Circuit) -> None:
    assert sorted(circuit.ranks[circuit.members]) == list(range(1, circuit.n_edges + 1))
    assert not circuit.ranks[~circuit.members].any()
    assert circuit.ranks[circuit.order].tolist() == list(range(1, circuit.n_edges + 1))


KINDS = ("feeds", "contains")


@given(circuits())
def test_networkx_has_every_edge_and_every_node_on_a_path(circuit: Circuit) -> None:
    graph = circuit.to_networkx()
    keys = {kind: {k for _, _, k, d in graph.edges(keys=True, data=True) if d["kind"] == kind} for kind in KINDS}
    assert keys == {"feeds": set(circuit.edges), "contains": {f"{a}->{b}" for a, b in circuit.links}}
    assert graph.number_of_edges() == circuit.n_edges + len(circuit.links)
    if circuit.n_edges:
        after = nx.descendants(graph, "input") | {"input"}
        before = nx.ancestors(graph, "logits") | {"logits"}
        assert set(graph) == after & before


EXITS = {
    "graphml": (nx.write_graphml, lambda file: nx.read_graphml(file, force_multigraph=True)),
    "gexf": (nx.write_gexf, nx.read_gexf),
    "gml": (nx.write_gml, nx.read_gml),
}


def assert_survives(graph: nx.MultiDiGraph, file: Path) -> None:
    """Assert that nodes and edges with their attributes round-trip through every format of networkx."""

    def content(of: nx.Graph) -> tuple[dict[str, dict], list[tuple]]:
        nodes = {str(n): {k: d[k] for k in ("kind", "layer", "head") if k in d} for n, d in of.nodes(data=True)}
        numbers = ("kind", "port", "rank", "score", "std", "frequency")
        edges = [(a, b, [(k, d[k]) for k in numbers if k in d]) for a, b, d in of.edges(data=True)]
        return nodes, sorted(edges)

    for name, (write, read) in EXITS.items():
        write(graph, file.with_suffix(f".{name}"))
        assert content(read(file.with_suffix(f".{name}"))) == content(graph)


@pytest.mark.parametrize("form", FORMS)
def test_graphs_survive_graphml_gexf_and_gml(tmp_path: Path, form: Form) -> None:
    discovery = make_discovery(item=make_item(form=form, n_layers=2, n_heads=2))
    scores, record = discovery.scores, make_record(discovery, 12)
    assert scores is not None
    single = EdgeScores(scores.graph, scores.mean)
    for result in (scores, single, scores.greedy(9), single.greedy(9), record, record.circuit, discovery):
        assert_survives(result.to_networkx(), tmp_path / "graph")
    bare = Circuit(scores.graph, record.circuit.members)
    assert_survives(bare.to_networkx(), tmp_path / "graph")
    assert_survives(Circuit(scores.graph, np.zeros(scores.graph.n_edges, bool)).to_networkx(), tmp_path / "graph")
    scored = dict(zip(record.to_pandas()["edge"], record.to_pandas()["score"], strict=True))
    edges = record.to_networkx().edges(keys=True, data=True)
    assert {k: d["score"] for _, _, k, d in edges if d["kind"] == "feeds"} == scored


def test_frames_survive_parquet(tmp_path: Path) -> None:
    graph = ComputationGraph(2, 2)
    scores = EdgeScores.from_images(graph, np.random.default_rng(0).normal(size=(3, graph.n_edges)).astype(np.float32))
    for result in (scores.top(0.5), scores):
        result.to_parquet(tmp_path / "frame.parquet")
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "frame.parquet"), result.to_pandas())
    assert list(scores.to_pandas()) == ["edge", "sender", "receiver", "score", "std"]
    assert list(scores.top(0.5).to_pandas()) == ["edge", "sender", "receiver", "port", "rank", "score", "std"]


def test_the_error_names_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    scores = EdgeScores(ComputationGraph(1, 1), np.arange(8, dtype=np.float32))
    for result in (scores, scores.top(8)):
        with pytest.raises(InputError, match=r"absent/frame\.parquet: cannot write \(No such file"):
            result.to_parquet(tmp_path / "absent" / "frame.parquet")


def test_notebooks_see_a_table() -> None:
    scores = EdgeScores(ComputationGraph(1, 1), np.arange(8, dtype=np.float32))
    assert "<table" in scores._repr_html_()
    assert "<table" in scores.top(8)._repr_html_()
