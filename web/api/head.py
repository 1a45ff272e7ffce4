"""A head or another component over all circuits: which have it, its edges in each, and read-outs about it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from fastapi import APIRouter
from pydantic import BaseModel

from ...circuits import ReadoutRecord, digest, short_names
from ...errors import InputError, StoreDamaged, unknown
from ...plain import plain
from ...query.names import Models
from ...query.readouts import newest_readouts
from ...store import Store
from ..columns import Numbers, numbers
from ..opened import Shared

routes = APIRouter()

_STUDY = [
    "model",
    "model_id",
    "dataset",
    "image_group",
    "form",
    "method",
    "metric",
    "corruption",
    "direction",
    "extraction",
]
"""Properties that the circuits of a study share; they differ in class and condition."""
MAX_READOUTS = 200
"""Maximum number of read-outs whose values are read."""

HAVING = """MATCH (c:Circuit)-[:HAS]->(n:Node)
WHERE n.name = $node
RETURN c.id AS id, n.full_in AS full_in, n.full_out AS full_out
ORDER BY id"""
EDGES = """MATCH (c:Circuit)-[:HAS]->(s:Node)-[f:FEEDS]->(r:Node)
WHERE c.id IN $circuits AND (s.name = $node OR r.name = $node)
RETURN c.id AS id, f.edge AS edge, f.score AS score, f.rank AS rank
ORDER BY id, rank"""
_MAX_ROWS = 100_000


class HeadStudy(BaseModel):
    """Circuits of one recipe: how many there are, and how many have the component."""

    key: str
    text: str
    circuits: int
    having: int


class HeadCircuit(BaseModel):
    """A circuit of the study.

    Attributes:
        short: its condition without parameters that all conditions of the study share.
        has: whether it has the component.
        full_in: signed inflow of the component over all edges of the model; None if unknown. Likewise `full_out`.
    """

    id: str
    cls: str
    condition: str
    short: str
    has: bool
    full_in: float | None
    full_out: float | None


class HeadReadout(BaseModel):
    """The value of a read-out at the component, the mean over images."""

    readout: str
    cls: str
    condition: str
    value: float
    std: float | None
    unit: str


class HeadPage(BaseModel):
    """What the page of a component shows.

    Attributes:
        studies: all studies, those with most circuits that have the component first.
        study: key of the study that is shown; None if the store has no circuits.
        model: id of its model.
        circuits: its circuits.
        edges: names of the component's edges in them, those of most circuits first.
        scores: score of each edge in each circuit; None if the circuit does not have it.
        readouts_read: number of read-outs of the model that were read, of `readouts_stored`.
        cypher: the queries that give the circuits and the edges.
    """

    name: str
    studies: list[HeadStudy]
    study: str | None
    model: str | None
    circuits: list[HeadCircuit]
    edges: list[str]
    scores: list[Numbers]
    readouts: list[HeadReadout]
    readouts_read: int
    readouts_stored: int
    cypher: list[str]


@routes.get("/heads/{name}")
def head(opened: Shared, name: str, study: str = "") -> HeadPage:
    """Return a component over the newest circuits of a study; without `study`, of the one that has it most often."""
    store = opened.store
    rows = store.circuits(counts=True, columns=["id", "class", "class_index", "condition", *_STUDY])
    rows = rows.assign(study=[digest(list(map(str, values)))[:12] for values in rows[_STUDY].itertuples(index=False)])
    having = store.query(HAVING, {"node": name}, max_rows=_MAX_ROWS).to_pandas().set_index("id")
    if having.empty and not rows.empty and not _is_component(store, name):
        raise InputError(f"component: expected the name of a component such as a1.h2 or m3, got {name!r}")
    rows = rows.assign(has=rows["id"].isin(list(having.index)))
    studies = _studies(rows)
    if study and study not in {one.key for one in studies}:
        raise unknown("study", study, [one.key for one in studies])
    chosen = study or next((one.key for one in studies), None)
    rows = rows.loc[rows["study"] == chosen].sort_values(["class_index", "condition"], kind="stable")
    rows = rows.join(having, on="id")
    edges, scores = _edges(store, name, rows)
    model = None if rows.empty else str(rows["model_id"].iloc[0])
    readouts, read, stored = _readouts(store, name, model)
    names = short_names(rows["condition"])
    return HeadPage(
        name=name,
        studies=studies,
        study=chosen,
        model=model,
        circuits=[
            HeadCircuit(
                id=row["id"],
                cls=row["class"],
                condition=row["condition"],
                short=names[row["condition"]],
                has=row["has"],
                full_in=plain(row["full_in"]),
                full_out=plain(row["full_out"]),
            )
            for row in rows.to_dict("records")
        ],
        edges=edges,
        scores=scores,
        readouts=readouts,
        readouts_read=read,
        readouts_stored=stored,
        cypher=[HAVING, EDGES],
    )


def _is_component(store: Store, name: str) -> bool:
    found = store.query("MATCH (k:Component) WHERE k.name = $node RETURN count(*) AS found", {"node": name})
    return bool(found.frame["found"].iloc[0])


def _studies(rows: pd.DataFrame) -> list[HeadStudy]:
    found, models = [], Models(rows[["model", "model_id"]].drop_duplicates().itertuples(index=False, name=None))
    for key, group in rows.groupby("study", sort=False):
        first: dict[str, Any] = group.iloc[0].to_dict()
        first["model"] = models.label(first["model_id"])
        names = ("model", "dataset", "image_group", "form", "method", "metric", "corruption", "extraction")
        text = " · ".join(str(first[name]) for name in names if first[name])
        found.append(HeadStudy(key=str(key), text=text, circuits=len(group), having=sum(group["has"].tolist())))
    return sorted(found, key=lambda one: (-one.having, -one.circuits))


def _edges(store: Store, name: str, rows: pd.DataFrame) -> tuple[list[str], list[Numbers]]:
    ids = list(rows.loc[rows["has"], "id"])
    if not ids:
        return [], []
    found = store.query(EDGES, {"node": name, "circuits": ids}, max_rows=_MAX_ROWS).to_pandas()
    # an edge without a score is in the circuit, too: 0 is its score
    table = found.assign(score=found["score"].fillna(0.0)).pivot(index="edge", columns="id", values="score")
    counts = table.notna().sum(axis=1)
    table = table.loc[counts.sort_values(ascending=False, kind="stable").index].reindex(columns=rows["id"])
    return [str(edge) for edge in table.index], [numbers(row) or [] for row in table.to_numpy(np.float64)]


def _readouts(store: Store, name: str, model: str | None) -> tuple[list[HeadReadout], int, int]:
    """Return the values of a model's read-outs that have an axis of components, or of layers and heads.

    The numbers are those of the read-outs that were read, and of all that the store has of the model.
    """
    found: list[HeadReadout] = []
    listed = newest_readouts(store, None)
    listed = listed.loc[listed["model_id"] == model]
    for row in listed.head(MAX_READOUTS).to_dict("records"):
        try:
            record = store.readout(row["id"])
        except StoreDamaged:  # `verify` names it; the others are still shown
            continue
        at = _place(record, name)
        if at is None:
            continue
        mean = record.mean
        found.append(
            HeadReadout(
                readout=row["readout"],
                cls=row["class"],
                condition=row["condition"],
                value=mean.values[at].item(),
                std=None if mean.std is None else plain(mean.std[at].item()),
                unit=mean.unit,
            )
        )
    return found, min(len(listed), MAX_READOUTS), len(listed)


def _place(record: ReadoutRecord, name: str) -> tuple[int, ...] | None:
    """Return the index of a component's number in a read-out that has one number for each component."""
    axes = record.mean.axes
    match record.mean.names:
        case ("component",):
            return (axes[0].labels.index(name),) if name in axes[0].labels else None
        case ("layer", "head") if name.startswith("a") and ".h" in name:
            layer, _, number = name[1:].partition(".h")
            labels = [int(layer), int(number)] if layer.isdigit() and number.isdigit() else []
            if len(labels) == 2 and all(label in axis.labels for label, axis in zip(labels, axes, strict=True)):
                return axes[0].labels.index(labels[0]), axes[1].labels.index(labels[1])
    return None
