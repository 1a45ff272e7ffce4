"""The command docs, and the pages of the documentation, which are installed with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import unknown
from .output import Destination, emit

if TYPE_CHECKING:
    from ..results import Table


def docs(
    page: Annotated[
        str | None,
        typer.Argument(metavar="PAGE", help="The page to print.", autocompletion=lambda: list(pages())),
    ] = None,
) -> None:
    """Print a page of the documentation.

    Without PAGE, list the pages and their files.
    """
    if page is None:
        emit(list_pages(), Destination())
    else:
        print(read_page(page), end="")


def pages() -> dict[str, Path]:
    """Return the pages by name."""
    folder = Path(str(resources.files("circuitstore") / "docs"))
    return {path.stem: path for path in sorted(folder.glob("*.md"))}


def read_page(name: str) -> str:
    """Return the text of a page, in Markdown.

    Raises:
        InputError: there is no such page.
    """
    found = pages()
    if name not in found:
        raise unknown("page", name, found)
    return found[name].read_text(encoding="utf-8")


def list_pages() -> Table:
    """Return a table of the pages, with columns `page`, `about` and `file`."""
    import pandas as pd

    from ..results import Table

    rows = [(name, read_page(name).partition("\n")[0].lstrip("# "), str(path)) for name, path in pages().items()]
    return Table(pd.DataFrame(rows, columns=["page", "about", "file"]))
