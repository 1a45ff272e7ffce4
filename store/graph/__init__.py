"""Graph databases that hold circuits, behind one contract: `open_graph` finds the one that a URL names.

Installed packages may bring others: an entry point in the group `circuitstore.graph`, whose name is the scheme of the
URLs and whose value a subclass of `GraphBackend`.
"""

from __future__ import annotations

from contextlib import nullcontext
from importlib.metadata import entry_points

from ...errors import unknown
from ..interrupts import deferred
from ..lease import Permit
from .contract import GraphBackend
from .neo4j.account import Account
from .urls import FILE, SERVER, refuse_credentials, scheme_of

GROUP = "circuitstore.graph"
"""Where packages tell of their backends."""

SCHEMES = (FILE, *SERVER)


def open_graph(
    url: str,
    *,
    store_id: str,
    read_only: bool = False,
    account: Account | None = None,
    permit: Permit = nullcontext,
) -> GraphBackend:
    """Open the graph database of a store: `ladybug:///absolute/path` (embedded), or `neo4j://host:port/database`.

    A Neo4j server is reached by `neo4j://` or `bolt://`, with `+s` (TLS) or `+ssc` (TLS, any certificate) after them;
    other schemes are those of the backends that are installed besides.

    A database that is not there yet is created, unless `read_only`. What had to be mended or set aside is
    told in the backend's `notices`.

    Args:
        url: which engine, and where.
        store_id: the store that the database belongs to, or is to belong to.
        read_only: refuse all writing.
        account: of a server; by default the one in the environment.
        permit: what the store's writer enters around whatever takes effect.

    Raises:
        InputError: a URL of an unknown kind, or with a password in it.
        StoreError: not there (read-only), not ours, of another store, or not to be opened.
        StoreVersion: its schema is of another version; the message says what to do.
        StoreBusy: another process has it open for writing.
    """
    with deferred():
        return _backend(url)(url, store_id=store_id, read_only=read_only, permit=permit, **_account(url, account))


def migrate_graph(
    url: str, *, store_id: str, account: Account | None = None, permit: Permit = nullcontext
) -> tuple[str, ...]:
    """Bring a store's graph to the schema of this program; gives back the names of the migrations applied.

    Raises:
        StoreVersion: its schema is newer, or was made otherwise.
        InputError, StoreError, StoreBusy: as `open_graph`.
    """
    with deferred():
        return _backend(url).migrate(url, store_id=store_id, permit=permit, **_account(url, account))


def recreate_graph(
    url: str, *, store_id: str, account: Account | None = None, permit: Permit = nullcontext
) -> GraphBackend:
    """Open a store's graph for writing, empty and of this program's schema, whatever its version was.

    What cannot be read by this program is set aside, or goes where that is not possible (a server); the backend's
    `notices` tell.

    Raises:
        InputError, StoreError, StoreBusy: as `open_graph`; a database that is not this store's is left as it is.
    """
    with deferred():
        return _backend(url).recreate(url, store_id=store_id, permit=permit, **_account(url, account))


def _account(url: str, account: Account | None) -> dict[str, Account]:
    """The argument that the backends of servers take besides."""
    return {"account": account} if account is not None and scheme_of(url) in SERVER else {}


def _backend(url: str) -> type[GraphBackend]:
    refuse_credentials(url)
    scheme = scheme_of(url)
    if scheme == FILE:
        from .ladybug.backend import LadybugGraph

        return LadybugGraph
    if scheme in SERVER:
        from .neo4j.backend import Neo4jGraph

        return Neo4jGraph
    installed = entry_points(group=GROUP)
    if scheme in installed.names:
        return installed[scheme].load()
    raise unknown("graph database", scheme or url, (*SCHEMES, *installed.names), where=f"graph URL {url!r}")
