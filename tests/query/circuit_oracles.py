"""Answers of queries about single circuits, and of lists of circuits, in plain Python."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from statistics import fmean
from typing import Any

import numpy as np
from circuitstore.circuits import CircuitRecord
from circuitstore.circuits.similarity import expected_jaccard, jaccard
from circuitstore.query import MEASURES
from circuitstore.query.floors import floor_of

from .conftest import Library, fits
from .oracles import Row, by_id, feeds, having, listed_properties, oracle


@oracle
def studies(library: Library, **p: Any) -> list[Row]:
    names = (
        "model",
        "dataset",
        "image_group",
        "form",
        "method",
        "metric",
        "direction",
        "corruption",
        "extraction",
        "condition",
    )
    found = defaultdict(list)
    for record in library.newest:
        found[tuple(listed_properties(record)[n] for n in names)].append(record)
    rows = [
        (*key, len(records), len({r.item.target_class.name for r in records}), sum(bool(r.flag) for r in records))
        for key, records in found.items()
    ]
    return sorted(rows)


@oracle
def circuits_of_class(library: Library, **p: Any) -> list[Row]:
    names = (
        "id",
        "dataset",
        "model",
        "image_group",
        "condition",
        "word",
        "target",
        "against",
        "form",
        "method",
        "metric",
    )
    names += ("corruption", "extraction", "flag", "n_edges", "share", "n_nodes", "faithfulness", "retention")
    rows = [listed_properties(r) for r in library.newest if fits(r, {"class": p["class"]})]
    rows.sort(key=lambda r: [r[n] for n in ("dataset", "model", "metric", "condition", "extraction", "id")])
    return [tuple(r[n] for n in names) for r in rows]


@oracle
def top_edges(library: Library, **p: Any) -> list[Row]:
    found = sorted(feeds(by_id(library, p["circuit"])), key=lambda f: (-abs(f.score), f.name))
    return [(f.name, f.score, f.std, f.rank, f.frequency) for f in found[: p.get("limit", 20)]]


@oracle
def edges_of_circuit(library: Library, **p: Any) -> list[Row]:
    found = feeds(by_id(library, p["circuit"]))
    return [(f.rank, f.name, f.sender, f.receiver, f.port, f.score, f.std, f.frequency) for f in found]


@oracle
def edges_of_node(library: Library, **p: Any) -> list[Row]:
    found = feeds(by_id(library, p["circuit"]))
    rows = [("in", f.name, f.sender, f.port, f.score, f.rank) for f in found if f.receiver == p["node"]]
    return rows + [("out", f.name, f.receiver, f.port, f.score, f.rank) for f in found if f.sender == p["node"]]


@oracle
def node_books(library: Library, **p: Any) -> list[Row]:
    record = by_id(library, p["circuit"])
    graph, found = record.circuit.graph, feeds(record)
    rows = []
    for name in sorted(record.circuit.nodes):
        at = graph.node_index[name]
        into = math.fsum(f.score for f in found if f.receiver == name)
        out = math.fsum(f.score for f in found if f.sender == name)
        full_in, full_out = (float(np.float32(v[at])) for v in (record.full_in, record.full_out))
        covered = [part / whole if whole else None for part, whole in ((into, full_in), (out, full_out))]
        rows.append((name, graph.components[at].kind, into, full_in, covered[0], out, full_out, covered[1]))
    return rows


@oracle
def unstable_edges(library: Library, **p: Any) -> list[Row]:
    found = [f for f in feeds(by_id(library, p["circuit"])) if f.frequency < p.get("below", 0.8)]
    return [(f.name, f.frequency, f.score, f.std, f.rank) for f in sorted(found, key=lambda f: (f.frequency, f.rank))]


@oracle
def paths(library: Library, **p: Any) -> list[Row]:
    circuit = by_id(library, p["circuit"]).circuit
    steps = {(f.sender, f.receiver) for f in feeds(by_id(library, p["circuit"]))} | set(circuit.links)
    below = defaultdict(set)
    for a, b in steps:
        below[a].add(b)

    def walk(at: str, passed: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if at == "logits":
            yield passed[:-1]
        elif len(passed) < p.get("longest", 3):
            for after in below[at]:
                yield from walk(after, (*passed, after))

    return [(len(names) + 1, *names, *[""] * (3 - len(names))) for names in walk("input", ())]


@oracle
def jaccard_of_two(library: Library, **p: Any) -> list[Row]:
    a, b = (set(by_id(library, p[n]).circuit.edges) for n in "ab")
    return [(len(a & b), len(a | b), len(a & b) / len(a | b))]


@oracle
def difference_of_two(library: Library, **p: Any) -> list[Row]:
    a, b = (by_id(library, p[n]) for n in "ab")
    rows = [("a", f.name, f.score, f.rank) for f in feeds(a) if f.name not in b.circuit.edges]
    return rows + [("b", f.name, f.score, f.rank) for f in feeds(b) if f.name not in a.circuit.edges]


@oracle
def circuits_containing_edge(library: Library, **p: Any) -> list[Row]:
    names, rows = ("model", "dataset", "class", "image_group", "condition", "metric", "extraction"), []
    for r, f in having(library.chosen())[p["edge"]]:
        rows.append((*(listed_properties(r)[n] for n in names), f.score, f.rank, f.frequency, r.id))
    return sorted(rows, key=lambda row: (-row[7], row[10]))


@oracle
def nearest_circuits(library: Library, **p: Any) -> list[Row]:
    """Of circuits of the data set `models` only, which have the three nearest by Jaccard."""
    own, others = by_id(library, p["circuit"]), library.chosen(dataset="models")
    floors = {r.id: noise_floor(library, r) for r in others}
    if p.get("measure", "jaccard") != "jaccard" or own.id not in floors:
        return []
    rows = []
    for record in nearest_of(own, others):
        sizes, n_edges = (own.circuit.n_edges, record.circuit.n_edges), own.circuit.graph.n_edges
        names = ("model", "dataset", "class", "image_group", "condition", "corruption")
        floor, chance = fmean([floors[own.id], floors[record.id]]), expected_jaccard(*sizes, n_edges)
        mutual = own.id in [r.id for r in nearest_of(record, others)]
        texts = tuple(listed_properties(record)[name] for name in names)
        rows.append((*texts, jaccard(own.circuit, record.circuit), floor, chance, mutual, record.id))
    return rows


def nearest_of(own: CircuitRecord, others: list[CircuitRecord]) -> list[CircuitRecord]:
    rest = [r for r in others if r.id != own.id]
    return sorted(rest, key=lambda r: (-jaccard(own.circuit, r.circuit), r.id))[:3]


def noise_floor(library: Library, record: CircuitRecord) -> float:
    discovery = next(d for d in library.discoveries if d.id == record.discovery_id)
    floor = floor_of(record, discovery, MEASURES["jaccard"])
    assert floor is not None
    return floor.value
