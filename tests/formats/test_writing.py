"""Files for other tools have the edges, scores and names that these tools expect."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from circuitstore.circuits import FORMS, Circuit, CircuitRecord, EdgeScores, Form
from circuitstore.errors import InputError
from circuitstore.formats import FORMATS, encoded, export_circuits, read_circuit
from circuitstore.testing.factories import make_discovery, make_item, make_neuron_records, make_record, make_records
from hypothesis import given, settings
from hypothesis import strategies as st

from .peer_files import GRAPH, MEMBERS, SCORES

WRITTEN = [key for key, kind in FORMATS.items() if kind.write is not None]
BOTH = [key for key in WRITTEN if FORMATS[key].read is not None]
ANY_UNIVERSE = ("graphml", "cytoscape", "csv", "neo4j-csv", "dataset")


def by_hand() -> CircuitRecord:
    """Return the circuit of the files in `peer_files`."""
    item = make_item(n_layers=1, n_heads=1)
    mean = np.array([SCORES[name] for name in GRAPH.edge_names], np.float32)
    record = make_record(make_discovery(item=item), 3)
    scores = EdgeScores(GRAPH, mean)
    circuit = Circuit.from_edges(GRAPH, MEMBERS, scores)
    return replace(record, circuit=circuit, full_in=scores.inflow, full_out=scores.outflow)


def one(format: str, record: CircuitRecord) -> bytes:
    return encoded([record], format)[""]


def test_eap_ig_has_every_edge_of_the_split_form() -> None:
    content = json.loads(one("eap-ig", by_hand()))
    assert content["edges"] == {name: {"score": s, "in_graph": name in MEMBERS} for name, s in SCORES.items()}
    assert content["nodes"] == {
        name: {"in_graph": on} for name, on in (("input", True), ("a0.h0", True), ("m0", False), ("logits", True))
    }
    assert content["cfg"] == {"n_layers": 1, "n_heads": 1, "parallel_attn_mlp": False, "d_model": 64}
    table = torch.load(io.BytesIO(one("eap-ig-pt", by_hand())), weights_only=True)
    assert table["src_nodes"] == ["input", "a0.h0", "m0"]
    assert table["dst_nodes"] == ["a0.h0<q>", "a0.h0<k>", "a0.h0<v>", "m0", "logits"]
    assert table["edges_scores"].tolist() == [[0.5, -0.25, 1, 0, -0.5], [0, 0, 0, 0.125, 2], [0, 0, 0, 0, 0]]
    assert table["edges_in_graph"].int().tolist() == [[1, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]
    assert table["nodes_in_graph"].tolist() == [True, True, False]


SHAPES = st.tuples(
    st.sampled_from(FORMS), st.integers(1, 3), st.integers(1, 3), st.integers(0, 99), st.floats(0, 1), st.booleans()
)
"""Form, layers, heads, seed, share of the edges, and whether they have scores."""


def of_shape(form: Form, n_layers: int, n_heads: int, seed: int, share: float, scored: bool) -> CircuitRecord:
    item = make_item(form=form, n_layers=n_layers, n_heads=n_heads)
    discovery = make_discovery(seed, item=item)
    record = make_record(discovery, max(1, round(share * discovery.universe.n_edges)))
    if scored:
        return record
    circuit = replace(record.circuit, score=None, std=None)
    return replace(record, circuit=circuit, frequency=None, full_in=None, full_out=None)


@pytest.mark.parametrize("format", BOTH)
@given(shape=SHAPES)
@settings(max_examples=25)
def test_circuits_survive_a_round_trip(format: str, shape: tuple[Any, ...]) -> None:
    record = of_shape(*shape)
    read = FORMATS[format].read
    assert read is not None
    found, circuit = read(one(format, record), record.circuit.graph), record.circuit
    assert found.graph == circuit.graph and found.ours and found.notes == ()
    assert found.members is not None and np.array_equal(found.members, circuit.members)
    assert np.array_equal(found.order, circuit.order)
    if circuit.score is None:
        assert found.scores is None
    else:
        assert found.scores is not None and np.array_equal(found.scores.astype(np.float32), circuit.score)
    assert found.about["id"] == record.id and found.about["question"] == record.item.to_dict()


@given(shape=SHAPES)
@settings(max_examples=25)
def test_networkx_reads_graphml_as_it_was(shape: tuple[Any, ...]) -> None:
    record = of_shape(*shape)
    found = nx.read_graphml(io.BytesIO(one("graphml", record)), force_multigraph=True)
    expected = record.to_networkx()
    assert nx.utils.graphs_equal(nx.MultiDiGraph(found.edges(keys=True)), nx.MultiDiGraph(expected.edges(keys=True)))
    assert dict(found.nodes(data=True)) == dict(expected.nodes(data=True))
    assert found.graph["circuit"] == record.id and found.graph["n_heads"] == record.item.model.n_heads
    for sender, receiver, key, data in expected.edges(keys=True, data=True):
        assert found.edges[sender, receiver, key] == pytest.approx(data)


def test_graphml_has_no_character_that_xml_cannot_have() -> None:
    record = by_hand()
    item = replace(record.item, target_class=replace(record.item.target_class, name="a\x00b<&>"))
    found = nx.read_graphml(io.BytesIO(one("graphml", replace(record, item=item))))
    assert found.graph["class"] == "a\ufffdb<&>"


def test_cytoscape_has_nodes_edges_and_structural_links() -> None:
    record = make_record(make_discovery(item=make_item(form="attention")), 60)
    content = json.loads(one("cytoscape", record))
    nodes = [node["data"] for node in content["elements"]["nodes"]]
    edges = [edge["data"] for edge in content["elements"]["edges"]]
    assert [node["id"] for node in nodes] == list(record.circuit.nodes)
    assert {edge["id"] for edge in edges if edge["interaction"] == "feeds"} == set(record.circuit.edges)
    links = [(edge["source"], edge["target"]) for edge in edges if edge["interaction"] == "contains"]
    assert links == list(record.circuit.links) != []
    assert {edge["source"] for edge in edges} | {edge["target"] for edge in edges} <= {node["id"] for node in nodes}
    assert content["data"]["circuit"] == record.id


def test_a_matrix_has_the_scores_of_the_circuit_by_receiver_and_sender() -> None:
    frame = pd.read_csv(io.BytesIO(one("matrix", by_hand())), index_col="receiver")
    assert frame.to_numpy().tolist() == [[0.5, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 2, 0]]
    assert list(frame.columns) == ["input", "a0.h0", "m0"] and frame.index[-1] == "logits"
    record = by_hand()
    unscored = replace(record, circuit=replace(record.circuit, score=None))
    assert pd.read_csv(io.BytesIO(one("matrix", unscored)), index_col="receiver").sum().sum() == len(MEMBERS)


def test_csv_has_a_row_for_each_edge_of_each_circuit() -> None:
    made = make_records(3)
    frame = pd.read_csv(io.BytesIO(encoded(made, "csv")[""]), keep_default_na=False)
    for record in made:
        rows = frame[frame["circuit"] == record.id]
        assert tuple(rows["edge"]) == record.circuit.edges
        assert np.asarray(rows["score"]) == pytest.approx(record.to_pandas()["score"].to_numpy())
        assert set(rows["condition"]) == {record.item.condition.text}


def test_an_attribution_graph_follows_the_rules_of_its_viewers() -> None:
    for form in FORMS:
        record = make_record(make_discovery(item=make_item(form=form)), 45)
        content = json.loads(one("neuronpedia", record))
        tokens, nodes = content["metadata"]["prompt_tokens"], content["nodes"]
        assert len(tokens) >= 2 and all(0 <= node["ctx_idx"] < len(tokens) for node in nodes)
        ids = [node["node_id"] for node in nodes]
        assert len(set(ids)) == len({(n["layer"], n["feature"], n["ctx_idx"]) for n in nodes}) == len(ids)
        assert len({node["feature"] for node in nodes}) == len(nodes)
        assert set(content["qParams"]["pinnedIds"]) <= set(ids)
        ends = [(link["source"], link["target"]) for link in content["links"]]
        assert len(set(ends)) == len(ends) and {end for pair in ends for end in pair} <= set(ids)
        (logit,) = [node for node in nodes if node["feature_type"] == "logit"]
        assert '"class-0" (p=' in logit["clerp"]
        assert max(node["influence"] for node in nodes) == pytest.approx(1.0)
        assert len({node["layer"] for node in nodes if node["layer"] != "E"} & {"0"}) == 0
        total = sum(link["weight"] for link in content["links"])
        assert total == pytest.approx(float(record.to_pandas()["score"].sum()), rel=1e-5)


def test_a_folder_of_circuit_tracer_lists_its_graphs() -> None:
    files = encoded(make_records(3), "circuit-tracer")
    listed = json.loads(files["graph-metadata.json"])["graphs"]
    assert {f"{graph['slug']}.json" for graph in listed} == set(files) - {"graph-metadata.json"}
    assert len(listed) == 3


def test_mib_has_a_folder_for_each_class_condition_and_model() -> None:
    made = make_records(3)
    larger = make_record(make_discovery(item=made[0].item), 50)
    files = encoded([*made, larger], "mib")
    names = sorted(files)
    assert len(names) == 4 and names[2:] == [
        "class-0-typographic-text-other-class_toy-4x4/importances.json",
        "class-1-natural_toy-4x4/importances.json",
    ]
    assert all(name.startswith("class-0-natural_toy-4x4/edges-n-") for name in names[:2])
    assert json.loads(files[names[3]])["circuitstore"]["id"] == made[2].id


def test_neo4j_csv_has_the_nodes_that_its_relationships_name() -> None:
    made = [make_record(make_discovery(item=make_item(form="attention", class_index=i)), 60) for i in range(2)]
    tables = {name: pd.read_csv(io.BytesIO(data)) for name, data in encoded(made, "neo4j-csv").items()}
    assert sorted(tables) == ["circuits.csv", "contains.csv", "feeds.csv", "has.csv", "nodes.csv"]
    keys, ids = set(tables["nodes.csv"]["key:ID(Node)"]), set(tables["circuits.csv"]["id:ID(Circuit)"])
    assert len(keys) == sum(record.circuit.n_nodes for record in made) and ids == {record.id for record in made}
    for name in ("feeds.csv", "contains.csv"):
        assert {*tables[name][":START_ID(Node)"], *tables[name][":END_ID(Node)"]} <= keys
    assert set(tables["has.csv"][":END_ID(Node)"]) == keys
    assert tables["feeds.csv"]["rank:int"].max() == max(record.circuit.n_edges for record in made)
    assert len(tables["feeds.csv"]) == sum(record.circuit.n_edges for record in made)


def test_a_data_set_describes_its_files() -> None:
    made = make_records(3)
    files = encoded(made, "dataset")
    _, head, text = files["README.md"].decode().split("---\n", 2)
    card, metadata = yaml.safe_load(head), json.loads(files["croissant.json"])
    assert {config["data_files"] for config in card["configs"]} == {"edges.parquet", "circuits.parquet"}
    assert "Rows: 3." in text
    for described in metadata["distribution"]:
        assert described["sha256"] == hashlib.sha256(files[described["contentUrl"]]).hexdigest()
    for described in metadata["recordSet"]:
        name = described["@id"].removesuffix("-rows")
        frame = pd.read_parquet(io.BytesIO(files[f"{name}.parquet"]))
        assert [field["source"]["extract"]["column"] for field in described["field"]] == list(frame.columns)
    assert len(pd.read_parquet(io.BytesIO(files["circuits.parquet"]))) == 3


@pytest.mark.parametrize("format", WRITTEN)
def test_circuits_over_other_universes_are_written_or_refused_by_name(format: str) -> None:
    (record,) = make_neuron_records("9 5|3", n=1)
    if format in ANY_UNIVERSE:
        assert encoded([record], format)
    else:
        with pytest.raises(InputError, match="expected edges of a computation graph, got those of neurons 5 9"):
            encoded([record], format)


@pytest.mark.parametrize("format", WRITTEN)
def test_a_circuit_without_edges_is_written(format: str) -> None:
    record = by_hand()
    empty = replace(record, circuit=Circuit(GRAPH, np.zeros(GRAPH.n_edges, bool), score=record.circuit.score))
    files = encoded([empty], format)
    assert files and all(files.values())
    if format == "graphml":
        assert len(nx.read_graphml(io.BytesIO(files[""]))) == 0


def files_in(folder: Path) -> Mapping[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.mark.parametrize("format", WRITTEN)
def test_a_file_or_folder_has_all_of_the_content(format: str, tmp_path: Path) -> None:
    made = make_records(2)
    for count in (1, 2):
        path = export_circuits(made[:count], format, tmp_path / f"{count}{FORMATS[format].suffix}")
        files = encoded(made[:count], format)
        if list(files) == [""]:
            assert format in ("eap-ig-pt", "dataset") or path.read_bytes() == files[""]
        else:
            assert files_in(path).keys() == files.keys()
    assert {path.name.split(".")[0] for path in tmp_path.iterdir()} == {"1", "2"}


def test_what_exists_is_not_replaced_without_being_asked(tmp_path: Path) -> None:
    made = make_records(2)
    file = export_circuits(made[:1], "csv", tmp_path / "a.csv")
    with pytest.raises(InputError, match=r"a\.csv: exists already; .* --overwrite"):
        export_circuits(made, "csv", file)
    before = file.read_bytes()
    assert export_circuits(made, "csv", file, overwrite=True).read_bytes() != before
    with pytest.raises(InputError, match="is a folder, and this format writes one file"):
        export_circuits(made, "csv", tmp_path, overwrite=True)
    (tmp_path / "empty").mkdir()
    export_circuits(made, "graphml", tmp_path / "empty")
    with pytest.raises(InputError, match="exists already, and several files are written"):
        export_circuits(made, "graphml", tmp_path / "empty", overwrite=True)
    with pytest.raises(InputError, match="exists already, and several files are written"):
        export_circuits(made, "graphml", file, overwrite=True)
    with pytest.raises(InputError, match="cannot write"):
        export_circuits(made, "graphml", tmp_path / "none" / "folder")


def test_nothing_is_left_of_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise InputError("no room")

    monkeypatch.setattr("circuitstore.formats.writing.write_whole", full)
    with pytest.raises(InputError, match="no room"):
        export_circuits(make_records(2), "graphml", tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


def test_circuits_and_formats_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    made = make_records(1)
    with pytest.raises(InputError, match="expected at least one circuit, got none"):
        export_circuits([], "csv", tmp_path / "a.csv")
    with pytest.raises(InputError, match="is given twice; give it once"):
        export_circuits([*made, *made], "csv", tmp_path / "a.csv")
    with pytest.raises(InputError, match="acdc is only read; formats that are written: eap-ig"):
        export_circuits(made, "acdc", tmp_path / "a.pth")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_circuitstore_keeps_its_order_only_while_its_edges_are_unchanged(tmp_path: Path) -> None:
    file = export_circuits([by_hand()], "eap-ig", tmp_path / "a.json")
    assert len(read_circuit(file, "eap-ig", GRAPH).circuit.order) == len(MEMBERS)
    content = json.loads(file.read_text())
    content["edges"]["input->logits"]["in_graph"] = True
    file.write_text(json.dumps(content))
    assert len(read_circuit(file, "eap-ig", GRAPH).circuit.order) == 0
