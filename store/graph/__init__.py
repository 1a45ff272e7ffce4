"""Graph databases that hold circuits, behind one contract: `open_graph` finds the one that a URL names."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ...errors import unknown

if TYPE_CHECKING:
    from .contract import GraphBackend
    from .ladybug import LadybugGraph

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
    return _backend(url)(url, store_id=store_id, read_only=read_only)


def migrate_graph(url: str, *, store_id: str) -> tuple[str, ...]:
    """Bring a store's graph to the schema of this program; gives back the names of the migrations applied.

    Raises:
        StoreVersion: its schema is newer, or was made otherwise.
        InputError, StoreError, StoreBusy: as `open_graph`.
    """
    return _backend(url).migrate(url, store_id=store_id)


def recreate_graph(url: str, *, store_id: str) -> GraphBackend:
    """Open a store's graph for writing, empty and of this program's schema, whatever its version was.

    What cannot be read by this program is set aside, which the backend's `notices` tell.

    Raises:
        InputError, StoreError, StoreBusy: as `open_graph`; a database that is not this store's is left as it is.
    """
    return _backend(url).recreate(url, store_id=store_id)


def _backend(url: str) -> type[LadybugGraph]:
    scheme = urlsplit(url).scheme
    if scheme == "ladybug":
        from .ladybug import LadybugGraph

        return LadybugGraph
    raise unknown("graph database", scheme or url, SCHEMES, where=f"graph URL {url!r}")
