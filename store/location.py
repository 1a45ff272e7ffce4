"""Where a store is: a folder, or URLs for its catalog and its graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlsplit

from sqlalchemy import URL

from ..errors import InputError
from .catalog import parsed
from .graph import refuse_credentials
from .graph.account import Account

DEFAULT = "circuitstore-data"


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
        """
        if "://" in str(location or ""):
            raise InputError(
                f"store: expected a folder, got a URL of {urlsplit(str(location)).scheme}://; the archive is always "
                "a folder; a graph or catalog elsewhere has its own option (graph=…, --graph; catalog=…, --catalog)"
            )
        if graph:
            refuse_credentials(graph)
        folder = Path(location or DEFAULT).absolute()
        return cls(
            folder,
            parsed(catalog) if catalog else URL.create("sqlite", database=str(folder / "catalog.sqlite")),
            graph or f"ladybug://{quote(str(folder / 'graph.lbdb'))}",
            account,
        )

    @property
    def archive(self) -> Path:
        return self.folder / "archive"
