"""Where a store is: a folder, or URLs for its catalog and its graph."""

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
from .graph.urls import refuse_credentials, url_of

DEFAULT = "circuitstore-data"

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
"""How a URL begins, also one that became a `Path`, in which `//` is `/`; one letter is a drive of Windows."""


class Elsewhere(TypedDict, total=False):
    """Parts of a store that are not in its folder: keywords of every function that opens a store.

    Attributes:
        graph: URL of its graph (`neo4j://…`, `bolt://…`, `ladybug:///…`); by default in the folder.
        catalog: URL of its catalog (`sqlite:///…`; `postgresql+psycopg://…` with the extra `postgres`); by default in
            the folder.
        account: of the graph's server; by default the one in the environment (`CIRCUITSTORE_NEO4J_USER`,
            `CIRCUITSTORE_NEO4J_PASSWORD`).
    """

    graph: str | None
    catalog: str | None
    account: Account | None


@dataclass(frozen=True)
class Location:
    """The parts of a store.

    Attributes:
        folder: holds the archive, and the catalog and the graph unless their URLs say otherwise.
        catalog: URL of the SQL database; no text, which would show its password.
        graph: URL of the graph database.
        account: of the graph's server; None: the one in the environment.
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
        """The parts of the store in a folder (default `./circuitstore-data`), explicit URLs first.

        Raises:
            InputError: a URL where a folder is expected, a password in the graph's, or no URL where one is.
            StoreError: the folder's path is too long, or the folder may not be entered.
        """
        if graph:
            refuse_credentials(graph)
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
            "a graph or catalog elsewhere has its own option (graph=…, --graph; catalog=…, --catalog)"
        )
    return reachable(Path(location).absolute(), DEEPEST)
