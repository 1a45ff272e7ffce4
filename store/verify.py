"""Comparison of the three parts of a store, with one row per difference.

The archive is compared with its own checksums, the catalog with the archive, and the graph with both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from typing import Any

import pandas as pd

from ..errors import InputError, StoreDamaged, StoreError, StoreForeign, StoreUnreachable
from ..results import Table
from . import answers, catalog_lease, ledger
from .archive import RUN, Archive
from .catalog import Catalog
from .graph.audit import Shared, reading, strays
from .graph.content import GraphContent
from .graph.contract import GraphBackend
from .kinds import CIRCUIT, KINDS, StoredKind
from .lease import shown
from .noted import graph_notes
from .runs import Run, RunRequest, merge_requests, run_key

REBUILD = "circuitstore rebuild"
SWEPT = "the next circuitstore index removes it"
WAIT = "wait for the server, or start it, then run circuitstore verify again"
AGAIN = "index again to compute it, or store it again if it is your own"
COMPUTE = f"restore the file from a backup, or run circuitstore rebuild, then {AGAIN}"
WRITE_AGAIN = "circuitstore rebuild writes it again"
ADD = "circuitstore rebuild adds it"

MOVE = (
    "give another graph with --graph, or move the file away (empty the server's database, if nobody needs its "
    "content), and run circuitstore rebuild"
)


@dataclass(frozen=True)
class Difference:
    """One difference between the parts of a store.

    Attributes:
        part: `archive`, `catalog` or `graph`.
        kind: kind of difference, such as `missing file`.
        id: id of the value or item; for a run, its name or the id of its file.
        what: description.
        remedy: how to repair it.
    """

    part: str
    kind: str
    id: str
    what: str
    remedy: str


COLUMNS = ["part", "kind", "id", "what", "remedy"]


def differences(archive: Archive, catalog: Catalog, graph: Callable[[], GraphBackend]) -> Table:
    """See `Store.verify`.

    Args:
        archive: the archive.
        catalog: the catalog.
        graph: opens the graph; an error that it raises is reported as a difference.
    """
    sound: dict[str, set[str]] = {name: set() for name in KINDS}
    found = [*_catalog(catalog), *_unfinished(archive, catalog), *_runs(archive, catalog)]
    for name, kind in KINDS.items():
        found += _values(archive, catalog, kind, sound[name])
    found += [*_states(catalog), *_graph(archive, catalog, graph, sound[CIRCUIT.name])]
    busy = _writing_process(catalog)
    busy_note = "is writing to the store; unfinished writes may be listed here"
    notes = () if busy is None else (f"{shown(busy)} {busy_note}",)
    return Table(pd.DataFrame([astuple(d) for d in found], columns=COLUMNS), notes)


def _writing_process(catalog: Catalog) -> str | None:
    with catalog.reading() as connection:
        return catalog_lease.writing_process(connection)


def _unfinished(archive: Archive, catalog: Catalog) -> Iterator[Difference]:
    """Yield the temporary files, unless a writer is running, which has its own."""
    if _writing_process(catalog) is None:
        for path in archive.leftovers():
            what = f"{path} was left by an interrupted run"
            yield Difference("archive", "unfinished file", "", what, f"none is needed: {SWEPT}")


def _catalog(catalog: Catalog) -> Iterator[Difference]:
    """Yield the error that the engine finds in a catalog file, which has no checksums."""
    if reason := catalog.flaw():
        yield Difference("catalog", "damaged file", "", f"{catalog.file}: {reason}", REBUILD)


def _runs(archive: Archive, catalog: Catalog) -> Iterator[Difference]:
    """Compare the runs of the catalog with the requests in the archive."""
    with catalog.reading() as connection:
        listed = ledger.listed_runs(connection)
    requests: list[RunRequest] = []
    ids = list(archive.ids(RUN))
    for id in ids:
        try:
            requests.append(archive.request(id))
        except StoreDamaged as error:
            yield Difference("archive", "damaged file", id, str(error), WRITE_AGAIN)
    whole = len(requests) == len(ids)
    for one in requests:
        if not _is_listed(one, listed):  # the process that wrote it was killed
            yield Difference(
                "archive", "orphan file", one.id, f"the catalog does not list this request of {one.run}", ADD
            )
    kept = merge_requests(one for one in requests if _is_listed(one, listed))
    for name in sorted(kept.keys() - listed.keys()):
        yield Difference("archive", "orphan file", name, f"the catalog does not list the run {name}", ADD)
    for name, run in listed.items():
        if name in kept and whole and (wrong := _changed(run, kept[name])):
            what = f"{', '.join(wrong)} of the run {name}: the archive's differ"
            yield Difference("catalog", "altered row", name, what, REBUILD)
        elif not any(id.startswith(run_key(name)) for id in ids):
            what = f"the archive has no request of the run {name}"
            yield Difference("archive", "missing file", name, what, f"any circuitstore index, or {WRITE_AGAIN}")


def _is_listed(request: RunRequest, listed: Mapping[str, Run]) -> bool:
    """Return whether the catalog's row of a run is as new as a request; where there is no row, the run is reported."""
    return request.run not in listed or request.created_ms <= listed[request.run].changed_ms


