"""Drawings: order from left to right, widths by score, only the members."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from circuitstore.circuits import FORMS, Circuit, ComputationGraph, random_circuit
from circuitstore.circuits.drawing import strongest
from circuitstore.circuits.layout import NODE, PORT_OFFSET, Layout, curves
from circuitstore.circuits.strokes import OWN, SHARED, _figure, edge_colour, edge_width
from circuitstore.errors import InputError
from circuitstore.testing.factories import make_discovery, make_item, make_record
from hypothesis import given
from hypothesis import strategies as st

SVG = "{http://www.w3.org/2000/svg}"
graphs = st.builds(ComputationGraph, st.integers(1, 4), st.integers(1, 5), st.sampled_from(FORMS))


@st.composite
def drawn(draw) -> tuple[Circuit, np.ndarray]:
    """A random connected circuit with scores of both signs."""
    graph = draw(graphs)
    circuit = random_circuit(graph, draw(st.integers(1, graph.n_edges)), seed=draw(st.integers(0, 99)))
    return circuit, np.random.default_rng(draw(st.integers(0, 99))).normal(size=graph.n_edges)


def edges_of(svg: str) -> list[tuple[str, float, str]]:
    """Return name, width and colour of each drawn edge, back to front."""
    found = []
    for path in ET.fromstring(svg).iter(f"{SVG}path"):
        title = path.findtext(f"{SVG}title") or ""
        if "->" in title:
            found.append((title.split()[0].rstrip(","), float(path.get("stroke-width", "0")), path.get("stroke", "")))
    return found


def boxes_of(svg: str) -> dict[str, float]:
    """Return name and left side of each node of the circuit."""
    boxes = ET.fromstring(svg).iter(f"{SVG}rect")
    return {title: float(box.get("x", "nan")) for box in boxes if (title := box.findtext(f"{SVG}title"))}


def texts_of(svg: str) -> list[str]:
    """Return the lines of text."""
    return [text.text or "" for text in ET.fromstring(svg).iter(f"{SVG}text")]


def words_of(svg: str) -> str:
    """Return all text, whatever its line breaks."""
    return " ".join(texts_of(svg))


@given(graphs)
def test_every_edge_and_every_link_runs_to_the_right(graph):
    x = Layout(graph).x
    assert (x[graph.sender_node[graph.edge_sender]] < x[graph.receiver_node[graph.edge_receiver]]).all()
    for above, below in graph.structural_links:
        assert x[graph.node_index[above]] < x[graph.node_index[below]]


@given(graphs)
def test_curves_lead_from_the_right_of_senders_to_the_ports_of_receivers(graph):
    layout, edges = Layout(graph), graph.edges
    found = curves(layout, edges.sender, edges.receiver, edges.port)
    assert np.allclose(found.x0, layout.x[edges.sender] + NODE[0] / 2)
    assert np.allclose(found.x1, layout.x[edges.receiver] - NODE[0] / 2)
    assert np.allclose(found.y0, layout.y[edges.sender])
    assert np.allclose(found.y1 - layout.y[edges.receiver], [PORT_OFFSET[port] for port in edges.port])
    assert (found.reach > 0).all()
    neighbours = layout.columns[edges.receiver] - layout.columns[edges.sender] == 1
    assert (found.bow[neighbours] == 0).all()  # nothing is in between that they could cross


@given(graphs)
def test_the_band_of_a_layer_has_its_nodes_and_no_others(graph):
    layout = Layout(graph)
    for layer, left, right in layout.bands:
        inside = {c.name for c, x in zip(graph.components, layout.x, strict=True) if left < x < right}
        assert inside == {c.name for c in graph.components if c.layer == layer}


@given(graphs)
def test_nodes_do_not_overlap(graph):
    layout = Layout(graph)
    places = np.stack([layout.x, layout.y], axis=1)
    apart = np.abs(places[:, None] - places[None])
    clash = (apart[..., 0] < 36) & (apart[..., 1] < 24)
    assert clash.sum() == len(places)


@given(drawn())
def test_the_drawn_edges_are_the_members_and_the_nodes_those_of_the_circuit(case):
    circuit, values = case
    svg = circuit.draw(values, max_edges=circuit.n_edges).svg
    assert sorted(name for name, _, _ in edges_of(svg)) == sorted(circuit.edges)
    boxes = boxes_of(svg)
    assert set(boxes) == set(circuit.nodes)
    assert all(boxes["input"] <= x <= boxes["logits"] for x in boxes.values())


@given(drawn(), st.integers(1, 20))
def test_the_strongest_edges_are_drawn_and_the_others_counted(case, max_edges):
    circuit, values = case
    svg = circuit.draw(values, max_edges=max_edges).svg
    names = [name for name, _, _ in edges_of(svg)]
    assert len(names) == min(max_edges, circuit.n_edges)
    shown = {circuit.graph.edge_index[name] for name in names}
    left_out = set(np.flatnonzero(circuit.members)) - shown
    assert max((abs(values[i]) for i in left_out), default=0) <= min(abs(values[i]) for i in shown)
    assert (f"{len(left_out)} weaker edges are left out" in words_of(svg)) == bool(left_out)


@given(drawn())
def test_width_grows_with_the_magnitude_and_the_sign_decides_the_hue(case):
    circuit, values = case
    drawn_edges = edges_of(circuit.draw(values, max_edges=circuit.n_edges).svg)
    strength = [abs(values[circuit.graph.edge_index[name]]) for name, _, _ in drawn_edges]
    assert strength == sorted(strength)  # strong edges are on top
    widths = [width for _, width, _ in drawn_edges]
    assert widths == sorted(widths)
    for name, _, colour in drawn_edges:
        red, blue = int(colour[1:3], 16), int(colour[5:7], 16)
        assert (blue > red) == (values[circuit.graph.edge_index[name]] > 0)


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_width_is_monotone_in_the_magnitude(a, b, scale):
    if abs(a) <= abs(b):
        assert edge_width(a, scale) <= edge_width(b, scale)
    assert edge_width(a, scale) == edge_width(-a, scale)
    assert re.fullmatch("#[0-9a-f]{6}", edge_colour(a, scale))


def test_a_common_scale_makes_widths_comparable():
    graph = ComputationGraph(1, 2)
    circuit = Circuit.from_edges(graph, ["m0->logits", "input->m0"])
    values = np.full(graph.n_edges, 0.5)
    alone, shared = (edges_of(circuit.draw(values, scale=s).svg) for s in (None, 1.0))
    assert alone[0][1] > shared[0][1] == pytest.approx(edge_width(0.5, 1.0), abs=0.01)


def test_parallel_edges_into_a_head_end_at_different_places():
    graph = ComputationGraph(1, 2)
    names = [f"input->a0.h1<{p}>" for p in "qkv"]
    circuit = Circuit.from_edges(graph, [*names, "a0.h1->logits"])
    svg = circuit.draw(np.ones(graph.n_edges)).svg
    paths = {str(p.findtext(f"{SVG}title")).split(" ")[0]: p.get("d") for p in ET.fromstring(svg).iter(f"{SVG}path")}
    ends = [float(str(paths[name]).split()[-1]) for name in names]
    assert ends == sorted(ends)
    assert len(set(ends)) == 3


def test_attention_form_shows_its_links_dashed_and_only_those_of_the_circuit():
    graph = ComputationGraph(2, 3, "attention")
    circuit = Circuit.from_edges(graph, ["input->a0.in", "a0.h2->logits", "input->m1", "m1->logits"])
    svg = circuit.draw().svg
    dashed = [p.findtext(f"{SVG}title") for p in ET.fromstring(svg).iter(f"{SVG}path") if p.get("stroke-dasharray")]
    assert dashed == [f"{above} contains {below}" for above, below in circuit.links]
    assert set(boxes_of(svg)) == set(circuit.nodes) == {"input", "a0.in", "a0.h2", "m1", "logits"}
    assert "dashed" in svg


def test_a_circuit_draws_its_own_scores_and_one_without_scores_in_one_colour():
    discovery = make_discovery(item=make_item(n_layers=2, n_heads=2))
    assert discovery.scores is not None
    circuit = discovery.scores.greedy(15)
    own = edges_of(circuit.draw().svg)
    assert own == edges_of(circuit.draw(discovery.scores.mean).svg)
    plain = edges_of(replace(circuit, score=None, std=None).draw().svg)
    assert {e[0] for e in plain} == {e[0] for e in own}
    assert len({e[1:] for e in plain}) == 1


def test_without_values_the_first_extracted_are_drawn():
    graph = ComputationGraph(2, 2)
    order = np.array([graph.index_of(n) for n in ("input->logits", "m1->logits", "input->m1")])
    circuit = Circuit.pruned(graph, order, size_requested=3)
    assert set(strongest(circuit, None, 1)) == {order[0]}


def test_an_empty_circuit_is_drawn_as_faint_nodes():
    graph = ComputationGraph(2, 2)
    svg = Circuit(graph, np.zeros(graph.n_edges, bool)).draw(np.zeros(graph.n_edges)).svg
    assert not edges_of(svg)
    assert not boxes_of(svg)
    assert "0 of" in svg


def test_the_drawing_has_a_text_alternative_and_escapes_labels():
    graph = ComputationGraph(1, 1)
    circuit = Circuit.from_edges(graph, ["input->logits"])
    root = ET.fromstring(circuit.draw(np.ones(graph.n_edges), label='<b>"cat"', key="<i>&").svg)
    assert root.get("role") == "img"
    label = str(root.get("aria-label"))
    assert label.startswith('<b>"cat": circuit of 1 of')
    assert "input->logits" in label
    assert "<i>&" in [t.text for t in root.iter(f"{SVG}text")]


scales = st.floats(-9, 9).map(lambda power: 10.0**power)


@given(graphs, scales, st.booleans())
def test_texts_of_the_caption_do_not_overlap_or_leave_the_drawing(graph, scale, both):
    """Line widths are those of a common font."""
    values = np.full(graph.n_edges, scale)
    if both:
        values[::2] *= -1
    root = ET.fromstring(Circuit(graph, np.ones(graph.n_edges, bool)).draw(values, max_edges=9).svg)
    _, _, width, height = map(float, str(root.get("viewBox")).split())
    foot = Layout(graph).body
    spans: list[tuple[float, float, float]] = []  # line, from, to
    for text in root.iter(f"{SVG}text"):
        if float(text.get("y", 0)) > foot:
            x, y = float(text.get("x", 0)), float(text.get("y", 0))
            spans.append((y - 4, x, x + 6 * len(text.text or "")))
    for path in root.iter(f"{SVG}path"):
        if stroke := re.fullmatch(r"M(\d+) (\d+)h26", str(path.get("d"))):
            spans.append((float(stroke[2]), float(stroke[1]), float(stroke[1]) + 26))
    assert len(spans) >= 4
    assert all(x > 0 and end <= width and line + 4 < height for line, x, end in spans)
    for (line, _, end), (other, x, _) in pairwise(sorted(spans)):
        assert other > line or x >= end + 4


@pytest.mark.parametrize(
    ("value", "text"), [(0.36, "+0.36"), (-170, "-170"), (1.7e-12, "+1.7e-12"), (-2.5e6, "-2.5e+06"), (99.9, "+1e+02")]
)
def test_the_key_shows_values_in_few_digits(value, text):
    assert _figure(value) == text


@given(drawn(), st.integers(0, 99), st.booleans())
def test_shared_edges_have_another_colour_and_are_counted(case, seed, scored):
    circuit, values = case
    other = random_circuit(circuit.graph, circuit.n_edges, seed=seed).members
    svg = circuit.draw(values if scored else None, max_edges=circuit.n_edges, shared=other).svg
    colours = {name: colour for name, _, colour in edges_of(svg)}
    names = circuit.graph.edge_names
    expected = {names[i]: SHARED if other[i] else OWN for i in np.flatnonzero(circuit.members)}
    assert colours == expected
    both = int((circuit.members & other).sum())
    assert {f"{both} shared", f"{circuit.n_edges - both} not shared"} <= set(texts_of(svg))


def test_shared_has_a_truth_value_per_edge():
    circuit = Circuit.from_edges(ComputationGraph(1, 1), ["input->m0", "m0->logits"])
    with pytest.raises(InputError, match="shared: expected 8 truth values"):
        circuit.draw(shared=np.zeros(3, bool))


@pytest.mark.parametrize(
    ("values", "samples"),
    [([1, 1], ["+1"]), ([2, -1], ["-2", "-1", "+1", "+2"]), ([9, 1], ["+3", "+9"]), ([0.5, 0.25], ["+0.15", "+0.5"])],
)
def test_samples_of_numbers_of_classes_are_whole(values, samples):
    graph = ComputationGraph(1, 1)
    circuit = Circuit.from_edges(graph, ["input->m0", "m0->logits"])
    every = np.zeros(graph.n_edges)
    every[circuit.members] = values
    assert [text for text in texts_of(circuit.draw(every).svg) if re.fullmatch(r"[+-][\d.]+", text)] == samples


def test_a_drawing_renders_in_a_notebook_and_is_saved(tmp_path):
    circuit = Circuit.from_edges(ComputationGraph(1, 1), ["input->m0", "m0->logits"])
    drawing = circuit.draw()
    assert circuit._repr_svg_() == drawing._repr_svg_() == drawing.svg == str(drawing)
    assert drawing.svg in circuit._repr_html_()  # a notebook prefers this one
    drawing.save(tmp_path / "x.svg")
    assert ET.parse(tmp_path / "x.svg").getroot().tag == f"{SVG}svg"
    with pytest.raises(InputError, match="cannot write"):
        drawing.save(tmp_path / "absent" / "x.svg")


@pytest.mark.parametrize("values", [np.ones(3), np.full(8, np.nan), np.ones((1, 8))], ids=str)
def test_values_are_one_number_per_edge_and_finite_within_the_circuit(values, unchecked):
    with pytest.raises(InputError, match="expected 8 numbers, one per edge of the graph, finite within"):
        Circuit.from_edges(ComputationGraph(1, 1), ["input->logits"]).draw(values)


def test_values_may_be_unknown_outside_the_circuit():
    graph = ComputationGraph(1, 1)
    circuit = Circuit.from_edges(graph, ["input->logits"])
    known = np.where(circuit.members, 0.5, 0.0)
    assert circuit.draw(np.where(circuit.members, 0.5, np.nan)) == circuit.draw(known)


def test_a_record_draws_its_circuit_by_its_scores():
    record = make_record(make_discovery(item=make_item(n_layers=2, n_heads=2)), 15)
    assert record.circuit.score is not None
    drawn = record.draw(max_edges=5)
    assert drawn == record.circuit.draw(record.circuit.score, label=record.item.text, max_edges=5)
    assert record._repr_svg_() == record.draw().svg
    assert record.draw().svg in record._repr_html_()
    assert str(ET.fromstring(drawn.svg).get("aria-label")).startswith(record.item.text)
