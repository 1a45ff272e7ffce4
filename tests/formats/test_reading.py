"""Files of other tools are read as the circuits that these tools mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from circuitstore.circuits import ComputationGraph
from circuitstore.errors import InputError
from circuitstore.formats import FORMATS, FileCircuit, read_circuit

from . import peer_files as peers
from .peer_files import GRAPH, MEMBERS, SCORES, torch_file

SCORED = {
    "eap-ig": lambda: json.dumps(peers.eap_ig()).encode(),
    "eap-ig-pt": lambda: torch_file(peers.eap_ig_pt()),
    "auto-circuit": lambda: torch_file(peers.auto_circuit()),
}
SELECTING = {
    "eap-ig": SCORED["eap-ig"],
    "eap-ig-pt": SCORED["eap-ig-pt"],
    "edge-pruning": lambda: json.dumps(peers.edge_pruning()).encode(),
    "acdc": lambda: torch_file(peers.acdc()),
}


def read(format: str, data: bytes, graph: ComputationGraph = GRAPH) -> FileCircuit:
    kind = FORMATS[format]
    assert kind.read is not None
    return kind.read(data, graph)


def edges(found: FileCircuit) -> set[str]:
    assert found.members is not None
    return {found.graph.edge_names[i] for i in np.flatnonzero(found.members)}


def test_every_format_that_is_read_is_tested() -> None:
    assert {key for key, kind in FORMATS.items() if kind.read is not None} == {*SCORED, *SELECTING}


@pytest.mark.parametrize("format", SCORED)
@pytest.mark.parametrize("form", ["split", "block"])
def test_scores_are_those_of_the_named_edges(format: str, form: Any) -> None:
    found = read(format, SCORED[format](), ComputationGraph(1, 1, form))
    assert found.graph == GRAPH and not found.ours and found.scores is not None
    assert dict(zip(GRAPH.edge_names, found.scores.tolist(), strict=True)) == SCORES


@pytest.mark.parametrize("format", SELECTING)
def test_members_are_the_named_edges(format: str) -> None:
    assert edges(read(format, SELECTING[format]())) == set(MEMBERS)


def test_scores_of_a_model_with_several_layers_and_heads_are_in_the_order_of_its_modules() -> None:
    graph = ComputationGraph(2, 3)
    rng, table, expected = np.random.default_rng(0), {}, np.zeros(graph.n_edges)
    for layer in range(2):
        before = 1 + 4 * layer
        for port in "qkv":
            table[f"blocks.{layer}.hook_{port}_input"] = values = torch.tensor(rng.normal(size=(3, before)))
            for head in range(3):
                for sender in range(before):
                    edge = f"{graph.senders[sender]}->a{layer}.h{head}<{port}>"
                    expected[graph.index_of(edge)] = values[head, sender]
        table[f"blocks.{layer}.hook_mlp_in"] = values = torch.tensor(rng.normal(size=before + 3))
        for sender in range(before + 3):
            expected[graph.index_of(f"{graph.senders[sender]}->m{layer}")] = values[sender]
    table["blocks.1.hook_resid_post"] = values = torch.tensor(rng.normal(size=9))
    for sender in range(9):
        expected[graph.index_of(f"{graph.senders[sender]}->logits")] = values[sender]
    found = read("auto-circuit", torch_file({"task": {"algorithm": table}}), graph)
    assert found.scores is not None and np.array_equal(found.scores, expected)


def test_scores_with_one_input_per_head_are_of_the_head_form() -> None:
    table = {"blocks.0.hook_attn_in": torch.tensor([[1.0], [2.0]]), "blocks.0.hook_mlp_in": torch.zeros(3)}
    table |= {"blocks.0.hook_resid_post": torch.tensor([0.0, 0.0, 0.0, 3.0])}
    found = read("auto-circuit", torch_file(table), ComputationGraph(1, 2))
    assert found.graph.form == "head" and found.scores is not None
    by_name = dict(zip(found.graph.edge_names, found.scores.tolist(), strict=True))
    assert {name: score for name, score in by_name.items() if score} == {
        "input->a0.h0": 1.0,
        "input->a0.h1": 2.0,
        "m0->logits": 3.0,
    }


def test_edges_of_nodes_outside_the_circuit_are_left_out() -> None:
    content = peers.eap_ig()
    content["edges"]["input->m0"]["in_graph"] = True
    found = read("eap-ig", json.dumps(content).encode())
    assert edges(found) == set(MEMBERS)
    assert found.notes == ("1 edges of nodes that are not in the circuit are left out",)


def test_a_file_without_scores_has_none() -> None:
    content = peers.eap_ig()
    content["edges"] = {name: {"in_graph": edge["in_graph"]} for name, edge in content["edges"].items()}
    assert read("eap-ig", json.dumps(content).encode()).scores is None
    content["edges"] = {name: {"score": 0.0, **edge} for name, edge in content["edges"].items()}
    assert read("eap-ig", json.dumps(content).encode()).scores is None


def test_without_edges_of_the_embeddings_all_of_them_are_kept() -> None:
    found = read("edge-pruning", b'[["a0.h0", "resid_post"]]')
    assert edges(found) == {name for name in GRAPH.edge_names if name.startswith("input")} | {"a0.h0->logits"}
    assert "without -w" in found.notes[0]


CASES = {
    "a JSON list": ("eap-ig", b"[]", "expected a table with the key 'cfg'"),
    "cut off": ("eap-ig", b'{"cfg": {', "not valid JSON"),
    "deep": ("eap-ig", b"[" * 100_000, "nested"),
    "other bytes": ("eap-ig", b"\xff\xfe\x00", "expected JSON in UTF-8"),
    "a pickle": ("eap-ig-pt", b"cos\nsystem\n(S'true'\ntR.", "needs code to load|not a readable torch file"),
    "no dict": ("eap-ig-pt", torch_file([1]), "expected a table"),
    "no keys": ("eap-ig-pt", torch_file({}), "the keys cfg, .* are missing"),
    "a module": ("auto-circuit", torch_file({"m": torch.nn.Linear(1, 1)}), "needs code to load .*Linear"),
    "complex": (
        "auto-circuit",
        torch_file({"blocks.0.hook_mlp_in": torch.zeros(2, dtype=torch.cfloat)}),
        "real numbers",
    ),
    "a wide view": ("auto-circuit", torch_file({"blocks.0.hook_mlp_in": torch.zeros(1).expand(2)}), None),
    "an unknown module": ("auto-circuit", torch_file({"blocks.9.hook_mlp_in": torch.zeros(2)}), "unknown module"),
    "two sets": ("auto-circuit", torch_file({"a": {}, "b": {}}), "several sets of scores: a, b"),
    "by token": (
        "auto-circuit",
        torch_file(peers.auto_circuit() | {"blocks.0.hook_mlp_in": torch.zeros(5, 2)}),
        "sum them over the first axis",
    ),
    "a receiver is missing": (
        "auto-circuit",
        torch_file({k: v for k, v in peers.auto_circuit().items() if "mlp" not in k}),
        "scores of m0 are missing",
    ),
    "no pair": ("edge-pruning", b'[["a"]]', r"edge 0 .* expected a pair of names"),
    "no edge": ("edge-pruning", b'[["m0", "a0.h0.q"]]', r"unknown edge of the split form 'm0->a0.h0<q>'"),
    "a text key": ("acdc", torch_file({"a": True}), r"expected \(receiver, index, sender, index\)"),
    "an inner layer": (
        "acdc",
        torch_file({("blocks.7.hook_resid_post", (None,), "hook_embed", (None,)): True}),
        "expected the last layer, 0",
    ),
    "no head": (
        "acdc",
        torch_file({("blocks.0.hook_q_input", (None,), "hook_embed", (None,)): True}),
        r"expected an index \(None, None, HEAD\)",
    ),
}


@pytest.mark.parametrize("case", [name for name, (_, _, message) in CASES.items() if message])
def test_a_file_that_cannot_be_read_raises_one_error(case: str, tmp_path: Path) -> None:
    format, data, message = CASES[case]
    file = tmp_path / "file.bin"
    file.write_bytes(data)
    with pytest.raises(InputError, match=message) as error:
        read_circuit(file, format, GRAPH)
    assert str(error.value).startswith(f"{file}: ")


CHANGES = {
    "another model": (lambda c: c["cfg"].update(n_layers=2), "expected those of the model, 1 and 1, got 2 and 1"),
    "parallel": (lambda c: c["cfg"].update(parallel_attn_mlp=True), "parallel_attn_mlp: expected false"),
    "an unknown edge": (lambda c: c["edges"].update({"m0->a0.h0<q>": {}}), "unknown edge of the split form"),
    "an unknown node": (lambda c: c["nodes"].update({"m1": {"in_graph": True}}), "nodes: unknown node 'm1'"),
    "no truth": (lambda c: c["edges"]["m0->logits"].update(in_graph="yes"), "m0->logits: in_graph: expected true or"),
    "no number": (lambda c: c["edges"]["m0->logits"].update(score="1"), "m0->logits: score: expected a number"),
    "not finite": (lambda c: c["edges"]["m0->logits"].update(score=float("nan")), "m0->logits: expected a finite"),
    "too large": (lambda c: c["edges"]["m0->logits"].update(score=1e300), "m0->logits: expected a finite score that"),
    "some scores": (lambda c: c["edges"]["m0->logits"].pop("score"), "1 of 8 edges have no score"),
    "no table": (lambda c: c["edges"].update({"m0->logits": 1}), "m0->logits: expected a table"),
    "no edges": (lambda c: c.pop("edges"), "the key 'edges' is missing"),
    "neurons": (lambda c: c["nodes"]["m0"].update(neurons=[True, False]), "only some of its neurons"),
    "an unknown form": (lambda c: c.update(circuitstore={"form": "big"}), "circuitstore: form: unknown form 'big'"),
    "half an edge": (lambda c: c.update(circuitstore={"form": "head"}), "some, but not all, edges of input->a0.h0"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_wrong_field_is_named(change: str) -> None:
    content = peers.eap_ig()
    alter, message = CHANGES[change]
    alter(content)
    with pytest.raises(InputError, match=message):
        read("eap-ig", json.dumps(content).encode())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cfg", [], "cfg: expected a table"),
        ("src_nodes", ["input"], "src_nodes: expected input, a0.h0, m0"),
        ("edges_scores", torch.zeros(2, 2), r"edges_scores: expected shape \(3, 5\), got \(2, 2\)"),
        ("edges_in_graph", torch.full((3, 5), 2), "edges_in_graph: expected true or false everywhere"),
        ("nodes_in_graph", "all", "nodes_in_graph: expected a tensor of numbers, got str"),
        ("neurons_in_graph", torch.zeros(3, 4), "circuits of neurons"),
        ("circuitstore", {}, "circuitstore: expected JSON as a text"),
    ],
)
def test_a_wrong_field_of_a_torch_file_is_named(field: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read("eap-ig-pt", torch_file(peers.eap_ig_pt() | {field: value}))


@pytest.mark.parametrize("name", ["edges.pkl", "edges.PICKLE", "scores.joblib"])
def test_pickles_are_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a pickle runs code when it is loaded"):
        read_circuit(tmp_path / name, "acdc", GRAPH)


def test_a_missing_file_and_a_format_that_is_not_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the file: No such file"):
        read_circuit(tmp_path / "none.json", "eap-ig", GRAPH)
    with pytest.raises(InputError, match="graphml is only written; formats that are read: eap-ig, eap-ig-pt"):
        read_circuit(tmp_path / "none.json", "graphml", GRAPH)
    with pytest.raises(InputError, match="unknown format 'eap'; did you mean"):
        read_circuit(tmp_path / "none.json", "eap", GRAPH)
