"""Loading circuits into Neo4j: shared nodes first, then each group with one statement in one transaction.

A circuit's nodes are created and collected in a list, and its relationships refer to their positions in the list. Only
shared nodes are looked up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import neo4j
import numpy as np
import pyarrow as pa
from jaxtyping import Int

from ....circuits import CircuitRecord, Universe
from ....errors import StoreDamaged
from ...cypher.schema import REFERENCES
from ..content import canonical
from ..rows import UniverseTables, alive_nodes, circuit_rows, shared_rows, universe_tables
from .server import rows

EDGES_AT_ONCE = 5_000
"""Maximum edges of a transaction with several circuits. The server keeps a transaction in its heap until the commit,
and its garbage collector copies it: with twice as many edges, the collector works up to twice as long, most on a busy
machine. With half as many, more names of edges are sent repeatedly, and there are more commits to wait for."""

_KNOWN = {
    "Model": "MATCH (x:Model) WHERE x.id IN $keys RETURN x.id",
    "Dataset": "MATCH (x:Dataset) WHERE x.name IN $keys RETURN x.name",
    "Class": "MATCH (x:Class) WHERE x.key IN $keys RETURN x.key",
    "Condition": "MATCH (x:Condition) WHERE x.key IN $keys RETURN x.key",
    "Recipe": "MATCH (x:Recipe) WHERE x.key IN $keys RETURN x.key",
    "Component": "MATCH (x:Component) WHERE x.key IN $keys RETURN x.key",
}
_CREATE = {
    "Model": "UNWIND $rows AS r CREATE (x:Model) SET x = r.own",
    "Dataset": "UNWIND $rows AS r CREATE (x:Dataset) SET x = r.own",
    "Class": "UNWIND $rows AS r MATCH (d:Dataset {name: r.parent}) CREATE (x:Class)-[:OF_DATASET]->(d) SET x = r.own",
    "Condition": "UNWIND $rows AS r CREATE (x:Condition) SET x = r.own",
    "Recipe": "UNWIND $rows AS r CREATE (x:Recipe) SET x = r.own",
    "Component": "UNWIND $rows AS r MATCH (m:Model {id: r.parent}) CREATE (x:Component)-[:PART_OF]->(m) SET x = r.own",
}
_PARENT = {"Class": "dataset", "Component": "model"}

# all lookups use a unique key, so the first plan suits any size of the graph
CREATE_CIRCUITS = """
    CYPHER replan=skip
    UNWIND range(0, size($components) - 1) AS i
    MATCH (k:Component {key: $components[i].key})
    WITH k, i ORDER BY i
    WITH collect(k) AS components WHERE size(components) = size($components)
    UNWIND $circuits AS r
    MATCH (model:Model {id: r.properties.model_id})
    MATCH (class:Class {key: r.class_key})
    MATCH (condition:Condition {key: r.condition_key})
    MATCH (recipe:Recipe {key: r.recipe_key})
    CREATE (c:Arriving) SET c = r.properties
    CREATE (c)-[:OF_MODEL]->(model)
    CREATE (c)-[:OF_CLASS]->(class)
    CREATE (c)-[:UNDER]->(condition)
    CREATE (c)-[:FOUND_BY]->(recipe)
    WITH c, r, components
    CALL (c, r, components) {
        UNWIND range(0, size(r.nodes) - 1) AS i
        WITH i, $components[r.nodes[i]] AS x, components[r.nodes[i]] AS k
        CREATE (c)-[:HAS]->(n:Node {
            key: r.properties.id + '/' + x.name, name: x.name, kind: x.kind, layer: x.layer, head: x.head,
            neuron: x.neuron, full_in: r.full_in[i], full_out: r.full_out[i]})-[:INSTANCE_OF]->(k)
        WITH n, i ORDER BY i
        RETURN collect(n) AS nodes
    }
    CALL (r, nodes) {
        UNWIND range(0, size(r.edges) - 1) AS i
        WITH i, nodes[r.senders[i]] AS s, nodes[r.receivers[i]] AS t
        CREATE (s)-[:FEEDS {
            edge: $edges[r.edges[i]], port: $ports[r.edges[i]], score: r.score[i], std: r.std[i], rank: r.rank[i],
            frequency: r.frequency[i]}]->(t)
    }
    CALL (r, nodes) {
        UNWIND range(0, size(r.above) - 1) AS i
        WITH nodes[r.above[i]] AS s, nodes[r.below[i]] AS t
        CREATE (s)-[:CONTAINS]->(t)
    }"""


def missing_shared(
    tx: neo4j.ManagedTransaction, records: Sequence[CircuitRecord]
) -> dict[str, list[Mapping[str, Any]]]:
    """Return the models, classes … of circuits that do not exist, by label."""
    missing = {}
    for label, wanted in shared_rows(records).items():
        known = {row[0] for row in rows(tx, _KNOWN[label], {"keys": list(wanted)})}
        missing[label] = [row for key, row in wanted.items() if key not in known]
    return {label: found for label, found in missing.items() if found}


def create_shared(tx: neo4j.ManagedTransaction, records: Sequence[CircuitRecord]) -> None:
    """Create the models, classes … of circuits that do not exist yet."""
    for label, missing in missing_shared(tx, records).items():
        parent = _PARENT.get(label)
        own = [{k: v for k, v in row.items() if k != parent} for row in missing]
        parents = [row.get(parent or "") for row in missing]
        rows(tx, _CREATE[label], {"rows": [{"own": o, "parent": p} for o, p in zip(own, parents, strict=True)]})


def in_groups(records: Sequence[CircuitRecord]) -> Iterator[list[CircuitRecord]]:
    """Yield the records in groups of at most `EDGES_AT_ONCE` edges, but at least one circuit."""
    group: list[CircuitRecord] = []
    edges = 0
    for record in records:
        if group and edges + record.circuit.n_edges > EDGES_AT_ONCE:
            yield group
            group, edges = [], 0
        group.append(record)
        edges += record.circuit.n_edges
    if group:
        yield group


def create_circuits(tx: neo4j.ManagedTransaction, group: Mapping[str, Any]) -> None:
    """Create the circuits of `load_rows`, hidden. None of them may exist, but the nodes that they refer to must.

    Raises:
        StoreDamaged: not everything could be created, so the transaction must not be committed.
    """
    counters = tx.run(CREATE_CIRCUITS, dict(group)).consume().counters
    circuits = group["circuits"]
    nodes = sum(1 + len(row["nodes"]) for row in circuits)
    relationships = sum(4 + 2 * len(row["nodes"]) + len(row["edges"]) + len(row["above"]) for row in circuits)
    if (counters.nodes_created, counters.relationships_created) != (nodes, relationships):
        raise StoreDamaged(
            f"of {nodes} nodes and {relationships} relationships of a group of circuits, {counters.nodes_created} and "
            f"{counters.relationships_created} could be created: shared nodes of the graph are damaged; rebuild it "
            "from the archive with: circuitstore rebuild"
        )


def load_rows(records: Sequence[CircuitRecord], created_ms: Mapping[str, int]) -> dict[str, Any]:
    """Return the parameters of `CREATE_CIRCUITS`: a row per circuit, and the components and edges they index."""
    groups: dict[tuple[str, Universe], list[int]] = {}
    for i, record in enumerate(records):
        groups.setdefault((record.item.model.id, record.circuit.universe), []).append(i)
    circuits = circuit_rows(records, created_ms)
    load: dict[str, Any] = {"circuits": [], "components": [], "edges": [], "ports": []}
    for (model, universe), places in groups.items():
        _add(load, model, universe_tables(universe), [records[i] for i in places], [circuits[i] for i in places])
    return load


def _add(
    load: dict[str, Any],
    model: str,
    tables: UniverseTables,
    records: Sequence[CircuitRecord],
    properties: Sequence[dict[str, Any]],
) -> None:
    """Add the circuits of one universe to the parameters, with the components and edges that they use."""
    alive, members = [alive_nodes(r) for r in records], [r.circuit.members for r in records]
    nodes, edges = np.any(alive, axis=0), np.any(members, axis=0)
    node_at = len(load["components"]) + np.cumsum(nodes) - 1
    edge_at = len(load["edges"]) + np.cumsum(edges) - 1
    components = tables.nodes.take(pa.array(np.flatnonzero(nodes))).to_pylist()
    load["components"] += [{"key": f"{model}/{row['name']}", **row} for row in components]
    named = tables.edges.take(pa.array(np.flatnonzero(edges)))
    load["edges"] += named["edge"].to_pylist()
    load["ports"] += named["port"].to_pylist()
    for record, own, node_there, edge_there in zip(records, properties, alive, members, strict=True):
        node, edge = np.flatnonzero(node_there), np.flatnonzero(edge_there)
        row = {"nodes": node_at[node].tolist(), "edges": edge_at[edge].tolist(), **_values(record, tables, node, edge)}
        row |= {name: own.pop(name) for name in REFERENCES}
        load["circuits"].append({"properties": own, **row})


def _values(
    record: CircuitRecord, tables: UniverseTables, node: Int[np.ndarray, "node"], edge: Int[np.ndarray, "edge"]
) -> dict[str, list[Any]]:
    """Return columns of a circuit's nodes, edges and links, whose ends are positions among its nodes."""
    ranks = record.circuit.ranks
    place = np.full(len(tables.nodes), -1)
    place[node] = np.arange(len(node))
    link = np.flatnonzero((place[tables.above] >= 0) & (place[tables.below] >= 0))
    return {
        "full_in": canonical(record.full_in, node),
        "full_out": canonical(record.full_out, node),
        "senders": place[tables.sender[edge]].tolist(),
        "receivers": place[tables.receiver[edge]].tolist(),
        "score": canonical(record.circuit.score, edge),
        "std": canonical(record.circuit.std, edge),
        "rank": ranks[edge].tolist(),
        "frequency": canonical(record.frequency, edge),
        "above": place[tables.above[link]].tolist(),
        "below": place[tables.below[link]].tolist(),
    }
