"""Counts, names, index order, projection and pruning of the computation graph."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from circuitstore.circuits import FORMS, ComputationGraph, Edge, Form
from circuitstore.errors import InputError
from hypothesis import given
from hypothesis import strategies as st

# Layers, heads; then senders and the edges of each form, in the order of FORMS, and the structural links.
SIZES = {
    "ViT-B": (12, 12, 157, (32_491, 11_611, 2_041, 325), 144),
    "ViT-L": (24, 16, 409, (231_877, 80_965, 10_225, 1_225), 384),
    "ViT-S": (12, 6, 85, (9_163, 3_475, 1_105, 325), 72),
    "DeiT-Ti": (12, 3, 49, (2_845, 1_189, 637, 325), 36),
    "ViT-H": (32, 16, 545, (415_793, 144_945, 17_985, 2_145), 512),
}

graphs = st.builds(ComputationGraph, st.integers(1, 3), st.integers(1, 3), st.sampled_from(FORMS))


@st.composite
def member_sets(draw: st.DrawFn) -> tuple[ComputationGraph, np.ndarray]:
    graph = draw(graphs)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return graph, rng.random(graph.n_edges) < draw(st.floats(0, 1))


@pytest.mark.parametrize("size", SIZES)
def test_counts_of_the_five_sizes(size: str) -> None:
    layers, heads, senders, edges, links = SIZES[size]
    graphs = [ComputationGraph(layers, heads, form) for form in FORMS]
    assert tuple(g.n_edges for g in graphs) == edges
    assert [g.n_senders for g in graphs] == [senders, senders, senders, 1 + 2 * layers]
    assert graphs[0].n_receivers == layers * (3 * heads + 1) + 1
    assert [len(g.structural_links) for g in graphs] == [0, 0, links, 0]
    aggregated = graphs[2].n_edges + links
    assert aggregated == {"ViT-B": 2_185, "ViT-L": 10_609, "ViT-S": 1_177, "DeiT-Ti": 673, "ViT-H": 18_497}[size]


@given(st.integers(1, 5), st.integers(1, 5))
def test_counts_follow_the_formulas(layers: int, heads: int) -> None:
    before = [1 + (heads + 1) * layer for layer in range(layers + 1)]

    def count(reads: int) -> int:
        return sum(reads * n + (n + heads) for n in before[:-1]) + before[-1]

    expected: dict[Form, int] = {
        "split": count(3 * heads),
        "head": count(heads),
        "attention": count(1),
        "block": (layers + 1) * (2 * layers + 1),
    }
    for form, edges in expected.items():
        graph = ComputationGraph(layers, heads, form)
        assert graph.n_edges == edges == len(graph.edge_names) == len(set(graph.edge_names))


@given(st.integers(1, 4), st.integers(1, 4))
def test_index_order_of_senders(layers: int, heads: int) -> None:
    for form in ("split", "head", "attention"):
        senders = ComputationGraph(layers, heads, form).senders
        assert senders[0] == "input"
        for layer in range(layers):
            base = 1 + layer * (heads + 1)
            assert senders[base + heads] == f"m{layer}"
            assert senders[base : base + heads] == tuple(f"a{layer}.h{h}" for h in range(heads))
    block = ComputationGraph(layers, heads, "block").senders
    assert block[0] == "input"
    for layer in range(layers):
        assert block[1 + 2 * layer : 3 + 2 * layer] == (f"a{layer}", f"m{layer}")


@given(st.integers(1, 4), st.integers(1, 4))
def test_index_order_of_receivers(layers: int, heads: int) -> None:
    split, head, attention, block = (ComputationGraph(layers, heads, form).receivers for form in FORMS)
    for layer in range(layers):
        for h in range(heads):
            for x in "qkv":
                assert split[layer * (3 * heads + 1) + "qkv".index(x) * heads + h] == f"a{layer}.h{h}<{x}>"
            assert head[layer * (heads + 1) + h] == f"a{layer}.h{h}"
        assert split[layer * (3 * heads + 1) + 3 * heads] == f"m{layer}"
        assert head[layer * (heads + 1) + heads] == f"m{layer}"
        assert attention[2 * layer : 2 * layer + 2] == (f"a{layer}.in", f"m{layer}")
        assert block[2 * layer : 2 * layer + 2] == (f"a{layer}", f"m{layer}")
    assert {split[-1], head[-1], attention[-1], block[-1]} == {"logits"}


@given(graphs)
def test_flat_order_is_by_receiver_then_by_sender(graph: ComputationGraph) -> None:
    key = graph.edge_receiver * graph.n_senders + graph.edge_sender
    assert (np.diff(key) > 0).all()
    # every receiver reads exactly the senders before its node
    for receiver, node in enumerate(graph.receiver_node):
        earlier = {int(graph.edge_sender[i]) for i in np.flatnonzero(graph.edge_receiver == receiver)}
        assert earlier == {s for s, n in enumerate(graph.sender_node) if _layer_order(graph, n, node)}


def _layer_order(graph: ComputationGraph, sender: int, receiver: int) -> bool:
    """Return whether the sender writes before the receiver reads, from layer and kind only."""

    def time(node: int) -> float:
        c = graph.components[node]
        match c.kind:
            case "input":
                return -1
            case "logits":
                return 1e9
            case "mlp":
                return (c.layer or 0) + 0.5
            case _:
                return c.layer or 0

    return time(sender) < time(receiver)


def test_a_graph_written_out_by_hand() -> None:
    assert ComputationGraph(1, 2, "split").edge_names == (
        *("input->a0.h0<q>", "input->a0.h1<q>", "input->a0.h0<k>", "input->a0.h1<k>", "input->a0.h0<v>"),
        *("input->a0.h1<v>", "input->m0", "a0.h0->m0", "a0.h1->m0"),
        *("input->logits", "a0.h0->logits", "a0.h1->logits", "m0->logits"),
    )
    attention = ComputationGraph(1, 2, "attention")
    assert attention.edge_names[:2] == ("input->a0.in", "input->m0")
    assert attention.structural_links == (("a0.in", "a0.h0"), ("a0.in", "a0.h1"))
    assert ComputationGraph(1, 1, "block").edge(0) == Edge("input", "a0")


@given(graphs, st.data())
def test_names_and_indices_are_inverse(graph: ComputationGraph, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, graph.n_edges - 1))
    name = graph.edge_names[index]
    assert graph.index_of(name) == index
    assert graph.edge(index).name == name


def test_the_error_for_an_unknown_edge_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"a0\.h0->m0"):
        ComputationGraph(2, 2).index_of("a0.h0->m00")


@pytest.mark.parametrize(("layers", "heads", "form"), [(0, 1, "split"), (1, 0, "split"), (1, 1, "splitt")])
def test_impossible_graphs_raise(layers: int, heads: int, form: Form) -> None:
    with pytest.raises(InputError):
        ComputationGraph(layers, heads, form)


@given(graphs)
def test_matrix_holds_the_flat_values_where_edges_are(graph: ComputationGraph) -> None:
    matrix = graph.to_matrix(np.arange(1, graph.n_edges + 1))
    assert matrix.shape == (graph.n_senders, graph.n_receivers)
    assert np.count_nonzero(matrix) == graph.n_edges
    assert (matrix[graph.edge_sender, graph.edge_receiver] == np.arange(1, graph.n_edges + 1)).all()


@given(st.integers(1, 3), st.integers(1, 3), st.sampled_from(FORMS), st.sampled_from(FORMS))
def test_projection_follows_the_names(layers: int, heads: int, fine: Form, coarse: Form) -> None:
    graph, target = ComputationGraph(layers, heads, fine), ComputationGraph(layers, heads, coarse)
    if FORMS.index(coarse) < FORMS.index(fine):
        with pytest.raises(InputError, match="finer"):
            graph.projection(coarse)
        return
    index = graph.projection(coarse)
    assert set(index) == set(range(target.n_edges))
    for i, j in enumerate(index):
        edge, image = graph.edge(i), target.edge(int(j))
        assert image.sender == _coarse_name(edge.sender, coarse, sending=True)
        assert image.receiver == _coarse_name(edge.receiver, coarse, sending=False)


def _coarse_name(name: str, form: Form, *, sending: bool) -> str:
    if not name.startswith("a"):
        return name
    layer = name.split(".")[0]
    if form == "block":
        return layer
    return f"{layer}.in" if form == "attention" and not sending else name


def naive_prune(graph: ComputationGraph, members: np.ndarray) -> np.ndarray:
    """EAP-IG's `prune`, literally: drop nodes without incoming or outgoing edges until nothing changes."""
    edges = {name: (graph.edge(i).sender, graph.edge(i).receiver) for i, name in enumerate(graph.edge_names)}
    kept = {name for i, name in enumerate(graph.edge_names) if members[i]}
    links = set(graph.structural_links)
    nodes = set(graph.node_names)
    while True:
        pairs = {edges[name] for name in kept} | links
        sending, receiving = {a for a, _ in pairs}, {b for _, b in pairs}
        left = {n for n in nodes if (n == "input" or n in receiving) and (n == "logits" or n in sending)}
        if left == nodes:
            return np.array([name in kept for name in graph.edge_names])
        nodes = left
        kept = {name for name in kept if nodes.issuperset(edges[name])}
        links = {link for link in links if nodes.issuperset(link)}


