"""Notes in the report and in exports."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from circuitstore.analysis import notes_as_markdown, write_report
from circuitstore.analysis.notes import read_notes
from circuitstore.circuits import Subject
from circuitstore.query import note_records
from circuitstore.store import Store
from circuitstore.testing.factories import make_note

from ..toy_studies import HOSTILE, Answers, store_of, toys  # noqa: F401


def test_the_report_shows_the_notes_of_its_run_escaped(
    store_of: Callable[[Answers], Store],  # noqa: F811
    toys: Answers,  # noqa: F811
    tmp_path: Path,
) -> None:
    store = store_of(Answers(toys.discoveries[:2], toys.records[:2]))
    circuit = Subject("circuit", toys.records[0].id)
    elsewhere = Subject("circuit", "e" * 64)
    notes = [
        make_note(HOSTILE, about=[circuit]),
        make_note("elsewhere", about=[elsewhere]),
        make_note("\u202eall\n" * 999),
    ]
    with store.writer() as writer:
        writer.add_notes(*notes)
    assert len(read_notes(store, None)) == 3
    assert {record["text"] for record in read_notes(store, "toys")} == {notes[0].text, notes[2].text}
    page = write_report(store, tmp_path / "report.html", run="toys").read_text()
    assert '<a href="#written">Notes</a>' in page and "elsewhere" not in page
    assert HOSTILE not in page and re.search(r'<p class="written">&lt;/script&gt;&lt;script&gt;alert', page)
    assert f"About circuit {circuit.ref[:12]}." in page and "Hypothesis, open: ada" in page


def test_a_text_cannot_end_its_quotation_in_markdown(store_of: Callable[[Answers], Store], toys: Answers) -> None:  # noqa: F811
    store = store_of(Answers(toys.discoveries[:1], toys.records[:1]))
    note = replace(make_note("# heading\n\n```\ncode"), about=(Subject("query", "MATCH (c:`Circuit`)\nRETURN c.id"),))
    with store.writer() as writer:
        writer.add_notes(note)
    text = notes_as_markdown(note_records(store, [note.id]))
    assert "> # heading\n>\n> ```\n> code\n" in text
    assert "- about `` query:MATCH (c:`Circuit`) RETURN c.id ``\n" in text
