"""Making the catalog's lists and the graph again from the archive.

What the archive tells is taken from there: runs and what they were asked for, discoveries, circuits. What only a
catalog knows (failures, how often and when an item was tried) is taken from the catalog, where that can be read.
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
from .kinds import CIRCUIT, DISCOVERY, KINDS, Stored, StoredKind
from .lease import now_ms
from .parts import Parts
from .projection import Projection
from .requests import sound_asked
from .runs import Asked, Run, in_order, merged
from .salvage import Listed
from .upkeep import counts

RECOVERED = "recovered"
"""The run that is given what was found in the archive, and neither in the catalog nor in a run."""

KEYS = {
    "runs": ("name",),
    "run_items": ("run", "item"),
    "run_circuits": ("run", "circuit"),
    "items": ("id",),
}
"""What tells the rows of a table apart; those of a kind of values their id."""


@dataclass
class ArchiveContents:
    """What the archive holds.

    Attributes:
        asked: of runs.
        items: all questions that occur, by id.
        rows: of the catalog, by the name of their kind and by id.
        extractions: of the circuits, by id.
    """

    asked: list[Asked] = field(default_factory=list)
    items: dict[str, WorkItem] = field(default_factory=dict)
    rows: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {name: {} for name in KINDS})
    extractions: dict[str, Extraction] = field(default_factory=dict)

    @property
    def discoveries(self) -> Mapping[str, Mapping[str, Any]]:
        """Rows of the discoveries, by id."""
        return self.rows[DISCOVERY.name]

    @property
    def circuits(self) -> Mapping[str, Mapping[str, Any]]:
        """Rows of the circuits, by id."""
        return self.rows[CIRCUIT.name]


def rebuild(parts: Parts, projection: Projection, old: Listed | None) -> Table:
    """See `Writer.rebuild`. Killed at any point, the next writer fills the graph, a second call does the rest."""
    if old is None:
        with parts.catalog.reading() as connection:
            old = Listed.of(connection)
    else:
        for notice in old.notices:
            parts.say(notice)
    projection.graph.clear()
    found = _found(parts)
    found.items |= {id: item for id, item in _items(old).items() if id not in found.items}
    for asked in (*_missing_runs(found, old), *_recovered(found, old)):
        parts.archive.write_asked(asked, parts.store_id)
        found.asked.append(asked)
    with parts.writing() as connection:
        ledger.clear(connection)
        for asked in in_order(found.asked):
            ledger.enter_run(connection, asked)
        ledger.enter_items(connection, list(found.items.values()), now_ms())
        for name, kind in KINDS.items():
            answers.enter_rows(connection, kind, found.rows[name].values())
        ledger.set_states(connection, _states(found, old))
        new = Listed.of(connection)
    projection.load({id: row["n_edges"] for id, row in found.circuits.items()})
    tables = [kind.table.name for kind in KINDS.values()]
    return counts(
        {
            **{f"{name} taken up from the archive": len(_ids(new, name) - _ids(old, name)) for name in tables},
            "catalog rows corrected": sum(_differing(old, new)),
            "lost or damaged files, asked again": sum(len(_ids(old, name) - _ids(new, name)) for name in tables),
            "circuits in the graph": len(projection.graph.present()),
        }
    )


# --- what the archive holds ------------------------------------------------------------------------


def _found(parts: Parts) -> ArchiveContents:
    found = ArchiveContents(asked=[one for id in parts.archive.ids(RUN) if (one := sound_asked(parts, id))])
    found.items = {item.id: item for one in found.asked for item in one.items}
    for name, kind in KINDS.items():
        for row, asked in _listed(parts, kind):
            found.rows[name][row["id"]] = row
            if asked is not None:
                item, extraction = asked
                found.items[item.id] = item
                if extraction is not None:
                    found.extractions[row["id"]] = extraction
    return found


Row = tuple[dict[str, Any], tuple[WorkItem, Extraction | None] | None]


def _listed(parts: Parts, kind: StoredKind[Any]) -> Iterator[Row]:
    """Row and question of every sound file of a kind; damaged files are set aside."""
    ids = list(parts.archive.ids(kind.name))
    with deferred(), ExitStack() as left:
        readers = ThreadPoolExecutor(os.cpu_count())  # decoding and hashing leave the interpreter free
        left.callback(readers.shutdown, cancel_futures=True)  # at an error, what has not begun is not done
        for id, row in zip(ids, readers.map(partial(_row, parts.archive, kind), ids), strict=True):
            safe_point()
            if isinstance(row, StoreDamaged):
                _set_aside(parts, kind.name, id, row)
            else:
                yield row


def _row(archive: Archive, kind: StoredKind[Stored], id: str) -> Row | StoreDamaged:
    """Row and question of a file, every array checked, or what is wrong with it."""
    try:
        value, created = archive.read(kind, id)
    except StoreDamaged as error:
        return error
    return kind.row(value, created), kind.asked(value)


def _set_aside(parts: Parts, kind: str, id: str, error: StoreDamaged) -> None:
    path = parts.archive.set_aside(kind, id)
    lost = "the next index run asks its item again; a result of your own has to be stored again"
    parts.say(f"{error}; it was set aside as {path}; {lost}")


# --- what only the catalog knows -------------------------------------------------------------------


def _ids(listed: Listed, table: str) -> set[str]:
    return {str(row["id"]) for row in listed.rows[table]}


def _items(old: Listed) -> dict[str, WorkItem]:
    """The questions of a catalog that can be believed, as they have their ids."""
    found: dict[str, WorkItem] = {}
    for row in old.rows["items"]:
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            item = WorkItem.from_dict(json.loads(row["item"]))
            if item.id == row["id"]:
                found[item.id] = item
    return found


def _missing_runs(found: ArchiveContents, old: Listed) -> Iterator[Asked]:
    """What runs of a catalog were asked for that the archive does not know: of a lost file, or of an older store."""
    known = merged(found.asked)
    for row in old.rows["runs"]:
        name = row["name"]
        asked, wanted = _asked_by(name, found.items, old)
        run = known.get(name)
        new = [item for item in asked if run is None or item not in run.items]
        circuits = [(item, how) for id, (item, how) in wanted.items() if run is None or id not in run.circuits]
        if not new and not circuits:
            continue
        times = _moments(row) if run is None else [max(run.changed_ms + 1, *_moments(row))]
        spec = row["spec"] if run is None else run.spec
        yield from (Asked(name, spec, tuple(found.items[id] for id in new), tuple(circuits), ms) for ms in times)


def _asked_by(
    name: str, known: Mapping[str, WorkItem], old: Listed
) -> tuple[list[str], dict[str, tuple[str, Extraction]]]:
    """Items of a run, in order, and its wanted circuits with item and extraction, as far as they can be believed."""
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
    """When a run was made and changed, as far as that can be believed."""
    return sorted({ms for ms in (run["created_ms"], run["changed_ms"]) if _is_moment(ms)}) or [now_ms()]


def _is_moment(ms: object) -> bool:
    return isinstance(ms, int) and 0 < ms <= now_ms()


def _recovered(found: ArchiveContents, old: Listed) -> Iterator[Asked]:
    """What the run `recovered` is asked for: what no run refers to, and the catalog did not list."""
    runs = merged(found.asked)
    items = {id for run in runs.values() for id in run.items}
    circuits = {id for run in runs.values() for id in run.circuits}
    stray = [id for id in found.circuits if id not in circuits and id not in _ids(old, "circuits")]
    asked = [id for id in found.discoveries if id not in items and id not in _ids(old, "discoveries")]
    asked += [str(found.circuits[id]["discovery_id"]) for id in stray]
    if not asked:
        return
    run = runs.get(RECOVERED, Run("", 0, 0, (), frozenset()))
    wanted = tuple((str(found.circuits[id]["discovery_id"]), found.extractions[id]) for id in stray)
    questions = tuple(found.items[id] for id in dict.fromkeys(asked))
    yield Asked(RECOVERED, run.spec, questions, wanted, max(now_ms(), run.changed_ms + 1))


def _states(found: ArchiveContents, old: Listed) -> Iterator[dict[str, Any]]:
    """How every item was tried (`ledger.TRIED`), with its id."""
    tried = {row["id"]: row for row in old.rows["items"]}
    asked_ms = {item.id: one.created_ms for one in reversed(in_order(found.asked)) for item in one.items}
    for id, item in found.items.items():
        row = tried.get(id, {})
        answer = found.discoveries.get(id)
        lost = answer is None and item.is_given
        failed = lost or (answer is None and row.get("state") == "failed")
        changed, attempts = row.get("changed_ms"), row.get("attempts")
        otherwise = answer["created_ms"] if answer else asked_ms.get(id, now_ms())
        yield {
            "id": id,
            "state": "done" if answer else "failed" if failed else "wanted",
            "error": ledger.LOST if lost else str(row.get("error") or "") if failed else None,
            "attempts": attempts if isinstance(attempts, int) and 0 <= attempts < 1 << 31 else 0,
            "changed_ms": changed if _is_moment(changed) else otherwise,
        }


def _differing(old: Listed, new: Listed) -> Iterator[bool]:
    """Whether it was otherwise before, for every row that was there before; but how items were tried, and positions."""
    for table, keys in {**KEYS, **{kind.table.name: ("id",) for kind in KINDS.values()}}.items():
        ignored = ledger.TRIED if table == "items" else ("position",)

        def plain(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
            return {tuple(r[k] for k in keys): {k: v for k, v in r.items() if k not in ignored} for r in rows}  # noqa: B023

        before = plain(old.rows[table])
        yield from (before.get(key, row) != row for key, row in plain(new.rows[table]).items())
