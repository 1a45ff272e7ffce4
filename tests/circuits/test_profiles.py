"""Usage profiles count every edge once per role; their distance is a metric, also between depths."""

from __future__ import annotations

import numpy as np
import pytest
from circuitstore.circuits import FORMS, Circuit, ComputationGraph, EdgeScores, top, usage_distance, usage_profile
from circuitstore.errors import NotComparable
from hypothesis import given
from hypothesis import strategies as st


@st.composite
def circuits(draw: st.DrawFn, form: str | None = None) -> Circuit:
    graph = ComputationGraph(
        draw(st.integers(1, 5)),
        draw(st.integers(1, 3)),
        form or draw(st.sampled_from(FORMS)),  # pyright: ignore[reportArgumentType]
    )
    scores = np.random.default_rng(draw(st.integers(0, 2**32))).normal(size=graph.n_edges)
    return top(EdgeScores(graph, scores), draw(st.integers(1, graph.n_edges)))


def distances(a: Circuit, b: Circuit) -> dict[str, float]:
    frame = usage_distance(a, b).to_pandas()
    return dict(zip(frame["role"], frame["distance"], strict=True))


@given(circuits())
def test_every_edge_and_node_is_counted_once(circuit: Circuit) -> None:
    frame = usage_profile(circuit).to_pandas()
    universe, nodes = circuit.universe, {c.name: c for c in circuit.universe.components}
    by_role = frame.groupby("role")[["kept", "possible", "share"]].sum()
    for role in ("sender", "receiver"):
        assert by_role.loc[role, ["kept", "possible"]].tolist() == [circuit.n_edges, universe.n_edges]
    assert by_role.loc["node", ["kept", "possible"]].tolist() == [circuit.n_nodes, len(nodes)]
    assert by_role["share"].to_numpy() == pytest.approx(1.0 if circuit.n_edges else 0.0)
    assert not frame.duplicated(["role", "kind", "layer"]).any()
    for row in frame[frame["role"] == "receiver"].to_dict("records"):
        ends = [nodes[universe.edge(universe.edge_index[name]).receiver] for name in circuit.edges]
        here = [c for c in ends if c.kind == row["kind"] and (c.layer == row["layer"] if c.layer is not None else True)]
        assert len(here) == row["kept"]


@given(st.sampled_from(FORMS).flatmap(lambda form: st.tuples(*[circuits(form)] * 3)))
def test_the_distance_is_a_metric_within_a_depth_and_symmetric_between_depths(of: tuple[Circuit, ...]) -> None:
    a, b, c = (circuit for circuit in of)
    if not (a.n_edges and b.n_edges and c.n_edges):
        assert all(np.isnan(d) for d in distances(a, b).values()) or (a.n_edges and b.n_edges)
        return
    ab, ba, bc, ac = distances(a, b), distances(b, a), distances(b, c), distances(a, c)
    assert ab == pytest.approx(ba)
    assert all(0 <= d <= 1 + 1e-9 for d in ab.values())
    assert distances(a, a) == dict.fromkeys(ab, 0.0)
    if len({of_one.graph.n_layers for of_one in of}) == 1:
        assert all(ac[role] <= ab[role] + bc[role] + 1e-9 for role in ac)


def test_two_circuits_with_nothing_in_common_have_distance_one() -> None:
    graph = ComputationGraph(2, 1, "block")
    first = Circuit.from_edges(graph, ["input->a0", "a0->m1", "m1->logits"])
    second = Circuit.from_edges(graph, ["input->m0", "m0->a1", "a1->logits"])
    found = distances(first, second)
    assert found["sender"] == pytest.approx(2 / 3)  # both have one edge from input
    assert found["receiver"] == pytest.approx(2 / 3)
    assert found["node"] == pytest.approx(1 / 2)


def test_layers_of_a_deeper_model_are_those_parts_of_the_depth() -> None:
    """Two blocks of the deeper model are one of the shallower: only the kinds and halves are compared."""
    shallow = Circuit.from_edges(ComputationGraph(1, 1, "block"), ["input->m0", "m0->logits"])
    deep = Circuit.from_edges(ComputationGraph(2, 2, "block"), ["input->m1", "m1->logits"])
    assert distances(shallow, deep) == pytest.approx(dict.fromkeys(("sender", "receiver", "node"), 0.0))
    table = usage_distance(shallow, deep)
    assert table.facts["compared"] == "kind of component and depth in 1 parts (of 1 and 2 layers)"
    assert usage_distance(deep, deep).facts["compared"] == "kind of component and layer"


def test_three_layers_overlap_two_halves() -> None:
    """The middle one of three layers counts half for each half."""
    three = Circuit.from_edges(ComputationGraph(3, 1, "block"), ["input->m1", "m1->logits"])
    two = Circuit.from_edges(ComputationGraph(2, 1, "block"), ["input->m0", "m0->logits"])
    assert distances(two, three)["receiver"] == pytest.approx(0.5 * 0.5)  # of the two edges, half of one


def test_other_kinds_and_empty_circuits_have_no_distance() -> None:
    a = Circuit.from_edges(ComputationGraph(1, 1, "block"), ["input->m0", "m0->logits"])
    with pytest.raises(NotComparable, match="different kinds of components"):
        usage_distance(a, Circuit.from_edges(ComputationGraph(1, 1), []))
    empty = Circuit.from_edges(a.universe, [])  # pyright: ignore[reportArgumentType]
    assert all(np.isnan(d) for d in distances(a, empty).values())
    assert usage_profile(empty).to_pandas()["share"].sum() == 0
