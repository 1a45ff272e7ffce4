"""Notes of people in the report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import cut

MAX_SHOWN, MAX_TEXT = 100, 2000
"""Maximum number of notes, and of characters of each: the report must stay small."""


@dataclass(frozen=True)
class NoteView:
    """A note as the report shows it.

    Attributes:
        title: its state if it is a hypothesis, author and date.
        about: what it is about, with short ids.
        evidence: what supports or refutes it, likewise.
        text: the text, which is shown as it is.
    """

    title: str
    about: str
    evidence: str
    text: str


def note_views(records: Sequence[Mapping[str, Any]]) -> list[NoteView]:
    """Return the views of the latest notes, the newest first."""
    return [_view(record) for record in records[::-1][:MAX_SHOWN]]


def _view(record: Mapping[str, Any]) -> NoteView:
    found = record["hypothesis"]
    state = f"Hypothesis, {found['state']}" if found else "Note"
    day = time.strftime("%Y-%m-%d", time.gmtime(record["created_ms"] / 1000))
    return NoteView(
        f"{state}: {record['author']}, {day}",
        _subjects(record["about"]),
        _subjects(found["evidence"]) if found else "",
        cut(record["text"], MAX_TEXT),
    )


def _subjects(subjects: Sequence[Sequence[str]]) -> str:
    return ", ".join(f"{kind} {_short(kind, ref)}" for kind, ref in subjects)


def _short(kind: str, ref: str) -> str:
    """Return a reference with the first digits of its ids."""
    if kind in ("component", "edge"):
        return ref.partition("/")[2]
    return " and ".join(part[:12] for part in ref.split("..")) if kind in ("circuit", "item", "pair") else ref
