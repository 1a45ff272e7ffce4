"""The lease on a store, as a row of its catalog.

Every function runs in the transaction of its connection.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection, and_, select, update

from ..errors import StoreBusy
from .lease import is_dead, now_ms, shown
from .tables import leases

WRITER = "writer"


def holder(connection: Connection) -> tuple[str, int] | None:
    """Return owner and end (epoch milliseconds) of the lease, expired or not; None if it is free.

    In a write transaction the answer stays valid until the transaction ends.
    """
    row = connection.execute(select(leases.c.owner, leases.c.until_ms).where(leases.c.name == WRITER)).first()
    return None if row is None or row.owner is None else (row.owner, row.until_ms)


def writing_process(connection: Connection) -> str | None:
    """Return the owner of the lease; None if it is free, has expired, or belongs to a dead writer."""
    held = holder(connection)
    return None if held is None or held[1] < now_ms() or is_dead(held[0]) else held[0]


def check_claim(connection: Connection) -> None:
    """Check that the lease is free, has expired, or belongs to a dead writer.

    Raises:
        StoreBusy: another writer holds it; the message names that writer and the remedy.
    """
    held = holder(connection)
    if held is not None and held[1] > now_ms() and not is_dead(held[0]):
        raise StoreBusy(busy(held[0], held[1]))


def claim(connection: Connection, owner: str, until_ms: int) -> None:
    """Take the lease. Errors as for `check_claim`."""
    check_claim(connection)
    connection.execute(update(leases).where(leases.c.name == WRITER).values(owner=owner, until_ms=until_ms))


def renew(connection: Connection, owner: str, until_ms: int) -> None:
    """Extend the lease; do nothing if it belongs to another owner."""
    connection.execute(update(leases).where(_held_by(owner)).values(until_ms=until_ms))


def release(connection: Connection, owner: str) -> None:
    connection.execute(update(leases).where(_held_by(owner)).values(owner=None, until_ms=0))


def _held_by(owner: str) -> sa.ColumnElement[bool]:
    return and_(leases.c.name == WRITER, leases.c.owner == owner)


def busy(owner: str, until_ms: int) -> str:
    """Return the message that names the writer and the remedy."""
    left = max(0, until_ms - now_ms()) / 1000
    return (
        f"the store is being written by {shown(owner)}; wait for it (--wait SECONDS) or stop it. If it has ended, its "
        f"lease expires in {left:.0f} s; then run the same command again"
    )
