"""Notes in Neo4j."""

from __future__ import annotations

import neo4j

from ..notes import DELETE_NOTES, SUBJECTS, GraphNotes
from .server import rows

_CREATE = "UNWIND $rows AS r CREATE (n:Note) SET n = r"
_JOIN = "UNWIND $rows AS r MATCH (n:Note {{id: r.from}}) MATCH (x:{label} {{{key}: r.to}}) CREATE (n)-[:ABOUT]->(x)"


def replace(tx: neo4j.ManagedTransaction, notes: GraphNotes) -> None:
    """Replace all notes."""
    rows(tx, DELETE_NOTES)
    rows(tx, _CREATE, {"rows": notes.notes.to_pylist()})
    for label, key in SUBJECTS.items():
        rows(tx, _JOIN.format(label=label, key=key), {"rows": notes.of_label(label)})