@given(member_sets())
def test_prune_is_the_naive_fixed_point(case: tuple[ComputationGraph, np.ndarray]) -> None:
    graph, members = case
    pruned = graph.prune(members)
    assert (pruned == naive_prune(graph, members)).all()
    assert (graph.prune(pruned) == pruned).all()
    assert not (pruned & ~members).any()


@given(member_sets())
def test_prune_keeps_exactly_the_edges_on_paths(case: tuple[ComputationGraph, np.ndarray]) -> None:
    graph, members = case
    on_paths: set[tuple[str, str]] = set()

    def walk(path: tuple[str, ...]) -> None:
        if path[-1] == "logits":
            on_paths.update(pairwise(path))
        for a, b in pairs:
            if a == path[-1]:
                walk((*path, b))

    if graph.n_layers > 2 or graph.n_heads > 2:  # all paths are listed: small graphs only
        return
    pairs = {(graph.edge(i).sender, graph.edge(i).receiver) for i in np.flatnonzero(members)}
    pairs |= set(graph.structural_links)
    walk(("input",))
    expected = [m and (graph.edge(i).sender, graph.edge(i).receiver) in on_paths for i, m in enumerate(members)]
    assert graph.prune(members).tolist() == expected


def test_structural_links_carry_a_path() -> None:
    graph = ComputationGraph(2, 2, "attention")
    members = np.zeros(graph.n_edges, bool)
    for name in ("input->a0.in", "a0.h1->a1.in", "a1.h0->logits", "a0.h0->m1"):
        members[graph.index_of(name)] = True
    pruned = graph.prune(members)
    assert [graph.edge_names[i] for i in np.flatnonzero(pruned)] == ["input->a0.in", "a0.h1->a1.in", "a1.h0->logits"]
