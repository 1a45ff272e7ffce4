"""The pages of the explorer: their paths, and the routes of the API that they ask."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter

from .api import circuit, circuits, compare, diff, head, images, notes, overview, query


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        path: its path.
        module: its module in `static/pages`.
        routes: the routes that it adds to the API.
    """

    path: str
    module: str
    routes: APIRouter | None = None


PAGES = (
    Page("/", "overview", overview.routes),
    Page("/circuits", "circuits", circuits.routes),
    Page("/c/{id}", "circuit", circuit.routes),
    Page("/diff", "diff", diff.routes),
    Page("/head/{name}", "head", head.routes),
    Page("/compare", "compare", compare.routes),
    Page("/query", "query", query.routes),
    Page("/images", "images", images.routes),
    Page("/notes", "notes", notes.routes),
)
