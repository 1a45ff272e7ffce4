"""Rebuilding of the catalog and the graph from the archive.

Runs with their requests and all stored values come from the archive. Data that only a catalog has (failures, number
and time of attempts) come from the old catalog, as far as it can be read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..circuits import Extraction, WorkItem, circuit_id
from ..errors import StoreDamaged
from ..results import Table
from . import answers, ledger
from .archive import RUN, Archive
from .interrupts import deferred, safe_point
from .kinds import CIRCUIT, FITS, KINDS, Question, Stored, StoredKind, answering_kinds
from .lease import now_ms
from .parts import RECOMPUTED, Parts
from .projection import Projection
from .requests import sound_request
from .runs import Run, RunRequest, merge_requests, sort_requests
from .salvage import CatalogRows
from .upkeep import counts

RECOVERED = "recovered"
"""The run that receives values of the archive that are neither in the catalog nor in a run."""

KEYS = {
    "runs": ("name",),
    "run_items": ("run", "item"),
    "run_circuits": ("run", "circuit"),
    "run_values": ("run", "kind", "value"),
    "items": ("id",),
}
"""Key columns of each table; those of a kind of values have the key `id`."""


@dataclass
class ArchiveContents:
    """Content of the archive.

    Attributes:
        requests: requests of runs.
        items: items of all files, by id.
        rows: catalog rows, by the name of their kind and by id.
        extractions: extractions of the circuits, by id.
    """

    requests: list[RunRequest] = field(default_factory=list)
    items: dict[str, WorkItem] = field(default_factory=dict)
    rows: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {name: {} for name in KINDS})
    extractions: dict[str, Extraction] = field(default_factory=dict)

    @property
    def answers(self) -> Mapping[str, Mapping[str, Any]]:
        """Rows of the answers to items, by id."""
        return {id: row for kind in answering_kinds() for id, row in self.rows[kind.name].items()}

    @property
    def circuits(self) -> Mapping[str, Mapping[str, Any]]:
        """Rows of the circuits, by id."""
        return self.rows[CIRCUIT.name]


def rebuild(parts: Parts, projection: Projection, old: CatalogRows | None) -> Table:
    """See `Writer.rebuild`. After a kill at any point the next writer fills the graph, and a second call the rest."""
    if old is None:
        with parts.catalog.reading() as connection:
            old = CatalogRows.of(connection)
    else:
        for notice in old.notices:
            parts.notify(notice)
    projection.graph.clear()
    found = _found(parts)
    found.items |= {id: item for id, item in _items(old).items() if id not in found.items}
    for request in (*_missing_requests(found, old), *_recovered(found, old)):
        parts.archive.write_request(request, parts.store_id)
        found.requests.append(request)
    with parts.writing() as connection:
        ledger.clear(connection)
        for request in sort_requests(found.requests):
            ledger.add_run(connection, request)
        ledger.add_items(connection, list(found.items.values()), now_ms())
        for name, kind in KINDS.items():
            answers.insert_rows(connection, kind, found.rows[name].values())
        ledger.set_states(connection, _states(found, old))
        new = CatalogRows.of(connection)
    projection.load({id: row["n_edges"] for id, row in found.circuits.items()})
    projection.set_notes()
    tables = [kind.table.name for kind in KINDS.values()]
    return counts(
        {
            **{f"{name} added from the archive": len(_ids(new, name) - _ids(old, name)) for name in tables},
            "catalog rows corrected": sum(_differing(old, new)),
            "lost or damaged values to compute again": sum(len(_ids(old, name) - _ids(new, name)) for name in tables),
            "circuits in the graph": len(projection.graph.present()),
        }
    )


# --- content of the archive ------------------------------------------------------------------------


def _found(parts: Parts) -> ArchiveContents:
    found = ArchiveContents(requests=[one for id in parts.archive.ids(RUN) if (one := sound_request(parts, id))])
    found.items = {item.id: item for one in found.requests for item in one.items}
    for name, kind in KINDS.items():
        for row, question in _sound_rows(parts, kind):
            found.rows[name][row["id"]] = row
            if question is not None:
                item, extraction = question
                found.items[item.id] = item
                if extraction is not None:
                    found.extractions[row["id"]] = extraction
    return found


Row = tuple[dict[str, Any], Question | None]


def _sound_rows(parts: Parts, kind: StoredKind[Any]) -> Iterator[Row]:
    """Yield row and question of every sound file of a kind; set damaged files aside."""
    ids = list(parts.archive.ids(kind.name))
    with deferred(), ExitStack() as left:
        readers = ThreadPoolExecutor(os.cpu_count())  # decoding and hashing release the GIL
        left.callback(readers.shutdown, cancel_futures=True)  # do not start the rest after an error
        for id, row in zip(ids, readers.map(partial(_row, parts.archive, kind), ids), strict=True):
            safe_point()
            if isinstance(row, StoreDamaged):
                _set_aside(parts, kind.name, id, row)
            else:
                yield row


def _row(archive: Archive, kind: StoredKind[Stored], id: str) -> Row | StoreDamaged:
    """Return row and question of a file, with every array checked, or the error of a damaged one."""
    try:
        value, created = archive.read(kind, id)
    except StoreDamaged as error:
        return error
    return kind.row(value, created), kind.question(value)


def _set_aside(parts: Parts, kind: str, id: str, error: StoreDamaged) -> None:
    path = parts.archive.set_aside(kind, id)
    parts.notify(f"{error}; it was set aside as {path}; {RECOMPUTED}")


# --- data that only the catalog has ----------------------------------------------------------------


def _ids(catalog: CatalogRows, table: str) -> set[str]:
    return {str(row["id"]) for row in catalog.rows[table]}


def _items(old: CatalogRows) -> dict[str, WorkItem]:
    """Return the sound items of a catalog, those that match their ids."""
    found: dict[str, WorkItem] = {}
    for row in old.rows["items"]:
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            item = WorkItem.from_dict(json.loads(row["item"]))
            if item.id == row["id"]:
                found[item.id] = item
    return found


def _missing_requests(found: ArchiveContents, old: CatalogRows) -> Iterator[RunRequest]:
    """Yield requests that the catalog has and the archive lacks: those of lost files or of an older store."""
    known = merge_requests(found.requests)
    for row in old.rows["runs"]:
        name = row["name"]
        requested, wanted = _requested_by(name, found.items, old)
        run = known.get(name)
        new = [item for item in requested if run is None or item not in run.items]
        circuits = [(item, how) for id, (item, how) in wanted.items() if run is None or id not in run.circuits]
        kept = {(v["kind"], v["value"]) for v in old.rows["run_values"] if v["run"] == name and v["kind"] in KINDS}
        values = tuple(sorted(kept - run.values if run else kept))
        if not new and not circuits and not values:
            continue
        times = _moments(row) if run is None else [max(run.changed_ms + 1, *_moments(row))]
        spec = row["spec"] if run is None else run.spec
        items = tuple(found.items[id] for id in new)
        yield from (RunRequest(name, spec, items, tuple(circuits), ms, values) for ms in times)


def _requested_by(
    name: str, known: Mapping[str, WorkItem], old: CatalogRows
) -> tuple[list[str], dict[str, tuple[str, Extraction]]]:
    """Return the sound items of a run, in order, and its sound requested circuits with item and extraction."""
    rows = sorted((row for row in old.rows["run_items"] if row["run"] == name), key=lambda row: str(row["position"]))
    rows.sort(key=lambda row: row["position"] if isinstance(row["position"], int) else 0)
    wanted: dict[str, tuple[str, Extraction]] = {}
    for row in old.rows["run_circuits"]:
        if row["run"] == name and row["item"] in known:
            with suppress(ValueError, KeyError, TypeError, AttributeError):
                extraction = Extraction.from_dict(json.loads(row["extraction"]))
                if circuit_id(row["item"], extraction) == row["circuit"]:
                    wanted[row["circuit"]] = row["item"], extraction
    return [row["item"] for row in rows if row["item"] in known], wanted


def _moments(run: Mapping[str, Any]) -> list[int]:
    """Return the plausible times of a run's creation and last change, or the current time."""
    return sorted({ms for ms in (run["created_ms"], run["changed_ms"]) if _is_moment(ms)}) or [now_ms()]


