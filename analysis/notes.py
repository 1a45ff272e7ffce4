"""Notes as Markdown and JSON, and those that a report shows."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..circuits import Subject
from ..query import note_records
from ..store import Store

_OF_RUNS = ("circuit", "item", "class")
"""Kinds of subjects that belong to runs."""


def read_notes(store: Store, run: str | None) -> tuple[Mapping[str, Any], ...]:
    """Return the latest notes of a store as `query.note_records`, oldest first.

    Args:
        store: the store.
        run: leave out notes that are only about circuits, items and classes of other runs; None for all notes.
    """
    records = note_records(store, list(store.notes()["id"]))
    if run is None or not records:
        return tuple(records)
    items = store.items(run)
    classes = items[["dataset", "class_index", "class"]].itertuples(index=False, name=None)
    known = {("class", "/".join(map(str, row))) for row in classes} | {("item", id) for id in items["id"]}
    known |= {("circuit", id) for id in store.circuits(run, columns=["id"])["id"]}

    def is_shown(subject: Subject) -> bool:
        parts = subject.parts or (subject,)
        return all(part.kind not in _OF_RUNS or (part.kind, part.ref) in known for part in parts)

    return tuple(r for r in records if not r["about"] or any(is_shown(Subject(*s)) for s in r["about"]))


def notes_as_json(records: Sequence[Mapping[str, Any]]) -> str:
    r"""Return notes, as `query.note_records` returns them, as a JSON text `{"notes": […]}`.

    Examples:
        >>> notes_as_json([])
        '{"notes": []}\n'
    """
    return json.dumps({"notes": list(records)}, ensure_ascii=False, indent=1 if records else None) + "\n"


def notes_as_markdown(records: Sequence[Mapping[str, Any]]) -> str:
    """Return notes, as `query.note_records` returns them, as Markdown: a section per note, its text as a quotation.

    Examples:
        >>> note = {"id": "3f2a1b4c5d6e", "created_ms": 0, "text": "It reads the word.", "author": "ada"}
        >>> note |= {"about": [["component", "f00d/a3.h1"]], "tags": ["words"], "replaces": None}
        >>> print(notes_as_markdown([note | {"hypothesis": {"state": "open", "evidence": []}}]))
        # Notes
        <BLANKLINE>
        ## Hypothesis, open: 3f2a1b4c5d6e
        <BLANKLINE>
        - by ada, 1970-01-01 00:00 UTC
        - about `component:f00d/a3.h1`
        - tags: words
        <BLANKLINE>
        > It reads the word.
        <BLANKLINE>
    """
    return "\n".join(["# Notes", "", *(line for record in records for line in _section(record))])


def _section(record: Mapping[str, Any]) -> list[str]:
    found = record["hypothesis"]
    title = f"Hypothesis, {found['state']}" if found else "Note"
    facts = [f"by {record['author']}, {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(record['created_ms'] / 1000))}"]
    facts += [f"about {_code(subject)}" for subject in record["about"]]
    facts += [f"evidence {_code(subject)}" for subject in (found["evidence"] if found else ())]
    facts += [f"tags: {', '.join(record['tags'])}"] if record["tags"] else []
    facts += [f"replaces {record['replaces']}"] if record["replaces"] else []
    quoted = [f"> {line}".rstrip() for line in record["text"].splitlines()]
    return [f"## {title}: {record['id'][:12]}", "", *(f"- {fact}" for fact in facts), "", *quoted, ""]


def _code(subject: Sequence[str]) -> str:
    """Return a subject as code on one line, between more backticks than it has."""
    text = " ".join(":".join(subject).split())
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{text}{fence}" if len(fence) == 1 else f"{fence} {text} {fence}"
