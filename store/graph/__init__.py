"""Graph databases of circuits, behind one contract: `open_graph` opens the one that a URL names.

Installed packages may add backends with an entry point in the group `circuitstore.graph`, whose name is the scheme of
the URLs and whose value is a subclass of `GraphBackend`.
"""

from __future__ import annotations

from contextlib import nullcontext
from importlib.metadata import entry_points

from ...errors import unknown
from ..interrupts import deferred
from ..lease import Permit
from .contract import GraphBackend
from .neo4j.account import Account
from .urls import FILE, SERVER, check_no_credentials, scheme_of

GROUP = "circuitstore.graph"
"""Group of the entry points by which packages add backends."""

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

    The scheme of a Neo4j server is `neo4j` or `bolt`, optionally followed by `+s` (TLS) or `+ssc` (TLS, any
    certificate). Installed backends add other schemes.

    A database that does not exist is created, unless `read_only`. The backend's `notices` say what was repaired or set
    aside.

    Args:
        url: the engine and the place.
        store_id: the store that the database belongs to, or will belong to.
        read_only: whether methods that write raise an error.
        account: account of a server; by default the one in the environment.
        permit: entered around each commit.

    Raises:
        InputError: the URL's scheme is unknown, or it contains a password.
        StoreError: the database does not exist (read-only), has other data, belongs to another store, or cannot be
            opened.
        StoreVersion: its schema has another version; the message says what to do.
        StoreBusy: another process has it open for writing.
    """
    with deferred():
        return _backend(url)(url, store_id=store_id, read_only=read_only, permit=permit, **_account(url, account))


def migrate_graph(
    url: str, *, store_id: str, account: Account | None = None, permit: Permit = nullcontext
) -> tuple[str, ...]:
    """Update a store's graph to the schema of this program, and return the names of the migrations applied.

    Raises:
        StoreVersion: its schema is newer, or was made by another form of a migration.
        InputError, StoreError, StoreBusy: as in `open_graph`.
    """
    with deferred():
        return _backend(url).migrate(url, store_id=store_id, permit=permit, **_account(url, account))


def recreate_graph(
    url: str, *, store_id: str, account: Account | None = None, permit: Permit = nullcontext
) -> GraphBackend:
    """Open a store's graph for writing, empty and with this program's schema, whatever its version was.

    A database that this program cannot read is set aside, or deleted if that is not possible (on a server); the
    backend's `notices` say so.

    Raises:
        InputError, StoreError, StoreBusy: as in `open_graph`; a database of another store is not changed.
    """
    with deferred():
        return _backend(url).recreate(url, store_id=store_id, permit=permit, **_account(url, account))


def _account(url: str, account: Account | None) -> dict[str, Account]:
    """Return the additional argument of the backends of servers."""
    return {"account": account} if account is not None and scheme_of(url) in SERVER else {}


def _backend(url: str) -> type[GraphBackend]:
    check_no_credentials(url)
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
