"""One circuit: its columns, figures, files of other tools, and the circuits to compare it with."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from ...formats import FORMATS, encoded
from ...formats.format import Files
from ...plain import plain
from ...query.floors import floor_of
from ...query.measures import get_measure
from ..columns import Picture, picture_of
from ..opened import Shared
from ..rows import attachment

routes = APIRouter()

_SAME = ("model_id", "dataset", "image_group", "form", "method", "metric", "direction", "extraction")
"""Properties that circuits share with those that they are offered for comparison with."""
MAX_OTHERS = 500
"""Maximum number of circuits that are offered for comparison."""


class Written(BaseModel):
    """A format in which the circuit can be downloaded."""

    key: str
    name: str


class Other(BaseModel):
    """A circuit to compare with."""

    id: str
    cls: str
    condition: str


class CircuitPage(BaseModel):
    """What the page of a circuit shows.

    Attributes:
        title: the question that it answers.
        folder: the folder of the store.
        properties: the columns of `Store.circuits` by name.
        reasons: why a figure of the evaluation is undefined, by its name.
        notes: warnings that belong to it.
        metric_random: metric of each random connected circuit of its size.
        formats: formats of other tools that can have it.
    """

    id: str
    title: str
    folder: str
    picture: Picture
    properties: dict[str, Any]
    reasons: dict[str, str]
    notes: list[str]
    metric_random: list[float]
    formats: list[Written]


class Others(BaseModel):
    """Circuits of the same model and recipe, and how many there are, also those that are not listed."""

    circuits: list[Other]
    total: int


class FloorPage(BaseModel):
    """The noise floor of a circuit by jaccard; None if it is unknown.

    Attributes:
        value: mean similarity of the circuits of two halves of its images.
        changed: edges that appear gained, and equally many lost, when only the images differ.
    """

    value: float | None
    changed: float | None


@routes.get("/circuits/{id}")
def circuit(opened: Shared, id: str) -> CircuitPage:
    """Return a circuit by its id, or by the first digits of it: columns of nodes and edges, layout and figures."""
    store = opened.store
    record = store.circuit(id)
    evaluation = record.evaluation
    row = store.circuits(id=record.id).iloc[0].to_dict()
    return CircuitPage(
        id=record.id,
        title=record.item.text,
        folder=str(store.location.folder),
        picture=picture_of(record),
        properties={name: plain(value) for name, value in row.items()},
        reasons=dict(evaluation.reasons) if evaluation else {},
        notes=list(record.notes),
        metric_random=list(evaluation.metric_random) if evaluation else [],
        formats=[Written(key=key, name=kind.name) for key, kind in FORMATS.items() if kind.write is not None],
    )


@routes.get("/circuits/{id}/floor")
def floor(opened: Shared, id: str) -> FloorPage:
    """Return the noise floor of a circuit; takes seconds for large graphs."""
    record = opened.store.circuit(id)
    found = floor_of(record, opened.store.discovery(record.discovery_id), get_measure("jaccard"))
    return FloorPage(value=found and found.value, changed=found and found.n_changed)


@routes.get("/circuits/{id}/others")
def others(opened: Shared, id: str) -> Others:
    """Return circuits that differ from a circuit in class or condition only, those of the same class first."""
    store = opened.store
    own = store.circuits(id=store.circuit_id(id)).iloc[0]
    rows = store.circuits(
        columns=["id", "class", "class_index", "condition", "newest"], **{name: own[name] for name in _SAME}
    )
    rows = rows.loc[rows["newest"].astype(bool) & (rows["id"] != own["id"])]
    rows = rows.assign(other=rows["class_index"] != own["class_index"]).sort_values("other", kind="stable")
    shown = rows[["id", "class", "condition"]].head(MAX_OTHERS)
    found = [Other(id=id, cls=cls, condition=text) for id, cls, text in shown.itertuples(index=False, name=None)]
    return Others(circuits=found, total=len(rows))


@routes.get("/circuits/{id}/export/{format}")
def export(opened: Shared, id: str, format: str) -> Response:
    """Return a circuit in a format of another tool; several files are packed as ZIP."""
    record = opened.store.circuit(id)
    files = encoded([record], format)
    name = f"{format}-{record.id[:12]}"
    if list(files) == [""]:
        return Response(
            files[""], media_type="application/octet-stream", headers=attachment(name + FORMATS[format].suffix)
        )
    return Response(_zipped(files), media_type="application/zip", headers=attachment(f"{name}.zip"))


def _zipped(files: Files) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return data.getvalue()
