"""Keeping a store in order: collecting what no run refers to."""

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
    """See `Writer.gc`. Graph first, files last, by a list that outlives a kill: the next writer finishes the work.

    Files that neither the catalog nor that list names are no rubbish: they may be all that is left of a lost catalog.
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
        ledger.strike_items(connection, unused)
    with parts.catalog.reading() as connection:
        asked = ledger.unanswered(connection)
    removed = finish_removal(parts) + parts.archive.sweep_journals(asked)
    lost = sum(len(unlisted(parts, kind)) for kind in (*KINDS, RUN))
    if lost:
        parts.say(f"{lost} files of the archive are in no catalog, and were kept; circuitstore rebuild takes them up")
    return counts(
        {
            "circuits removed from the graph": len(gone),
            **{f"{kind.folder} removed from the catalog": len(loose[name]) for name, kind in KINDS.items()},
            "files removed from the archive": removed,
        }
    )


def finish_removal(parts: Parts) -> int:
    """Remove the files that a collection announced and the catalog has forgotten; returns how many."""
    removed = 0
    try:
        announced = parts.archive.announced()
    except StoreDamaged as error:
        parts.say(str(error))
        announced = {}
    for kind, ids in announced.items():
        gone = unlisted(parts, kind) if ids else set()
        for id in gone.intersection(ids):
            parts.archive.remove(kind, id)
            removed += 1
    parts.archive.end_removal()
    return removed


def unlisted(parts: Parts, kind: str) -> set[str]:
    """Files that the catalog does not list."""
    there = set(parts.archive.ids(kind))
    with parts.catalog.reading() as connection:
        if kind == RUN:
            runs = {run_key(name) for name in ledger.run_names(connection)}
            return {id for id in there if id[:KEY] not in runs}
        return there.difference(answers.stored(connection, KINDS[kind]))


def counts(counts: dict[str, int]) -> Table:
    return Table(pd.DataFrame(list(counts.items()), columns=["what", "count"]))
