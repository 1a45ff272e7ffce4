"""The location of a store: a folder, with optional URLs for its catalog and its graph."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypedDict

from sqlalchemy import URL

from ..errors import InputError
from .catalog import parsed
from .files import DEEPEST, reachable
from .graph.neo4j.account import Account
from .graph.urls import check_no_credentials, url_of

DEFAULT = "circuitstore-data"

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
"""The beginning of a URL, or of a URL as a `Path`, in which `//` is `/`. One letter is a drive of Windows."""


class PartLocations(TypedDict, total=False):
    """Parts of a store outside its folder: keyword arguments of every function that opens a store.

    Attributes:
        graph: URL of its graph (`neo4j://…`, `bolt://…`, `ladybug:///…`); by default in the folder.
        catalog: URL of its catalog (`sqlite:///…`; `postgresql+psycopg://…` with the extra `postgres`); by default in
            the folder.
        account: account of the graph's server; by default the one in the environment (`CIRCUITSTORE_NEO4J_USER`,
            `CIRCUITSTORE_NEO4J_PASSWORD`).
    """

    graph: str | None
    catalog: str | None
    account: Account | None


@dataclass(frozen=True)
class Location:
    """The locations of the parts of a store.

    Attributes:
        folder: contains the archive, and by default the catalog and the graph.
        catalog: URL of the SQL database, as an object, because a string would show its password.
        graph: URL of the graph database.
        account: account of the graph's server; None: the one in the environment.
    """

    folder: Path
    catalog: URL
    graph: str
    account: Account | None = None

    @classmethod
    def of(
        cls,
        location: str | Path | None = None,
        *,
        graph: str | None = None,
        catalog: str | None = None,
        account: Account | None = None,
    ) -> Self:
        """Return the location of the store in a folder (default `./circuitstore-data`); URLs replace its parts.

        Raises:
            InputError: the folder is a URL, a URL is not valid, or the graph's URL has a password.
            StoreError: the folder's path is too long, or there is no permission to enter the folder.
        """
        if graph:
            check_no_credentials(graph)
        folder = _folder(location or DEFAULT)
        return cls(
            folder,
            parsed(catalog) if catalog else URL.create("sqlite", database=str(folder / "catalog.sqlite")),
            graph or url_of(folder / "graph.lbdb"),
            account,
        )

    @property
    def archive(self) -> Path:
        return self.folder / "archive"


def _folder(location: str | Path) -> Path:
    if url := _URL.match(str(location)):
        raise InputError(
            f"store: expected a folder, got a URL of {url[1]}://; the archive is always a folder; "
            "give the URL of a graph or catalog as graph=… or catalog=… (--graph, --catalog)"
        )
    return reachable(Path(location).absolute(), DEEPEST)
