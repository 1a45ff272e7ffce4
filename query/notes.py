"""Adding notes to a store, and notes as records for export."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from typing import Any

from ..circuits import Hypothesis, HypothesisState, Note, Subject
from ..errors import InputError
from ..store import NOTES, Store
from .subjects import resolve_subject


def add_note(
    store: Store,
    text: str | None = None,
    *,
    about: Sequence[Subject | str] | None = None,
    tags: Sequence[str] | None = None,
    state: HypothesisState | None = None,
    evidence: Sequence[Subject | str] | None = None,
    author: str | None = None,
    replaces: str | None = None,
    wait_s: float = 0.0,
) -> Note:
    """Store a note, or a later version of a note, and return it.

    Notes never change. A later version has all values of the earlier one that are not given, and replaces it in lists.
    The same note is stored once.

    Args:
        store: the store to write to.
        text: what the note says.
        about: what it is about; subjects are checked as by `resolve_subject`, which describes their texts.
        tags: words to find it by.
        state: `open`, `supported` or `refuted`, if the note is a hypothesis.
        evidence: what supports or refutes the hypothesis.
        author: name of the author; default: the name of the user's account.
        replaces: id of the earlier version, or its beginning.
        wait_s: seconds to wait while another process writes.

    Raises:
        InputError: there is no text; the store does not have a subject; evidence without a state; the earlier version
            has been replaced already.
        StoreBusy: another process writes.

    Examples:
        >>> from circuitstore.store import create_store
        >>> with create_store(folder / "store") as new:
        ...     note = add_note(new, "heads first", about=["query:top-edges"], state="open", author="ada")
        ...     later = add_note(new, state="supported", author="ada", replaces=note.id)
        ...     new.notes()[["text", "state", "about"]]
                  text      state            about
        0  heads first  supported  query:top-edges
    """
    earlier = None if replaces is None else _latest(store, replaces)
    if text is None and earlier is None:
        raise InputError("expected the text of the note, got none; give it")
    if evidence and state is None and (earlier is None or earlier.hypothesis is None):
        raise InputError("evidence is about a hypothesis; give its state, too: open, supported or refuted")
    found = None if about is None else tuple(resolve_subject(store, subject) for subject in about)
    shown = None if evidence is None else tuple(resolve_subject(store, subject) for subject in evidence)
    before = earlier or Note("-", "-")
    known = before.hypothesis or Hypothesis()
    hypothesis = Hypothesis(state or known.state, known.evidence if shown is None else shown)
    note = Note(
        before.text if text is None else text,
        account() if author is None else author,
        before.about if found is None else found,
        before.tags if tags is None else tuple(tags),
        None if state is None and before.hypothesis is None else hypothesis,
        None if earlier is None else earlier.id,
    )
    with store.writer(wait_s) as writer:
        writer.add_notes(note)
    return note


def _latest(store: Store, start: str) -> Note:
    """Return a note that no later version replaces.

    Raises:
        InputError: one does.
    """
    note = store.note(start)
    every = store.notes(replaced=True)
    later = every.loc[every["replaces"] == note.id, "id"].tolist()
    if later:
        raise InputError(f"note {note.id[:12]} was replaced by {later[0][:12]}; replace that one")
    return note


def account() -> str:
    """Return the name of the user's account; `unknown` where the system has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"


def note_records(store: Store, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return notes as JSON values: id, time of storage in milliseconds since 1970, and `Note.to_dict`.

    Examples:
        >>> from circuitstore.store import create_store
        >>> with create_store(folder / "store") as new:
        ...     note = add_note(new, "heads first", author="ada")
        ...     list(note_records(new, [note.id])[0])
        ['id', 'created_ms', 'text', 'author', 'about', 'tags', 'hypothesis', 'replaces']
    """
    found = [store.archive.read(NOTES, id) for id in ids]
    return [{"id": note.id, "created_ms": created, **note.to_dict()} for note, created in found]
