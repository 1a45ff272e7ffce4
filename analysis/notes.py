"""Notes as Markdown and JSON."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any


def notes_as_json(records: Sequence[Mapping[str, Any]]) -> str:
    r"""Return notes, as `query.note_records` returns them, as a JSON text `{"notes": […]}`.

    Examples:
        >>> notes_as_json([])
        '{"notes": []}\\n'
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
