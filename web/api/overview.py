"""The overview: runs with their progress, studies, counts, notices, and faithfulness against size."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated, Any

import pandas as pd
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from ...query import seconds_left
from ...store import Part, Store
from ..filters import Filtered
from ..opened import Shared
from ..rows import As, Form, Rows, answer

routes = APIRouter(prefix="/overview", tags=["overview"])

STUDY = (
    "model",
    "model_id",
    "dataset",
    "image_group",
    "method",
    "form",
    "corruption",
    "metric",
    "direction",
    "extraction",
)
"""The properties that the circuits of a study share."""
FIGURES = ["id", "class", "condition", "n_edges", "n_graph_edges", "faithfulness", "faithfulness_random", "retention"]


class Run(BaseModel):
    """A run and how far it is.

    Attributes:
        circuits: number of its stored circuits, of `circuits_wanted`.
        left_s: estimated seconds until it ends; None if nothing waits, or no process writes.
    """

    run: str
    items: int
    done: int
    failed: int
    running: int
    waiting: int
    circuits: int
    circuits_wanted: int
    changed_ms: int
    left_s: float | None


class Overview(BaseModel):
    """What a store holds.

    Attributes:
        folder: the name of its folder.
        writer: a description of the process that writes to it; None if there is none.
        counts: numbers of models, classes, conditions, circuits and others.
        notices: what needs attention.
        notes: whether notes may be added.
    """

    store: str
    folder: str
    version: str
    writer: str | None
    counts: dict[str, int]
    runs: list[Run]
    notices: list[str]
    notes: bool


class Graph(BaseModel):
    """Whether the graph answers.

    Attributes:
        error: why it does not answer; None if it does.
        missing: number of circuits of the store that it does not show (yet).
        notices: what was repaired or set aside when it was opened.
    """

    url: str
    error: None = None
    missing: int
    notices: list[str]


@routes.get("")
def overview(opened: Shared) -> Overview:
    """Return what the store holds, and how far its runs are."""
    store = opened.store
    writer = store.writing_process()
    runs = [_run(store, row, writing=writer is not None) for row in store.runs().to_dict("records")]
    counted = store.count_circuits(["model_id", "dataset", "class_index", "condition", "flag"])
    total = sum(counted["circuits"].tolist())
    counts = {
        "runs": len(runs),
        "models": counted["model_id"].nunique(),
        "classes": len(counted[["dataset", "class_index"]].drop_duplicates()),
        "conditions": counted["condition"].nunique(),
        "circuits": total,
        "circuits that count": store.part_of_circuits(part=Part(limit=0), counts=True).facts["total"],
    }
    return Overview(
        store=store.id,
        folder=store.location.folder.resolve().name,
        version=metadata.version("circuitstore"),
        writer=writer,
        counts=counts,
        runs=runs[::-1],
        notices=_notices(runs, counted),
        notes=opened.notes,
    )


def _run(store: Store, row: dict[str, Any], *, writing: bool) -> Run:
    states = {"running": row["leased"], "waiting": row["wanted"]}
    waits = any(states.values())
    return Run(**row, **states, left_s=seconds_left(store, row["run"]) if writing and waits else None)


def _notices(runs: list[Run], counted: pd.DataFrame) -> list[str]:
    found = [
        f"run {run.run}: {run.failed} of {run.items} items failed; circuitstore status {run.run} shows why"
        for run in runs
        if run.failed
    ]
    flags = counted.loc[counted["flag"] != ""].groupby("flag")["circuits"].sum()
    return [
        *found,
        *(f"{count} circuits are flagged and left out of comparisons: {flag}" for flag, count in flags.items()),
    ]


@routes.get("/graph")
def graph(opened: Shared) -> Graph:
    """Return whether the graph answers, and what it lacks; an error of the graph has the status 503."""
    store = opened.store
    backend = store.graph
    (row,) = store.query("MATCH (c:Circuit) RETURN count(*) AS circuits", timeout_s=10.0)
    total = store.part_of_circuits(part=Part(limit=0)).facts["total"]
    return Graph(url=backend.url, missing=max(0, total - row["circuits"]), notices=list(backend.notices))


@routes.get("/studies", response_model=Rows)
def studies(opened: Shared, form: As = Form.rows) -> Rows | Response:
    """Return the studies, which are sets of circuits that differ only in class and condition, the largest first."""
    counted = opened.store.count_circuits([*STUDY, "class", "condition"])
    groups = counted.groupby(list(STUDY), sort=True, dropna=False)
    found = groups.agg(
        classes=("class", "nunique"), conditions=("condition", "nunique"), circuits=("circuits", "sum")
    ).reset_index()
    return answer(found.sort_values("circuits", ascending=False, kind="stable"), form, "studies")


@routes.get("/faithfulness", response_model=Rows)
def faithfulness(
    opened: Shared,
    filters: Filtered,
    direction: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 2_000,
    form: As = Form.rows,
) -> Rows | Response:
    """Return size and faithfulness of circuits, with the mean faithfulness of random circuits of the same size.

    Circuits without a faithfulness, and those that are flagged or not the newest, are left out, and counted in notes.
    """
    chosen = {"counts": True, **filters.equals} | ({} if direction is None else {"direction": direction})
    found = opened.store.circuits(columns=FIGURES, **chosen)
    known = found.loc[found["faithfulness"].notna()]
    shown = known if form is not Form.rows else known.iloc[:limit]
    rows = answer(shown, form, "faithfulness", total=len(known))
    if isinstance(rows, Rows) and len(found) > len(known):
        rows.notes.append(f"{len(found) - len(known)} circuits have no faithfulness")
    if isinstance(rows, Rows) and chosen["counts"]:
        total = opened.store.part_of_circuits(part=Part(limit=0), **chosen | {"counts": None}).facts["total"]
        if total > len(found):
            rows.notes.append(f"{total - len(found)} circuits are flagged, or not the newest of their question")
    return rows
