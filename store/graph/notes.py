"""Notes in a graph database: their rows, what they are about, and the differences from what a database has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa

from ...circuits import Subject
from ..cypher.schema import ABOUT, NOTE
from .content import Ask

SUBJECTS = {"Circuit": "id", "Class": "key", "Component": "key"}
"""Labels of the nodes that a note may be about, with their key."""

DELETE_NOTES = "MATCH (n:Note) DETACH DELETE n"
_LABELS = {"circuit": "Circuit", "class": "Class", "component": "Component"}
_NOTES = f"MATCH (n:Note) RETURN {', '.join(f'n.{name}' for name in NOTE.names)}"


@dataclass(frozen=True)
class GraphNotes:
    """The notes that a graph database should have.

    Attributes:
        notes: the columns of `schema.NOTE`.
        about: the columns of `schema.ABOUT`: id of the note, label and key of a node that it is about, which need not
            exist.
    """

    notes: pa.Table
    about: pa.Table

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]], circuits_of: Mapping[str, Sequence[str]]) -> Self:
        """Return the notes of a store.

        Args:
            rows: the columns of `schema.NOTE` of each note, with the list of its subjects as `about`.
            circuits_of: ids of the circuits of the items that notes are about, by item.
        """
        replaced = {row["replaces"] for row in rows}
        named = [
            {**row, "about": ", ".join(subject.text for subject in row["about"]), "latest": row["id"] not in replaced}
            for row in rows
        ]
        ends = {(row["id"], *end) for row in rows for subject in row["about"] for end in _ends(subject, circuits_of)}
        about = [dict(zip(ABOUT.names, end, strict=True)) for end in sorted(ends)]
        return cls(pa.Table.from_pylist(named, schema=NOTE), pa.Table.from_pylist(about, schema=ABOUT))

    def of_label(self, label: str) -> list[dict[str, str]]:
        """Return the rows of `about` that lead to nodes of a label."""
        return [row for row in self.about.to_pylist() if row["label"] == label]

    def differences(self, ask: Ask) -> Iterator[tuple[str, str]]:
        """Yield id and description of each note that a database lacks, has in addition, or has with other values."""
        wanted = {row["id"]: tuple(row.values()) for row in self.notes.to_pylist()}
        found = {row[0]: tuple(row) for row in ask(_NOTES, {})}
        for id in sorted(wanted.keys() | found.keys()):
            if id not in found:
                yield id, "the Note is missing"
            elif id not in wanted:
                yield id, "the Note is not in the catalog"
            elif found[id] != wanted[id]:
                changed = zip(NOTE.names, found[id], wanted[id], strict=True)
                yield from ((id, f"{n} of the Note is {a!r}, expected {b!r}") for n, a, b in changed if a != b)
        if wanted or found:
            for label, key in SUBJECTS.items():
                yield from self._ends_that_differ(ask, label, key)

    def _ends_that_differ(self, ask: Ask, label: str, key: str) -> Iterator[tuple[str, str]]:
        rows = self.of_label(label)
        keys = sorted({row["to"] for row in rows})
        present = {row[0] for row in ask(f"MATCH (x:{label}) WHERE x.{key} IN $keys RETURN x.{key}", {"keys": keys})}
        wanted = sorted((row["from"], row["to"]) for row in rows if row["to"] in present)
        found = sorted((a, b) for a, b in ask(f"MATCH (n:Note)-[:ABOUT]->(x:{label}) RETURN n.id, x.{key}", {}))
        if wanted != found:
            for id, end in sorted({*wanted} ^ {*found}) or found[:1]:
                what = "is missing" if (id, end) not in found else "is not in the catalog, or occurs twice"
                yield id, f"ABOUT {label} {end} {what}"


def _ends(subject: Subject, circuits_of: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Yield label and key of the nodes that a note about a subject leads to; a query has none."""
    if subject.kind == "item":
        yield from (("Circuit", id) for id in circuits_of.get(subject.ref, ()))
    for part in subject.parts or (subject,):
        if part.kind in _LABELS:
            yield _LABELS[part.kind], part.ref