def _changed(run: Run, kept: Run) -> list[str]:
    """Return the fields in which a run of the catalog differs from the requests in the archive."""
    return [field.name for field in fields(Run) if getattr(run, field.name) != getattr(kept, field.name)]


def _files(archive: Archive, kind: str, listed: set[str]) -> Iterator[Difference]:
    """Yield files that the catalog does not list, and listed files that do not exist."""
    there = set(archive.ids(kind))
    for id in sorted(there - listed):
        what = f"the catalog does not list {archive.path(kind, id)}"
        yield Difference("archive", "orphan file", id, what, ADD)
    for id in sorted(listed - there):
        yield Difference("archive", "missing file", id, f"{archive.path(kind, id)} does not exist", COMPUTE)


def _values(archive: Archive, catalog: Catalog, kind: StoredKind[Any], sound: set[str]) -> Iterator[Difference]:
    """Compare the values of a kind in archive and catalog; add the ids of the sound ones to `sound`."""
    with catalog.reading() as connection:
        rows = answers.rows(connection, kind)
    yield from _files(archive, kind.name, set(rows))
    for id, row in rows.items():
        if not archive.has(kind.name, id):
            continue
        try:
            expected = kind.row(*archive.read(kind, id))
        except StoreDamaged as error:
            yield Difference("archive", "damaged file", id, str(error), COMPUTE)
            continue
        sound.add(id)
        for name in expected:
            if row[name] != expected[name]:
                what = f"{name} is {row[name]!r}, the archive's is {expected[name]!r}"
                yield Difference("catalog", "altered row", id, what, REBUILD)


def _states(catalog: Catalog) -> Iterator[Difference]:
    """Yield items whose rows contradict themselves, or that are `done` without an answer."""
    with catalog.reading() as connection:
        altered, wrong = list(ledger.altered_items(connection)), ledger.falsely_done(connection)
    for id, what in altered:
        yield Difference("catalog", "altered row", id, what, REBUILD)
    for id in wrong:
        yield Difference("catalog", "wrong state", id, "the item is done, but its answer is not listed", REBUILD)


def _graph(
    archive: Archive, catalog: Catalog, open_graph: Callable[[], GraphBackend], sound: set[str]
) -> Iterator[Difference]:
    """Compare the graph with the archive's sound circuits, node by node and edge by edge."""
    with catalog.reading() as connection:
        listed = answers.stored(connection, CIRCUIT)
    try:
        graph = open_graph()
        present = graph.present()
    except StoreForeign as error:
        yield Difference("graph", "foreign graph", "", str(error), MOVE)
        return
    except StoreUnreachable as error:
        yield Difference("graph", "unreachable graph", "", str(error), WAIT)
        return
    except StoreError as error:
        yield Difference("graph", "missing graph", "", str(error), REBUILD)
        return
    for id in sorted(listed.keys() - present.keys()):
        remedy = f"{REBUILD}, or any index run, which adds it"
        yield Difference("graph", "missing circuit", id, "the catalog lists it, but the graph lacks it", remedy)
    for id in sorted(present.keys() - listed.keys()):
        what = "the graph contains it, but the catalog does not list it"
        yield Difference("graph", "extra circuit", id, what, f"circuitstore gc, or {REBUILD}")
    shared = Shared()
    for id in sorted(present.keys() & sound):
        try:
            record, created = archive.circuit(id)
            shared.add(record)
            found = GraphContent.of(record, created).differences(graph.content(id))
        except (InputError, StoreError) as error:  # present but not found by its key: the database is damaged
            found = [str(error)]
        for what in found:
            yield Difference("graph", "altered circuit", id, what, REBUILD)
    with catalog.reading() as connection:
        notes = graph_notes(connection)
    for id, what in notes.differences(reading(graph)):
        yield Difference("graph", "altered Note", id, what, f"{REBUILD}, or any index run")
    for label, key, what in shared.differences(graph):
        yield Difference("graph", f"altered {label}", key, what, REBUILD)
    if _writing_process(catalog) is None:  # a writer writes nodes before their circuits
        for id, what in strays(graph).items():
            yield Difference("graph", "orphan nodes", id, what, f"none is needed: {SWEPT}; or {REBUILD}")
