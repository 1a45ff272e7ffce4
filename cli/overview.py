"""Tables of what is in a store: runs with their remaining time, the items of a run, notes, one stored value."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from ..circuits import Subject
from ..errors import InputError
from ..results import Table
from .grid import GAP, cell

if TYPE_CHECKING:
    import pandas as pd

    from ..circuits import CircuitRecord, Discovery, WorkItem
    from ..store import Store


def runs(store: Store) -> Table:
    """Return one row per run: `run, items, done, failed, running, waiting, circuits, left, changed`.

    While a process writes, `left` is the estimated time for waiting items, at the rate of the latest items.
    """
    writer = store.writing_process()
    frame = store.runs().rename(columns={"leased": "running", "wanted": "waiting"})
    column = frame.to_dict("list")
    frame["left"] = [_left(store, run) if writer else "" for run in column["run"]]
    frame["changed"] = _dates(column["changed_ms"])
    shown = ["run", "items", "done", "failed", "running", "waiting", "circuits", "left", "changed"]
    return Table(frame.filter(items=shown), (f"{writer} is writing now" if writer else "nothing is writing now",))


def items(store: Store, run: str) -> Table:
    """Return one row per item of a run, in the order of indexing, with its question, state and error."""
    frame = store.items(run)
    frame["changed"] = _dates(frame.to_dict("list")["changed_ms"])
    shown = ["class", "condition", "method", "form", "corruption", "metric", "state", "error", "attempts", "changed"]
    return Table(frame.filter(items=shown))


def notes(frame: pd.DataFrame) -> Table:
    """Return one row per note: `id, created, author, state, about, text, tags, evidence, replaces`.

    Args:
        frame: notes as `Store.notes` returns them.
    """
    frame = frame.assign(created=_dates(frame.to_dict("list")["created_ms"]))
    shown = ["id", "created", "author", "state", "about", "text", "tags", "evidence", "replaces"]
    return Table(frame.filter(items=shown))


def _dates(milliseconds: Iterable[int]) -> list[str]:
    return [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms / 1000)) for ms in milliseconds]


def _left(store: Store, run: str) -> str:
    from ..query import seconds_left

    seconds = seconds_left(store, run)
    return "" if seconds is None else duration(seconds)


def duration(seconds: float) -> str:
    """Return a duration as `1:02:03` or `2:03`."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def queries(width: int) -> Table:
    """Return the named queries with what they answer, one line each, shortened to the width of a terminal."""
    import pandas as pd

    from ..query import named_queries

    found = named_queries()
    room = width - max(map(len, found)) - len(GAP)
    lines = [(name, shorten(query.about.partition(". ")[0], room, placeholder=" …")) for name, query in found.items()]
    more = "circuitstore query --format json lists parameters and defaults; circuitstore docs queries has all details"
    return Table(pd.DataFrame(lines, columns=["query", "answers"]), (more,))


def one(store: Store, id: str) -> Table:
    """Return one row with everything that is stored of a circuit or discovery except its edges, or of a note.

    Args:
        store: the store.
        id: the id of the circuit, discovery or note, or the beginning of it.

    Raises:
        InputError: no circuit, discovery or note has this id, or several have.
    """
    import pandas as pd

    circuits, done = store.circuits(), store.items(state="done")
    kinds = dict.fromkeys(done["id"], "discovery") | dict.fromkeys(circuits["id"], "circuit")
    kinds |= dict.fromkeys(store.notes(replaced=True)["id"], "note")
    found = [(kind, full) for full, kind in kinds.items() if full.startswith(id)]
    if len(found) != 1:
        ids = "; ".join(f"{kind} {full[:16]}" for kind, full in found[:5])
        what = f"several ids begin with {id!r}: {ids}" if found else f"no circuit, discovery or note has the id {id!r}"
        raise InputError(f"{what}; ids are listed by: circuitstore query circuits-of-class --param class=NAME")
    ((kind, full),) = found
    if kind == "note":
        every = store.notes(replaced=True)
        return notes(every.loc[every["id"] == full])
    if kind == "circuit":
        created = circuits.loc[circuits["id"] == full, "created_ms"].iloc[0]
        record = store.circuit(full)
        row = _of_circuit(record) | {"created": _dates([created])[0], "runs": _runs_of(store, full)}
        row |= {"noted": _noted(store, [Subject("circuit", full), *_subjects(record.item)])}
    else:
        ids = circuits.loc[circuits["discovery_id"] == full, "id"]
        discovery = store.discovery(full)
        row = _of_discovery(discovery) | {"circuits": ", ".join(ids)}
        row |= {"noted": _noted(store, _subjects(discovery.item))}
    return Table(pd.DataFrame([{"kind": kind, **row}]))


def _subjects(item: WorkItem) -> list[Subject]:
    """Return the item and its class, as what notes may be about."""
    return [Subject("item", item.id), Subject("class", item.target_class.key)]


def _noted(store: Store, subjects: Iterable[Subject]) -> list[str]:
    """Return what notes say about subjects: author, state and text of each note."""
    found = {row["id"]: row for subject in subjects for row in store.notes(about=subject).to_dict("records")}
    states = {id: f" ({row['state']})" if row["state"] else "" for id, row in found.items()}
    return [f"{row['author']}{states[id]}: {row['text']}" for id, row in found.items()]


def _of_circuit(record: CircuitRecord) -> dict[str, Any]:
    """Return the properties of a circuit in the graph, its question and notes."""
    reasons = record.evaluation.reasons if record.evaluation else {}
    question = {"discovery_id": record.discovery_id, **_of_item(record.item)}
    return record.properties() | question | {"reasons": cell(reasons), "notes": "; ".join(record.notes)}


def _of_discovery(discovery: Discovery) -> dict[str, Any]:
    item, scores = discovery.item, discovery.scores
    properties = {
        "id": discovery.id,
        "model": item.model.name,
        "dataset": item.target_class.dataset,
        "class": item.target_class.name,
        "class_index": item.target_class.class_index,
        "image_group": item.selection.group,
        "condition": item.condition.text,
        **{name: cell(value) for name, value in asdict(item.contrast).items()},
        **{name: cell(getattr(item.recipe, name)) for name in ("form", "direction", "seed")},
        **{name: getattr(item.recipe, name).text for name in ("method", "metric", "corruption")},
        "n_images": len(discovery.images),
        "n_edges": discovery.universe.n_edges,
        "selected": None if discovery.members is None else int(discovery.members.sum()),
        "residual": scores.residual if scores else None,
        "scores_per_image": scores is not None and scores.per_image is not None,
    }
    provenance = {name: cell(value) for name, value in discovery.provenance.items() if name != "images"}
    return properties | _of_item(item) | provenance


def _of_item(item: WorkItem) -> dict[str, Any]:
    """Return what the properties of a circuit leave out of its question."""
    model, recipe, chosen = item.model, item.recipe, item.selection
    return {
        "model_id": model.id,
        "layers": model.n_layers,
        "heads": model.n_heads,
        "dtype": recipe.dtype,
        "signed": recipe.signed,
        "images": f"{chosen.count} of {chosen.n_candidates} candidates, {chosen.rule}, seed {chosen.seed}",
    }


def _runs_of(store: Store, circuit: str) -> str:
    return ", ".join(run for run in store.runs()["run"] if circuit in set(store.circuits(run)["id"]))
