"""Options that several commands share, and the settings that they give."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import Format

if TYPE_CHECKING:
    from .settings import Settings

log = logging.getLogger("circuitstore")

StoreFolder = Annotated[
    str | None,  # a Path would turn `bolt://` into `bolt:/`
    typer.Option("--store", metavar="FOLDER", help="Folder of the store; default ./circuitstore-data."),
]
GraphUrl = Annotated[
    str | None,
    typer.Option("--graph", metavar="URL", help="Graph outside the store: bolt://HOST/DATABASE or ladybug:///FILE."),
]
CatalogUrl = Annotated[
    str | None,
    typer.Option(
        "--catalog",
        metavar="URL",
        help="Catalog outside the store: postgresql+psycopg://USER@HOST/DATABASE or sqlite:///FILE.",
    ),
]
Wait = Annotated[
    float,
    typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait while another process writes."),
]
RunName = Annotated[str | None, typer.Option("--run", metavar="RUN", help="Only circuits of this run.")]
Flagged = Annotated[
    bool, typer.Option("--flagged", help="Include flagged circuits: of all edges, of no edge, or from few images.")
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="NAME=VALUE",
        help="Only circuits with this property, such as metric=logit; repeat a name to allow several values.",
    ),
]
Form = Annotated[
    Format | None,
    typer.Option("--format", help="Format of the rows; default: from the suffix of the file, else a table."),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="File for the rows, in the format of its suffix: .csv, .json, .parquet or .txt; - is stdout.",
    ),
]
Progress = Annotated[
    bool, typer.Option("--progress/--no-progress", help="Show item, rate and remaining time on stderr.")
]


def settings(store: str | None, graph: str | None, catalog: str | None) -> Settings:
    """Read the settings in force; the options take precedence over the environment and the settings file."""
    from .settings import read_settings

    found = read_settings(store, graph, catalog)
    log.info("store: %s", found.store or "the default folder")
    return found
