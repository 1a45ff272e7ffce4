"""Notes as labels of graphs in the viewers of other tools, and labels as notes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..circuits import Note, Subject
from ..errors import InputError
from ..formats.neuronpedia import SUPERNODE, circuit_of, read_labels
from ..store import Store
from .notes import account

LABEL = "label"
"""Tag of a note that was a label of a node."""


def notes_to_export(store: Store, circuits: Sequence[str]) -> list[Note]:
    """Return the latest notes about components, except those that are only about other circuits.

    Args:
        store: the store.
        circuits: full ids of the circuits to export.

    Examples:
        >>> notes_to_export(store, list(store.circuits()["id"]))
        []
    """
    found = [store.note(id) for id in store.notes()["id"]]
    return [note for note in found if _concerns(note, circuits)]


def _concerns(note: Note, circuits: Sequence[str]) -> bool:
    of_circuits = [subject.ref for subject in note.about if subject.kind == "circuit"]
    return any(s.kind == "component" for s in note.about) and (
        not of_circuits or not set(of_circuits).isdisjoint(circuits)
    )


def import_labels(store: Store, file: str | Path, *, author: str | None = None, wait_s: float = 0.0) -> list[Note]:
    """Store the labels of a graph of Neuronpedia or circuit-tracer as notes about its circuit, and return them.

    The file is one that `circuitstore export --as neuronpedia` or `circuit-tracer` wrote and that somebody labelled. A
    label of a node is a note about circuit and component, with the tag `label`; a group one about the circuit and all
    of its components, with the tag `supernode`. What a note says already is not stored again.

    Raises:
        InputError: the file cannot be read, or is not such a graph; the store does not have its circuit.
        StoreBusy: another process writes.

    Examples:
        >>> record = store.circuit(store.circuits()["id"][0])
        >>> file = cs.export_circuits([record], "neuronpedia", folder / "graph.json")
        >>> import_labels(store, file)  # nobody has labelled it
        []
    """
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot read the file: {error.strerror or error}") from error
    try:
        record = store.circuit(circuit_of(data))
        found = read_labels(data, record.circuit.graph)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    name, circuit = author or account(), Subject("circuit", record.id)

    def about(names: Sequence[str]) -> tuple[Subject, ...]:
        return (circuit, *(Subject("component", f"{record.item.model.id}/{name}") for name in names))

    known = {(note.text, s) for note in notes_to_export(store, [record.id]) for s in note.about}
    labelled = [(label, (name,), LABEL) for name, label in found.labels.items()]
    labelled += [(label, names, SUPERNODE) for label, names in found.groups]
    new = [
        Note(text, name, about(names), (tag,))
        for text, names, tag in labelled
        if not all((text, subject) in known for subject in about(names)[1:])
    ]
    if new:
        with store.writer(wait_s) as writer:
            writer.add_notes(*new)
    return new
