"""The notes that the graph should have, from the catalog."""

from __future__ import annotations

import json

from sqlalchemy import Connection, select

from ..circuits import Subject
from .graph.notes import GraphNotes
from .sql import chunks
from .tables import circuits, notes


def graph_notes(connection: Connection) -> GraphNotes:
    """Return the notes of the catalog, and what they are about, as the graph should have them."""
    rows = [
        {**row, "about": [Subject.of(text) for text in json.loads(row["about"])]}
        for row in connection.execute(select(notes).order_by(notes.c.id)).mappings()
    ]
    items = {subject.ref for row in rows for subject in row["about"] if subject.kind == "item"}
    found: dict[str, list[str]] = {}
    for chunk in chunks(sorted(items)):
        query = select(circuits.c.discovery_id, circuits.c.id).where(circuits.c.discovery_id.in_(chunk))
        for item, circuit in connection.execute(query):
            found.setdefault(item, []).append(circuit)
    return GraphNotes.of(rows, found)
