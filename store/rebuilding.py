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
from . import answers, encoding, ledger
from .archive import Archive, Kind
from .interrupts import deferred, safe_point
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
    "discoveries": ("id",),
    "circuits": ("id",),
}


@dataclass
class ArchiveContents:
    """What the archive holds.

    Attributes:
        asked: of runs.
        items: all questions that occur, by id.
        discoveries, circuits: rows of the catalog, by id.
        extractions: of the circuits, by id.
    """

    asked: list[Asked] = field(default_factory=list)
    items: dict[str, WorkItem] = field(default_factory=dict)
    discoveries: dict[str, dict[str, Any]] = field(default_factory=dict)
    circuits: dict[str, dict[str, Any]] = field(default_factory=dict)
    extractions: dict[str, Extraction] = field(default_factory=dict)


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
        answers.enter_answers(connection, found.discoveries.values(), found.circuits.values())
        ledger.set_states(connection, _states(found, old))
        new = Listed.of(connection)
    projection.load({id: row["n_edges"] for id, row in found.circuits.items()})
    return counts(
        {
            "discoveries taken up from the archive": len(_ids(new, "discoveries") - _ids(old, "discoveries")),
            "circuits taken up from the archive": len(_ids(new, "circuits") - _ids(old, "circuits")),
            "catalog rows corrected": sum(_differing(old, new)),
            "lost or damaged files, asked again": sum(len(_ids(old, t) - _ids(new, t)) for t in ANSWERS),
            "circuits in the graph": len(projection.graph.present()),
        }
    )


ANSWERS = ("discoveries", "circuits")


# --- what the archive holds ------------------------------------------------------------------------


def _found(parts: Parts) -> ArchiveContents:
    found = ArchiveContents(asked=[one for id in parts.archive.ids("run") if (one := sound_asked(parts, id))])
    found.items = {item.id: item for one in found.asked for item in one.items}
    for id, facts in _discoveries(parts):
        found.items[id] = WorkItem.from_dict(facts["item"])
        images = len(facts["images"])
        row = {"id": id, "sha256": facts["sha256"], "n_images": images, "created_ms": facts["created_ms"]}
        found.discoveries[id] = row
    for id in parts.archive.ids("circuit"):
        safe_point()
        try:
            record, created = parts.archive.circuit(id)
        except StoreDamaged as error:
            _set_aside(parts, "circuit", id, error)
            continue
        found.items.setdefault(record.discovery_id, record.item)
        found.circuits[id], found.extractions[id] = answers.circuit_row(record, created), record.extraction
    return found


def _discoveries(parts: Parts) -> Iterator[tuple[str, encoding.Header]]:
    """What the sound files say; damaged ones are set aside."""
    ids = list(parts.archive.ids("discovery"))
    with deferred(), ExitStack() as left:
        readers = ThreadPoolExecutor(os.cpu_count())  # decoding and hashing leave the interpreter free
        left.callback(readers.shutdown, cancel_futures=True)  # at an error, what has not begun is not done
        for id, facts in zip(ids, readers.map(partial(_checked, parts.archive), ids), strict=True):
            safe_point()
            if isinstance(facts, StoreDamaged):
                _set_aside(parts, "discovery", id, facts)
            else:
                yield id, facts


def _checked(archive: Archive, id: str) -> encoding.Header | StoreDamaged:
    """What the file of a discovery says, every array checked, or what is wrong with it."""
    try:
        return archive.facts("discovery", id)
    except StoreDamaged as error:
        return error


def _set_aside(parts: Parts, kind: Kind, id: str, error: StoreDamaged) -> None:
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
    for table, keys in KEYS.items():
        ignored = ledger.TRIED if table == "items" else ("position",)

        def plain(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
            return {tuple(r[k] for k in keys): {k: v for k, v in r.items() if k not in ignored} for r in rows}  # noqa: B023

        before = plain(old.rows[table])
        yield from (before.get(key, row) != row for key, row in plain(new.rows[table]).items())
