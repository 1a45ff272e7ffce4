"""The contents of a graph, read without the guard, for comparison with its earlier contents."""

from __future__ import annotations

import json

from circuitstore.store import Store
from circuitstore.store.graph.neo4j.backend import Neo4jGraph
from circuitstore.store.graph.neo4j.server import rows

CONTENT = [
    "MATCH (s:Store) RETURN s.id, s.schema",
    "MATCH (c:Circuit) RETURN c.id, c.class, c.sha256, c.n_edges ORDER BY c.id",
    "MATCH (n:Node) RETURN n.name, count(*), min(n.key), max(n.key), sum(n.full_in), sum(n.full_out) ORDER BY n.name",
    "MATCH (a:Node)-[f:FEEDS]->(b:Node) RETURN f.edge, count(*), min(a.key), max(b.key), sum(f.score), sum(f.rank) "
    "ORDER BY f.edge",
    "MATCH (c:Circuit)-[:HAS]->(n:Node) RETURN c.id, count(*) ORDER BY c.id",
    "MATCH (d:Dataset) RETURN d.name ORDER BY d.name",
    "MATCH (k:Class) RETURN k.key, k.name ORDER BY k.key",
    "MATCH (n) RETURN count(*)",
    "MATCH ()-[r]->() RETURN count(*)",
]
SERVER = [
    "SHOW CONSTRAINTS YIELD name RETURN name ORDER BY name",
    "SHOW INDEXES YIELD name RETURN name ORDER BY name",
    "SHOW USERS YIELD user RETURN user ORDER BY user",
    "SHOW DATABASES YIELD name RETURN name ORDER BY name",
    "CALL db.labels() YIELD label RETURN label ORDER BY label",
]


def content(store: Store) -> list[str]:
    """Return all contents with the schema; sums are rounded, because their order depends on the engine."""
    texts = CONTENT if isinstance(store.graph, Neo4jGraph) else [*CONTENT, "CALL show_tables() RETURN name"]
    tables = [store.graph.run(text).frame.round(3).to_numpy().tolist() for text in texts]
    return [json.dumps(sorted(map(str, table))) for table in tables] + server_state(store)


def server_state(store: Store) -> list[str]:
    if not isinstance(store.graph, Neo4jGraph):
        return []
    server = store.graph._connected()
    return [str(server.read(lambda tx, text=text: rows(tx, text))) for text in SERVER]
