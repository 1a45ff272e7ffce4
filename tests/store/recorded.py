"""What a process does durably, in order, with the fault points that it passes in between."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ladybug
import neo4j
import sqlalchemy as sa
from circuitstore.store import archive, lease_holder
from circuitstore.store.faults import fault
from circuitstore.store.graph.ladybug.file import OUR_SUFFIX

FILES = (archive.SUFFIX, archive.IDENTITY, archive.REMOVING, f"{OUR_SUFFIX}.new")
COMMITS = ("COPY ", "COMMIT", "CHECKPOINT")
WRITES = ("SET ", "CREATE ", "DELETE ", "REMOVE ")

Note = Callable[[str, str], None]


@contextmanager
def recorded(path: Path) -> Iterator[None]:
    """Write lines `step WHAT` and `point NAME` to a file. For a process that ends soon: nothing is put back.

    Leases are not renewed: a renewal comes by the clock, on a busy machine between any two steps.
    """
    vars(lease_holder)["RENEW_S"] = 3600.0
    with path.open("w") as file:

        def note(kind: str, what: str) -> None:
            file.write(f"{kind} {' '.join(what.split())[:60]}\n")

        for module in [m for name, m in sys.modules.items() if name.startswith("circuitstore.store.")]:
            if getattr(module, "fault", None) is fault:
                vars(module)["fault"] = lambda name: note("point", name)
        _watch(os, "fsync", lambda *_: note("step", "fsync"))
        sys.addaudithook(lambda event, args: note("step", f"{event} {args[0]}") if _moves(event, args) else None)
        sa.event.listen(sa.Engine, "commit", lambda _: note("step", "commit of the catalog"))  # pyright: ignore[reportAttributeAccessIssue]
        _watch_ladybug(note)
        _watch_neo4j(note)
        yield


def _watch(owner: Any, name: str, before: Callable[..., None]) -> None:
    original = getattr(owner, name)

    def watched(*args: Any, **named: Any) -> Any:
        before(*args)
        return original(*args, **named)

    setattr(owner, name, watched)


def _moves(event: str, args: tuple[Any, ...]) -> bool:
    return event in ("os.rename", "os.remove") and any(name in str(args[0]) for name in FILES)


def _watch_ladybug(note: Note) -> None:
    """Outside a transaction a statement that writes commits itself."""
    within: set[int] = set()

    def seen(connection: ladybug.Connection, statement: str, *_: Any) -> None:
        if statement.startswith("BEGIN"):
            within.add(id(connection))
        if statement.startswith(COMMITS) or (id(connection) not in within and _is_write(statement)):
            note("step", statement)
        if statement.startswith("COMMIT"):
            within.discard(id(connection))

    _watch(ladybug.Connection, "execute", seen)


def _watch_neo4j(note: Note) -> None:
    wrote: set[int] = set()
    base = neo4j.ManagedTransaction.__mro__[1]

    def commits(transaction: object) -> None:
        if id(transaction) in wrote:
            wrote.discard(id(transaction))
            note("step", "commit of the server")

    _watch(neo4j.Session, "run", lambda _, text, *__: note("step", text) if _is_write(text) else None)
    _watch(base, "run", lambda tx, text, *_: wrote.add(id(tx)) if _is_write(text) else None)
    _watch(base, "_commit", commits)


def _is_write(statement: str) -> bool:
    return any(word in statement for word in WRITES)
