"""Checks and errors that all backends share, so that their messages agree."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ...errors import QueryFailed, StoreError, StoreForeign


def check_owner(ids: Sequence[str], store_id: str, url: str) -> None:
    """Check that a database belongs to this store.

    Args:
        ids: the ids in its `Store` nodes.

    Raises:
        StoreForeign: it does not.
    """
    if list(ids) != [store_id]:
        raise StoreForeign(
            f"{url} belongs to store {', '.join(ids) or 'none'}, this is store {store_id}; every store needs its own "
            "graph: give another database with --graph URL"
        )


def check_usable(url: str, opened_by: int, is_open: bool) -> None:
    """Check that this process (by its id) opened the database and has not closed it.

    Raises:
        StoreError: this is a fork, or the database was closed.
    """
    if os.getpid() != opened_by:
        raise StoreError(
            f"{url} was opened by process {opened_by} and does not survive a fork; open the store again in this process"
        )
    if not is_open:
        raise StoreError(f"{url} is closed; open the store again")


def not_ours(url: str) -> StoreForeign:
    """Return the error for a database with other data than circuits."""
    return StoreForeign(
        f"{url} holds a database that is not a graph of circuits; it was not changed; give another one with --graph URL"
    )


def no_graph(where: object) -> StoreError:
    """Return the error for a reader of a database that does not exist."""
    return StoreError(f"there is no graph at {where}; build it from the archive with: circuitstore rebuild")


def reading_only(url: str, what: str) -> StoreError:
    """Return the error for an operation `what` that writes, on a database opened read-only."""
    return StoreError(f"{url} is open for reading only, and {what} writes; use the store's writer")


def too_long(timeout_s: float) -> QueryFailed:
    """Return the error for a query that exceeded its timeout."""
    return QueryFailed(f"the query ran longer than {timeout_s:g} s and was stopped; narrow it, or raise its timeout")


def too_large(max_mib: int) -> QueryFailed:
    """Return the error for an answer that exceeds its maximum size."""
    return QueryFailed(
        f"the answer is larger than {max_mib} MiB; return fewer columns, count instead of collecting, return fewer "
        "rows with LIMIT, or raise the maximum with --max-mib (in Python max_mib=…)"
    )
