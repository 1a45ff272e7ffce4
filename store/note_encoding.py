"""Conversion of notes to Arrow tables and back: the text as bytes, everything else in the header."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ..circuits import Note
from ..errors import InputError, StoreDamaged
from .encoding import Header, check_identity, column, to_table


def note_to_table(note: Note, created_ms: int) -> pa.Table:
    """Return the table of a note."""
    content = note.to_dict()
    text = np.frombuffer(content.pop("text").encode(), np.uint8)
    header: Header = {"kind": "note", "id": note.id, "sha256": note.sha256, "created_ms": created_ms, **content}
    return to_table(header, {"text": text})


def note_from_table(header: Header, table: pa.Table) -> Note:
    """Inverse of `note_to_table`.

    Raises:
        StoreDamaged: the content is not a note, or does not match its checksum.
    """
    text = column(header, table, "text").tobytes()
    try:
        note = Note.from_dict(header | {"text": text.decode()})
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise StoreDamaged(f"its content is not a note: {error}") from error
    check_identity(header, note)
    return note
