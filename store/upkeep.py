"""Keeping a store in order: collecting what no run refers to, and making the graph anew."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..circuits import CircuitRecord
from ..errors import StoreDamaged
from ..results import Table
from . import ledger
from .archive import KINDS, Archive, Kind
from .interrupts import deferred, safe_point
from .tables import circuits, discoveries

if TYPE_CHECKING:
    from .writer import Writer

REFILL = 400
"""Circuits read and projected at once when the graph is filled from the archive."""

EDGES = 500_000
"""Edges at once, whatever the number of circuits: others wait for the graph meanwhile."""

RECOVERED = "recovered"
"""The run that what was found in the archive, and in no run, is given to."""

_TABLES = {"discovery": discoveries, "circuit": circuits}


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
    unlisted = sum(len(_unlisted(writer, kind)) for kind in KINDS)
    if unlisted:
        writer.say(
            f"{unlisted} files of the archive are in no catalog, and were kept; circuitstore rebuild takes them up"
        )
    return _counts(
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
    for kind, ids in writer.archive.announced().items():
        unlisted = _unlisted(writer, kind) if ids else set()
        for id in unlisted.intersection(ids):
            writer.archive.remove(kind, id)
            removed += 1
    writer.archive.end_removal()
    return removed


def _unlisted(writer: Writer, kind: Kind) -> set[str]:
    """Files that the catalog does not list."""
    with writer.catalog.reading() as connection:
        return set(writer.archive.ids(kind)).difference(ledger.stored(connection, _TABLES[kind]))


def rebuild(writer: Writer) -> Table:
    """See `Writer.rebuild`. Killed at any point, the next writer fills the graph, a second call does the rest."""
    writer.graph.clear()
    taken = {kind: _take_up(writer, kind) for kind in KINDS}
    writer.flush()
    asked, corrected = _mend_discoveries(writer), 0
    with writer.catalog.reading() as connection:
        rows = ledger.circuit_rows(connection)
    for ids in groups({id: row["n_edges"] for id, row in rows.items()}):
        sound = writer.sound_circuits(ids)
        asked += len(ids) - len(sound)
        corrected += sum(_mend_row(writer, rows[record.id], record, created) for record, created in sound)
        writer.graph.put([record for record, _ in sound], {record.id: created for record, created in sound})
    return _counts(
        {
            "discoveries taken up from the archive": taken["discovery"],
            "circuits taken up from the archive": taken["circuit"],
            "catalog rows corrected": corrected,
            "lost or damaged files, asked again": asked,
            "circuits in the graph": len(writer.graph.present()),
        }
    )


def _mend_row(writer: Writer, row: dict[str, Any], record: CircuitRecord, created_ms: int) -> bool:
    """Makes the catalog's row of a circuit what the archive says; returns whether it was not."""
    if row == ledger.circuit_row(record, created_ms):
        return False
    with writer.writing() as connection:
        ledger.forget(connection, circuits, [record.id])
        run = ledger.run_of(connection, "circuit", record.id) or RECOVERED
        ledger.enter_circuit(connection, record, created_ms, run)
    return True


def _take_up(writer: Writer, kind: Kind) -> int:
    """Files that the catalog does not list; returns how many were sound."""
    unlisted = sorted(_unlisted(writer, kind))
    with writer.catalog.reading() as connection:
        runs = [ledger.run_of(connection, kind, id) or RECOVERED for id in unlisted]
    return sum(writer.take_up(kind, id, run) for id, run in zip(unlisted, runs, strict=True))


def _mend_discoveries(writer: Writer) -> int:
    """Sets damaged files aside, strikes lost ones out, corrects rows; returns how many items are asked again."""
    with writer.writing() as connection:
        asked = ledger.free_unanswered(connection)
        listed = ledger.stored(connection, discoveries)
    with deferred(), ExitStack() as left:
        readers = ThreadPoolExecutor(os.cpu_count())  # decoding and hashing leave the interpreter free
        left.callback(readers.shutdown, cancel_futures=True)  # at an error, what has not begun is not done
        found = readers.map(partial(_checked, writer.archive), listed)
        for (id, checksum), now in zip(listed.items(), found, strict=True):
            safe_point()
            try:
                if isinstance(now, StoreDamaged):
                    raise now
                if now != checksum:
                    _enter_again(writer, id)
            except StoreDamaged as error:
                writer.set_aside("discovery", id, error)
                asked += 1
    return asked


def _enter_again(writer: Writer, id: str) -> None:
    """Makes the catalog's row of a discovery what the archive says."""
    discovery, created = writer.archive.discovery(id)
    with writer.writing() as connection:
        ledger.forget(connection, discoveries, [id])
        run = ledger.run_of(connection, "discovery", id) or RECOVERED
        ledger.enter_discovery(connection, discovery, created, run)


def _checked(archive: Archive, id: str) -> str | StoreDamaged:
    """Checksum of a discovery as its file tells it, every array checked, or what is wrong with the file."""
    try:
        return archive.checksum("discovery", id)
    except StoreDamaged as error:
        return error


def _counts(counts: dict[str, int]) -> Table:
    return Table(pd.DataFrame(list(counts.items()), columns=["what", "count"]))
