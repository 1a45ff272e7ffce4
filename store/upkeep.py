"""Keeping a store in order: collecting what no run refers to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import pandas as pd

from ..errors import StoreDamaged
from ..results import Table
from . import ledger
from .archive import KINDS, Kind
from .runs import KEY, run_key
from .tables import circuits, discoveries

if TYPE_CHECKING:
    from .writer import Writer

REFILL = 400
"""Circuits read and projected at once when the graph is filled from the archive."""

EDGES = 500_000
"""Edges at once, whatever the number of circuits: others wait for the graph meanwhile."""


def groups(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Circuits, given by id with their edges, in groups of at most `REFILL` and about `EDGES`, at least one."""
    group: list[str] = []
    edges = 0
    for id, size in sizes.items():
        if group and (len(group) == REFILL or edges + size > EDGES):
            yield group
            group, edges = [], 0
        group.append(id)
        edges += size
    if group:
        yield group


def collect(writer: Writer) -> Table:
    """See `Writer.gc`. Graph first, files last, by a list that outlives a kill: the next writer finishes the work.

    Files that neither the catalog nor that list names are no rubbish: they may be all that is left of a lost catalog.
    """
    with writer.catalog.reading() as connection:
        loose, answered, unused = ledger.unreferenced(connection)
        listed = set(ledger.stored(connection, circuits))
    present = writer.graph.present()
    strangers = present.keys() - listed
    gone = sorted(present.keys() & (set(loose) | strangers))
    writer.graph.remove(gone)
    writer.archive.announce_removal({"circuit": loose, "discovery": answered})
    with writer.writing() as connection:
        ledger.forget(connection, circuits, loose)
        ledger.forget(connection, discoveries, answered)
        ledger.strike_items(connection, unused)
    with writer.catalog.reading() as connection:
        asked = ledger.unanswered(connection)
    removed = finish_removal(writer) + writer.archive.sweep_journals(asked)
    lost = sum(len(unlisted(writer, kind)) for kind in KINDS)
    if lost:
        writer.say(f"{lost} files of the archive are in no catalog, and were kept; circuitstore rebuild takes them up")
    return counts(
        {
            "circuits removed from the graph": len(gone),
            "circuits removed from the catalog": len(loose),
            "discoveries removed from the catalog": len(answered),
            "files removed from the archive": removed,
        }
    )


def finish_removal(writer: Writer) -> int:
    """Remove the files that a collection announced and the catalog has forgotten; returns how many."""
    removed = 0
    try:
        announced = writer.archive.announced()
    except StoreDamaged as error:
        writer.say(str(error))
        announced = {}
    for kind, ids in announced.items():
        gone = unlisted(writer, kind) if ids else set()
        for id in gone.intersection(ids):
            writer.archive.remove(kind, id)
            removed += 1
    writer.archive.end_removal()
    return removed


def unlisted(writer: Writer, kind: Kind) -> set[str]:
    """Files that the catalog does not list."""
    there = set(writer.archive.ids(kind))
    with writer.catalog.reading() as connection:
        if kind == "run":
            runs = {run_key(name) for name in ledger.run_names(connection)}
            return {id for id in there if id[:KEY] not in runs}
        return there.difference(ledger.stored(connection, discoveries if kind == "discovery" else circuits))


def counts(counts: dict[str, int]) -> Table:
    return Table(pd.DataFrame(list(counts.items()), columns=["what", "count"]))
