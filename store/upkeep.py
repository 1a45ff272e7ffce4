"""Garbage collection: removal of values that no run refers to."""

from __future__ import annotations

import pandas as pd

from ..errors import StoreDamaged
from ..results import Table
from . import answers, ledger
from .archive import RUN
from .graph.contract import GraphBackend
from .kinds import CIRCUIT, KINDS
from .parts import Parts
from .runs import KEY, run_key


def collect(parts: Parts, graph: GraphBackend) -> Table:
    """See `Writer.gc`. The graph comes first, files last; after a kill the next writer finishes from a stored list.

    Files that neither the catalog nor that list names are kept, because they may be all that is left of a lost catalog.
    """
    with parts.catalog.reading() as connection:
        loose, unused = answers.unreferenced(connection), answers.unreferenced_items(connection)
        listed = set(answers.stored(connection, CIRCUIT))
    present = graph.present()
    strangers = present.keys() - listed
    gone = sorted(present.keys() & (set(loose[CIRCUIT.name]) | strangers))
    graph.remove(gone)
    parts.archive.announce_removal(loose)
    with parts.writing() as connection:
        for name, kind in KINDS.items():
            answers.forget(connection, kind, loose[name])
        ledger.delete_items(connection, unused)
    with parts.catalog.reading() as connection:
        unanswered = ledger.unanswered(connection)
    removed = finish_removal(parts) + parts.archive.sweep_journals(unanswered)
    lost = sum(len(unlisted(parts, kind)) for kind in (*KINDS, RUN))
    if lost:
        parts.notify(f"{lost} archive files are not in the catalog and were kept; circuitstore rebuild adds them")
    return counts(
        {
            "circuits removed from the graph": len(gone),
            **{f"{kind.folder} removed from the catalog": len(loose[name]) for name, kind in KINDS.items()},
            "files removed from the archive": removed,
        }
    )


def finish_removal(parts: Parts) -> int:
    """Remove the files that a removal announced and the catalog no longer lists; return their number."""
    removed = 0
    try:
        announced = parts.archive.announced()
    except StoreDamaged as error:
        parts.notify(str(error))
        announced = {}
    for kind, ids in announced.items():
        gone = unlisted(parts, kind) if ids else set()
        for id in gone.intersection(ids):
            parts.archive.remove(kind, id)
            removed += 1
    parts.archive.end_removal()
    return removed


def unlisted(parts: Parts, kind: str) -> set[str]:
    """Return the ids of files that the catalog does not list."""
    there = set(parts.archive.ids(kind))
    with parts.catalog.reading() as connection:
        if kind == RUN:
            runs = {run_key(name) for name in ledger.run_names(connection)}
            return {id for id in there if id[:KEY] not in runs}
        return there.difference(answers.stored(connection, KINDS[kind]))


def counts(counts: dict[str, int]) -> Table:
    return Table(pd.DataFrame(list(counts.items()), columns=["what", "count"]))
