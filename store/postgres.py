"""A catalog on a PostgreSQL server: its engine and its errors.

Its transactions behave like those of SQLite: a read transaction sees a snapshot, and write transactions are serialized,
each waiting at its start.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Dialect, Engine, event
from sqlalchemy.exc import DataError, DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool

from ..errors import CircuitStoreError, InputError, StoreBusy, StoreDamaged, StoreError, StoreUnreachable, optional

BUSY_S = 60.0
"""Seconds to wait for another transaction."""

SILENT_S = 60.0
"""Seconds after which the server rolls back an idle write transaction, whose process may be suspended."""

DRIVER = "postgresql+psycopg"

_CONNECTING = {
    "application_name": "circuitstore",
    "connect_timeout": "15",
    # give up a silent server after a minute, not after the system's two hours
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
"""Parameters of libpq, in seconds (the last one in ms); the URL takes precedence."""

_LOCK = int.from_bytes(b"circuit")
"""Number of the advisory lock that serializes the writers of a database."""

_READ = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = {ms}"
_WRITE = (
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE; "  # sees commits during the wait
    "SET LOCAL lock_timeout = {ms}; "
    "SET LOCAL idle_in_transaction_session_timeout = {silent_ms}; "
    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'; "
    f"SELECT pg_advisory_xact_lock({_LOCK})"
)


def engine(url: sa.URL, *, read_only: bool) -> Engine:
    """Return an engine for the server that keeps no connections, because forks would share them."""
    try:
        optional("psycopg", "postgres")
    except ImportError as error:  # psycopg is installed, but not its C library
        reason = str(error).splitlines()[0]
        raise CircuitStoreError(
            f'psycopg cannot be used ({reason}); install it with: pip install "circuitstore[postgres]"'
        ) from error
    arguments = {name: value for name, value in _CONNECTING.items() if name not in url.query}
    created = sa.create_engine(url, poolclass=NullPool, connect_args=arguments)

    @event.listens_for(created, "do_connect")
    def connect(dialect: Dialect, _: object, args: list[Any], kwargs: dict[str, Any]) -> Any:
        connection = dialect.connect(*args, **kwargs)
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            connection.close()
            raise StoreError(
                f"catalog {url.render_as_string()}: expected a database with encoding UTF8, got "
                f"{encoding}; create one with: createdb --encoding=UTF8 --template=template0 NAME"
            )
        return connection

    @event.listens_for(created, "begin")
    def begin(connection: Connection) -> None:
        writing = connection.get_execution_options()["writing"] and not read_only
        ms, silent_ms = round(1000 * BUSY_S), round(1000 * SILENT_S)
        connection.exec_driver_sql((_WRITE if writing else _READ).format(ms=ms, silent_ms=silent_ms))

    return created


def translated(error: DBAPIError, where: str) -> CircuitStoreError:
    """Return the error with its remedy."""
    state, text = getattr(error.orig, "sqlstate", None), " ".join(str(error.orig).split())
    where = f"{where}: {text}"
    if state is None and isinstance(error, OperationalError):
        return _unconnected(where, text)
    if state is None and isinstance(error, ProgrammingError):
        return InputError(f"{where}; check what follows the question mark in the URL")
    if isinstance(error, DataError):
        return InputError(f"{where}; the database cannot store this value")
    kind, remedy = (
        _REMEDIES.get(state or "") or _REMEDIES.get((state or "")[:2]) or (StoreError, "see the server's log")
    )
    return kind(f"{where}; {remedy}")


_AGAIN = "stored values are kept; run the same command again when the server answers"
_COPY = "this server is read-only, like a replica; give the URL of the primary server"
_DAMAGED = (
    "restore the database from a backup, or give an empty one and run circuitstore rebuild, "
    "which creates a new catalog from the archive"
)
_REMEDIES: dict[str, tuple[type[StoreError], str]] = {
    "08": (StoreUnreachable, _AGAIN),
    "0A000": (StoreError, _COPY),
    "25006": (StoreError, _COPY),
    "25P03": (StoreUnreachable, "this process was suspended for too long; run the same command again"),
    "40": (StoreBusy, "another program changed the same data; try again"),
    "42501": (StoreError, "ask the owner of the database to grant the account the rights, or give another account"),
    "42P01": (StoreDamaged, _DAMAGED),
    "53": (StoreUnreachable, f"the server lacks connections or memory; {_AGAIN}"),
    "53100": (StoreError, "make room on the server's disk, then run the same command again: it resumes"),
    "55P03": (StoreBusy, f"another program has locked it for {BUSY_S:g} s; try again when that has ended"),
    "57": (StoreUnreachable, _AGAIN),
    "XX": (StoreDamaged, _DAMAGED),
}
"""By SQLSTATE, or by its class (the first two digits)."""


def _unconnected(where: str, text: str) -> StoreError:
    """Return the error for a failed connection, which has no SQLSTATE, only text."""
    if "password" in text:
        return StoreError(
            f"{where}; give the right password in the environment variable PGPASSWORD or in the file ~/.pgpass"
        )
    if "does not exist" in text or "pg_hba.conf" in text:
        return StoreError(f"{where}; check account and database in the URL; createdb NAME creates a database")
    return StoreUnreachable(
        f"{where}; check that the server runs and that host and port in the URL are right; {_AGAIN}"
    )
