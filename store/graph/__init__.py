"""Graph databases that hold circuits, behind one contract: `open_graph` finds the one that a URL names."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ...errors import unknown

if TYPE_CHECKING:
    from .contract import GraphBackend

SCHEMES = ("ladybug",)


def open_graph(url: str, *, store_id: str, read_only: bool = False) -> GraphBackend:
    """Open the graph database of a store: `ladybug:///absolute/path` (embedded).

    A database that is not there yet is created, unless `read_only`. What had to be mended or set aside is
    told in the backend's `notices`.

    Args:
        url: which engine, and where.
        store_id: the store that the database belongs to, or is to belong to.
        read_only: refuse all writing.

    Raises:
        InputError: a URL of an unknown kind.
        StoreError: not there (read-only), not ours, of another store, or not to be opened.
        StoreVersion: its schema is of another version; the message says what to do.
        StoreBusy: another process has it open for writing.
    """
    scheme = urlsplit(url).scheme
    if scheme == "ladybug":
        from .ladybug import LadybugGraph

        return LadybugGraph.open(url, store_id=store_id, read_only=read_only)
    raise unknown("graph database", scheme or url, SCHEMES, where=f"graph URL {url!r}")