def _is_moment(ms: object) -> bool:
    return isinstance(ms, int) and 0 < ms <= now_ms()


def _recovered(found: ArchiveContents, old: CatalogRows) -> Iterator[RunRequest]:
    """Yield the request of the run `recovered`: values that no run refers to and the catalog did not list."""
    runs = merge_requests(found.requests)
    items = {id for run in runs.values() for id in run.items}
    circuits = {id for run in runs.values() for id in run.circuits}
    stray = [id for id in found.circuits if id not in circuits and id not in _ids(old, "circuits")]
    listed = set().union(*(_ids(old, kind.table.name) for kind in answering_kinds()))
    stray_items = [id for id in found.answers if id not in items and id not in listed]
    stray_items += [str(found.circuits[id]["discovery_id"]) for id in stray]
    kept = {id for run in runs.values() for _, id in run.values} | _ids(old, FITS.table.name)
    fits = tuple((FITS.name, id) for id in found.rows[FITS.name] if id not in kept)
    if not stray_items and not fits:
        return
    run = runs.get(RECOVERED, Run("", 0, 0, (), frozenset()))
    wanted = tuple((str(found.circuits[id]["discovery_id"]), found.extractions[id]) for id in stray)
    questions = tuple(found.items[id] for id in dict.fromkeys(stray_items))
    yield RunRequest(RECOVERED, run.spec, questions, wanted, max(now_ms(), run.changed_ms + 1), fits)


def _states(found: ArchiveContents, old: CatalogRows) -> Iterator[dict[str, Any]]:
    """Yield the columns `ledger.TRIED` of every item, with its id."""
    tried = {row["id"]: row for row in old.rows["items"]}
    requested_ms = {item.id: one.created_ms for one in reversed(sort_requests(found.requests)) for item in one.items}
    given = found.answers
    for id, item in found.items.items():
        row, answer = tried.get(id, {}), given.get(id)
        lost = answer is None and item.is_given
        failed = lost or (answer is None and row.get("state") == "failed")
        changed, attempts = row.get("changed_ms"), row.get("attempts")
        otherwise = answer["created_ms"] if answer else requested_ms.get(id, now_ms())
        yield {
            "id": id,
            "state": "done" if answer else "failed" if failed else "wanted",
            "error": ledger.LOST if lost else str(row.get("error") or "") if failed else None,
            "attempts": attempts if isinstance(attempts, int) and 0 <= attempts < 1 << 31 else 0,
            "changed_ms": changed if _is_moment(changed) else otherwise,
        }


def _differing(old: CatalogRows, new: CatalogRows) -> Iterator[bool]:
    """Yield for every row whether it changed, ignoring new rows, `ledger.TRIED` and positions."""
    for table, keys in {**KEYS, **{kind.table.name: ("id",) for kind in KINDS.values()}}.items():
        ignored = ledger.TRIED if table == "items" else ("position",)

        def plain(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
            return {tuple(r[k] for k in keys): {k: v for k, v in r.items() if k not in ignored} for r in rows}  # noqa: B023

        before = plain(old.rows[table])
        yield from (before.get(key, row) != row for key, row in plain(new.rows[table]).items())
