"""CSV files for `neo4j-admin database import`: circuits, nodes and edges with the graph database's labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..circuits import CircuitRecord
from .attributes import nodes
from .csv_edges import edge_frame
from .format import Files, FormatKind

_INTEGERS = ("layer", "head", "neuron", "rank", "n_nodes", "n_edges", "n_graph_edges", "n_images", "n_eval", "seed",
             "size_requested", "class_index")  # fmt: skip
_FLOATS = ("full_in", "full_out", "score", "std", "frequency", "metric_full", "metric_empty", "metric_circuit",
           "faithfulness", "faithfulness_random", "accuracy_full", "accuracy_empty", "accuracy_circuit",
           "retention")  # fmt: skip

_NODES = ["key:ID(Node)", "name", "kind", "layer", "head", "neuron", "full_in", "full_out", ":LABEL", "circuit"]


def _written(records: Sequence[CircuitRecord]) -> Files:
    circuits = pd.DataFrame([record.properties() for record in records])
    circuits = circuits.rename(columns={"id": "id:ID(Circuit)"}).assign(**{":LABEL": "Circuit"})
    of_nodes: list[dict[str, Any]] = []
    links: list[dict[str, str]] = []
    for record in records:
        of_nodes += [
            {"key:ID(Node)": f"{record.id}/{row['name']}", **row, ":LABEL": "Node", "circuit": record.id}
            for row in nodes(record)
        ]
        ends = [[f"{record.id}/{name}" for name in pair] for pair in record.circuit.links]
        links += [{":START_ID(Node)": a, ":END_ID(Node)": b, ":TYPE": "CONTAINS"} for a, b in ends]
    table = pd.DataFrame(of_nodes, columns=_NODES)
    has = pd.DataFrame({":START_ID(Circuit)": table["circuit"], ":END_ID(Node)": table["key:ID(Node)"], ":TYPE": "HAS"})
    tables = {"circuits": circuits, "nodes": table.drop(columns="circuit"), "has": has, "feeds": _feeds(records)}
    if links:
        tables["contains"] = pd.DataFrame(links)
    return {f"{name}.csv": _csv(frame) for name, frame in tables.items()}


def _feeds(records: Sequence[CircuitRecord]) -> pd.DataFrame:
    frame = edge_frame(records)
    ends = {":START_ID(Node)": frame["sender"], ":END_ID(Node)": frame["receiver"]}
    of = frame["circuit"].astype(str) + "/"
    found = pd.DataFrame({name: of + end.astype(str) for name, end in ends.items()})
    for name in ("edge", "port", "score", "std", "rank", "frequency"):
        found[name] = frame.get(name, np.nan)
    return found.assign(**{":TYPE": "FEEDS"})


def _csv(frame: pd.DataFrame) -> bytes:
    """Return a table with types in its header; missing values are empty, and so are no properties."""
    types = {name: f"{name}:int" for name in _INTEGERS} | {name: f"{name}:double" for name in _FLOATS}
    whole = {name: "Int64" for name in _INTEGERS if name in frame}
    typed = frame.astype(whole).rename(columns=types)
    return typed.to_csv(index=False, lineterminator="\n").encode("utf-8", "backslashreplace")


NEO4J_CSV = FormatKind(
    key="neo4j-csv",
    name="Folder of CSV files for neo4j-admin database import, into an empty database",
    source="Neo4j Operations Manual, neo4j-admin database import",
    write=_written,
)
