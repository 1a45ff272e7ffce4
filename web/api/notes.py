"""Notes and hypotheses: the list, and adding one if the explorer was started with `--notes`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from ...circuits import HypothesisState, Subject
from ...circuits.note import MAX_TEXT, SubjectKind
from ...query import add_note, note_records, resolve_subject
from ...store import Store
from ..opened import Shared
from ..rows import As, Form, Rows, answer

routes = APIRouter(prefix="/notes", tags=["notes"])

MAX_NOTES = 1_000
"""Maximum number of notes in one answer for a page."""


class Hypothesis(BaseModel):
    """What is known about the claim of a note: its state, and subjects that support or refute it."""

    state: HypothesisState
    evidence: list[str] = []


class StoredNote(BaseModel):
    """A note as it is stored; subjects are texts such as `circuit:ID`."""

    id: str
    created_ms: int
    text: str
    author: str
    about: list[str]
    tags: list[str]
    hypothesis: Hypothesis | None
    replaces: str | None


class Notes(BaseModel):
    """Notes, the newest first.

    Attributes:
        total: number of notes, also of those that are not shown.
        may_add: whether notes may be added.
    """

    notes: list[StoredNote]
    total: int
    may_add: bool


class NewNote(BaseModel):
    """A note to add; with `replaces`, a later version, which has the values of the earlier one that are not given."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(max_length=MAX_TEXT)] | None = None
    author: str | None = None
    about: list[str] | None = None
    tags: list[str] | None = None
    state: HypothesisState | None = None
    evidence: list[str] | None = None
    replaces: str | None = None


@routes.get("", response_model=Notes)
def notes(
    opened: Shared,
    about: Annotated[str | None, Query(description="a subject, such as `circuit:ID` or `class:NAME`")] = None,
    state: HypothesisState | None = None,
    tag: str | None = None,
    replaced: Annotated[bool, Query(description="also notes that a later version replaces")] = False,
    form: As = Form.rows,
) -> Notes | Rows | Response:
    """Return notes, the newest first. A note about a pair is also listed for its circuits."""
    store = opened.store
    subject = resolve_subject(store, about) if about else None
    found = store.notes(about=subject, state=state, tag=tag or None, replaced=replaced).iloc[::-1]
    if form is not Form.rows:
        return answer(found, form, "notes")
    records = note_records(store, found["id"].tolist()[:MAX_NOTES])
    return Notes(notes=[_stored(record) for record in records], total=len(found), may_add=opened.notes)


@routes.post("", status_code=201)
def add(opened: Shared, note: NewNote) -> StoredNote:
    """Store a note. One process writes to a store at a time: while another writes, the status is 503."""
    if not opened.notes:
        raise HTTPException(403, "this explorer only reads; start circuitstore serve with --notes to add notes")
    shared = opened.store
    # a store of its own, whose writer does not close the graph that other requests read
    with opened.adding, Store(shared.location, shared.catalog, shared.id) as store:
        added = add_note(store, **note.model_dump())
        return _stored(*note_records(store, [added.id]))


def _stored(record: dict[str, Any]) -> StoredNote:
    """Return a note of `note_records`, with its subjects as texts."""
    known = record["hypothesis"]
    hypothesis = known and Hypothesis(state=known["state"], evidence=_texts(known["evidence"]))
    return StoredNote(**record | {"about": _texts(record["about"]), "hypothesis": hypothesis})


def _texts(subjects: list[tuple[SubjectKind, str]]) -> list[str]:
    return [Subject(*subject).text for subject in subjects]
