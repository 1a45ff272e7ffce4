"""The documentation that comes with the program, as files that an installed package has too."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import unknown

if TYPE_CHECKING:
    from ..results import Table


def pages() -> dict[str, Path]:
    """The pages by name."""
    folder = Path(str(resources.files("circuitstore") / "docs"))
    return {path.stem: path for path in sorted(folder.glob("*.md"))}


def read_page(name: str) -> str:
    """The text of a page, in Markdown.

    Raises:
        InputError: there is none of that name.
    """
    found = pages()
    if name not in found:
        raise unknown("page", name, found)
    return found[name].read_text(encoding="utf-8")


def list_pages() -> Table:
    """The pages: `page, about, file`."""
    import pandas as pd

    from ..results import Table

    rows = [(name, read_page(name).partition("\n")[0].lstrip("# "), str(path)) for name, path in pages().items()]
    return Table(pd.DataFrame(rows, columns=["page", "about", "file"]))
