"""What every backend refuses, in the same words."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ...errors import QueryFailed, StoreError, StoreForeign


def check_owner(ids: Sequence[str], store_id: str, url: str) -> None:
    """Make sure that a database is this store's.

    Args:
        ids: of the stores that it names.

    Raises:
        StoreForeign: it is not.
    """
    if list(ids) != [store_id]:
        raise StoreForeign(
            f"{url} belongs to store {', '.join(ids) or 'none'}, this is store {store_id}; every store needs a graph "
            "of its own: give another database with --graph URL"
        )


def check_usable(url: str, opened_by: int, is_open: bool) -> None:
    """Make sure that this process (by its number) opened the database, and has not closed it.

    Raises:
        StoreError: a fork, or closed.
    """
    if os.getpid() != opened_by:
        raise StoreError(
            f"{url} was opened by process {opened_by} and does not survive a fork; open the store again here"
        )
    if not is_open:
        raise StoreError(f"{url} is closed; open the store again")


def not_ours(url: str) -> StoreForeign:
    """The database holds something that no circuitstore made."""
    return StoreForeign(
        f"{url} holds a database that is not a graph of circuits, and is left as it is; give another one for the "
        "graph with --graph URL"
    )


def nothing_there(where: object) -> StoreError:
    """A reader makes no database."""
    return StoreError(f"there is no graph at {where}; make it from the archive with: circuitstore rebuild")


def reading_only(url: str, what: str) -> StoreError:
    """A reader was asked for `what`, which writes."""
    return StoreError(f"{url} is open for reading only, {what} writes; open the store's writer")


def too_long(timeout_s: float) -> QueryFailed:
    """A query had not ended in its time."""
    return QueryFailed(f"the query ran longer than {timeout_s:g} s and was ended; narrow it, or allow it more time")


def too_large(max_mib: int) -> QueryFailed:
    """An answer has more bytes than it may have."""
    return QueryFailed(
        f"the answer is larger than {max_mib} MiB; return fewer columns, count instead of collecting, give fewer rows "
        "with LIMIT, or allow more with --max-mib, in Python with max_mib=…"
    )
