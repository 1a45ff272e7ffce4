"""Commands for notes: note add, note list, note export, note import."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from .options import CatalogUrl, Form, GraphUrl, Out, StoreFolder, Wait, settings
from .output import STDOUT, Destination, count, emit, print_message

if TYPE_CHECKING:
    import pandas as pd

    from ..store import Store


class State(StrEnum):
    """The states of a hypothesis."""

    open = "open"
    supported = "supported"
    refuted = "refuted"


class NoteFormat(StrEnum):
    """The formats of exported notes."""

    markdown = "markdown"
    json = "json"


_SUBJECT = "circuit:ID, item:ID, pair:ID..ID, class:NAME, component:a3.h1, edge:a0.h1->m2 or query:NAME"
About = Annotated[str | None, typer.Option("--about", metavar="KIND:REF", help=f"Only notes about this: {_SUBJECT}.")]
InState = Annotated[State | None, typer.Option("--state", help="Only hypotheses in this state.")]
Tag = Annotated[str | None, typer.Option("--tag", metavar="TAG", help="Only notes with this tag.")]
Replaced = Annotated[bool, typer.Option("--replaced", help="Also notes that a later version replaces.")]


def add(
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="What the note says; - reads it from stdin.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", metavar="FILE", help="Read the text from this file.")] = None,
    about: Annotated[
        list[str] | None,
        typer.Option("--about", metavar="KIND:REF", help=f"What it is about; repeat for several: {_SUBJECT}."),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="A word to find it by; repeat for several.")
    ] = None,
    state: Annotated[State | None, typer.Option("--state", help="State of the hypothesis, if it is one.")] = None,
    evidence: Annotated[
        list[str] | None,
        typer.Option("--evidence", metavar="KIND:REF", help="What supports or refutes it, as for --about."),
    ] = None,
    author: Annotated[
        str | None, typer.Option("--author", metavar="NAME", help="Name of the author; default: your account.")
    ] = None,
    replaces: Annotated[
        str | None,
        typer.Option(
            "--replaces",
            metavar="ID",
            help="The note that this is a later version of; what is not given stays as it was there.",
        ),
    ] = None,
    wait: Wait = 0.0,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Store a note, or a later version of a note.

    Prints its id. Notes never change, belong to no run, and are kept by gc and rebuild. One process writes
    to a store at a time: while index runs, wait with --wait SECONDS.
    """
    from .. import query as queries
    from ..store import open_store

    given = {"about": about, "tags": tag, "evidence": evidence, "author": author, "replaces": replaces}
    with open_store(**settings(store, graph, catalog).place) as opened:
        note = queries.add_note(opened, _text(text, file), **given, state=state and state.value, wait_s=wait)  # pyright: ignore[reportArgumentType]
    print(note.id)


def _text(text: str | None, file: Path | None) -> str | None:
    """Return the text that is given, or that of a file or of stdin.

    Raises:
        InputError: two are given, or the file cannot be read.
    """
    if text is not None and file is not None:
        raise InputError("--file: expected a text or a file, got both; leave one of them out")
    if text is None and file is None:
        return None
    try:
        if text == str(STDOUT) or file == STDOUT:
            text = sys.stdin.read()
        elif file is not None:
            text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file or 'stdin'}: cannot be read: {error}") from error
    assert text is not None
    return text.replace("\r\n", "\n").strip()


def list_(
    about: About = None,
    state: InState = None,
    tag: Tag = None,
    replaced: Replaced = False,
    form: Form = None,
    out: Out = None,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """List notes, oldest first.

    A note about a pair is also listed for its circuits, and one about an edge for its components.
    """
    from ..store import open_store
    from . import overview

    to = Destination.of(out, form)
    with open_store(**settings(store, graph, catalog).place) as opened:
        emit(overview.notes(_listed(opened, about, state, tag, replaced)), to)


def export(
    about: About = None,
    state: InState = None,
    tag: Tag = None,
    replaced: Replaced = False,
    format: Annotated[NoteFormat, typer.Option("--as", help="The format.")] = NoteFormat.markdown,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write; - is stdout.")] = STDOUT,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Write notes as Markdown or JSON, oldest first."""
    from ..analysis import notes_as_json, notes_as_markdown
    from ..query import note_records
    from ..results import write_whole
    from ..store import open_store

    with open_store(**settings(store, graph, catalog).place) as opened:
        records = note_records(opened, list(_listed(opened, about, state, tag, replaced)["id"]))
    text = notes_as_json(records) if format is NoteFormat.json else notes_as_markdown(records)
    if out == STDOUT:
        print(text, end="")
    else:
        write_whole(out, text)
        print_message(f"{count(len(records), 'note')} written to {out}")


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A graph of Neuronpedia or circuit-tracer.")],
    author: Annotated[
        str | None, typer.Option("--author", metavar="NAME", help="Name of the author; default: your account.")
    ] = None,
    wait: Wait = 0.0,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Store the labels of an exported graph as notes.

    FILE is what `circuitstore export --as neuronpedia` or `circuit-tracer` wrote, with nodes that were
    labelled or grouped in a viewer.
    """
    from ..query import import_labels
    from ..store import open_store

    with open_store(**settings(store, graph, catalog).place) as opened:
        notes = import_labels(opened, file, author=author, wait_s=wait)
    print_message(f"{file.name}: {count(len(notes), 'new note')} stored")


def _listed(opened: Store, about: str | None, state: State | None, tag: str | None, replaced: bool) -> pd.DataFrame:
    from ..query import resolve_subject

    subject = None if about is None else resolve_subject(opened, about)
    return opened.notes(about=subject, state=state and state.value, tag=tag, replaced=replaced)
