"""The API of the page of images: example images by content hash, maps of them as arrays, flagged images."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from ...circuits import short_names
from ...query import run as ask
from ..arrays import ARRAYS, packed
from ..example_images import SUBJECT, find_maps, find_subjects, map_arrays, picture, read_sets, set_facts
from ..opened import Shared
from ..rows import As, Form, Rows, answer

routes = APIRouter()

FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}
"""The answer to an id that is a hash of its content never changes."""


class Map(BaseModel):
    """A question whose read-outs are maps on the images.

    Attributes:
        title: the kind of read-out with its parameters.
        ids: the id of the read-out under each condition.
    """

    title: str
    ids: dict[str, str]


class Images(BaseModel):
    """The example images of a class.

    Attributes:
        subjects: model, data set, class and group of images of each class that the store has images of.
        shown: the place of the class that is shown in `subjects`; None if there are no images.
        sets: its example images under each condition, natural first.
        maps: read-outs that are maps on them.
    """

    subjects: list[dict[str, str]]
    shown: int | None
    sets: list[dict[str, Any]]
    maps: list[Map]


@routes.get("/images")
def images(request: Request, opened: Shared, run: str | None = None) -> Images:
    """Return the example images of a class: the first that has the values of `model`, `class` … in the request."""
    store, params = opened.store, request.query_params
    subjects = find_subjects(store, run, {name: params[name] for name in ("model", *SUBJECT) if name in params})
    if subjects is None:
        return Images(subjects=[], shown=None, sets=[], maps=[])
    names = short_names(subjects.sets["condition"])
    return Images(
        subjects=[{str(k): str(v) for k, v in row.items()} for row in subjects.rows.to_dict("records")],
        shown=subjects.shown,
        sets=[set_facts(found, names[found.condition.text]) for found in read_sets(store, subjects)],
        maps=[Map(**found) for found in find_maps(store, run, subjects)],
    )


@routes.get("/images/flagged", response_model=Rows)
def flagged(opened: Shared, run: str | None = None, form: As = Form.rows) -> Rows | Response:
    """Return the images that detectors flagged: the rows of the named query `flagged-images`."""
    return answer(ask(opened.store, "flagged-images", run=run), form, "flagged-images")


@routes.get("/images/{id}/{hash}/{view}.png", response_class=Response, responses={200: {"content": {"image/png": {}}}})
def image(opened: Shared, id: str, hash: str, view: Literal["clean", "attacked", "difference"]) -> Response:
    """Return an example image as the model sees it, by the id of its set and the hash of its content."""
    found = opened.store.example_images(id)
    return Response(picture(found, hash, view), media_type="image/png", headers=FOREVER)


@routes.get("/maps/{id}", response_class=Response, responses={200: {"content": {ARRAYS: {}}}})
def maps(opened: Shared, id: str, image: Annotated[list[str], Query()] = []) -> Response:  # noqa: B006
    """Return a read-out as maps on images; see `example_images.map_arrays`."""
    return Response(packed(*map_arrays(opened.store.readout(id), image)), media_type=ARRAYS)


@routes.get("/maps/{id}/numbers", response_model=Rows)
def numbers(opened: Shared, id: str, form: As = Form.csv) -> Rows | Response:
    """Return the mean numbers of a read-out, a row for each."""
    record = opened.store.readout(id)
    return answer(record.to_pandas(), form, f"{record.mean.use.kind}-{record.id[:12]}")
