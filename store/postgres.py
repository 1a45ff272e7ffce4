"""A catalog on a PostgreSQL server: how it is opened, and what its errors mean.

A program must see the same on every database, and the first was SQLite: so here, too, a transaction that reads
sees one moment, and those that write come one after another, each waiting at its start.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Dialect, Engine, event
from sqlalchemy.exc import DataError, DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool

from ..errors import CircuitStoreError, InputError, StoreBusy, StoreDamaged, StoreError, StoreUnreachable, optional

BUSY_S = 60.0
"""Seconds to wait for another's transaction."""

SILENT_S = 60.0
"""Seconds after which the server undoes a transaction that writes and says nothing: its process was stopped."""

DRIVER = "postgresql+psycopg"

_CONNECTING = {
    "application_name": "circuitstore",
    "connect_timeout": "15",
    # a server that fell silent is given up after a minute, not after the system's two hours
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
"""Of libpq, in seconds but the last, which is in ms; the URL goes before."""

_LOCK = int.from_bytes(b"circuit")
"""Number of the lock that writers of a database take in turn."""

_READ = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = {ms}"
_WRITE = (
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE; "  # it must see what was committed while it waited
    "SET LOCAL lock_timeout = {ms}; "
    "SET LOCAL idle_in_transaction_session_timeout = {silent_ms}; "
    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'; "
    f"SELECT pg_advisory_xact_lock({_LOCK})"
)


def engine(url: sa.URL, *, read_only: bool) -> Engine:
    """Connections to the server, none of them kept: a fork would share it, the server would count it."""
    try:
        optional("psycopg", "postgres")
    except ImportError as error:  # it is there, the C library that it calls is not
        reason = str(error).splitlines()[0]
        raise CircuitStoreError(
            f'psycopg cannot be used ({reason}); install it with: pip install "circuitstore[postgres]"'
        ) from error
    asked = {name: value for name, value in _CONNECTING.items() if name not in url.query}
    made = sa.create_engine(url, poolclass=NullPool, connect_args=asked)

    @event.listens_for(made, "do_connect")
    def connect(dialect: Dialect, _: object, given: list[Any], named: dict[str, Any]) -> Any:
        connection = dialect.connect(*given, **named)
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            connection.close()
            raise StoreError(
                f"catalog {url.render_as_string()}: expected a database with encoding UTF8, which holds any text, got "
                f"{encoding}; make one with: createdb --encoding=UTF8 --template=template0 NAME"
            )
        return connection

    @event.listens_for(made, "begin")
    def begin(connection: Connection) -> None:
        writing = connection.get_execution_options()["writing"] and not read_only
        ms, silent_ms = round(1000 * BUSY_S), round(1000 * SILENT_S)
        connection.exec_driver_sql((_WRITE if writing else _READ).format(ms=ms, silent_ms=silent_ms))

    return made


def translated(error: DBAPIError, where: str) -> CircuitStoreError:
    """What went wrong, in words, with the remedy."""
    state, text = getattr(error.orig, "sqlstate", None), " ".join(str(error.orig).split())
    where = f"{where}: {text}"
    if state is None and isinstance(error, OperationalError):
        return _unconnected(where, text)
    if state is None and isinstance(error, ProgrammingError):
        return InputError(f"{where}; check what follows the question mark in the URL")
    if isinstance(error, DataError):
        return InputError(f"{where}; the database cannot hold this value")
    kind, remedy = (
        _REMEDIES.get(state or "") or _REMEDIES.get((state or "")[:2]) or (StoreError, "see the server's log")
    )
    return kind(f"{where}; {remedy}")


_AGAIN = "what was stored stays: run the same command again when it answers"
_COPY = "this server only reads, as a copy of another does; give the URL of the one that is written"
_DAMAGED = (
    "put the database back from a backup, or give an empty one and run: circuitstore rebuild, "
    "which makes a new catalog from the archive"
)
_REMEDIES: dict[str, tuple[type[StoreError], str]] = {
    "08": (StoreUnreachable, _AGAIN),
    "0A000": (StoreError, _COPY),
    "25006": (StoreError, _COPY),
    "25P03": (StoreUnreachable, "this process stood still for too long; run the same command again"),
    "40": (StoreBusy, "another program was in the way; try again"),
    "42501": (StoreError, "the account may not; have the owner of the database grant it the rights, or give another"),
    "42P01": (StoreDamaged, _DAMAGED),
    "53": (StoreUnreachable, f"the server lacks connections or memory; {_AGAIN}"),
    "53100": (StoreError, "make room on the server's disk, then run the same command again: it goes on"),
    "55P03": (StoreBusy, f"another program has had it locked for {BUSY_S:g} s; try again when that has ended"),
    "57": (StoreUnreachable, _AGAIN),
    "XX": (StoreDamaged, _DAMAGED),
}
"""By SQLSTATE, or by its class (the first two digits)."""


def _unconnected(where: str, text: str) -> StoreError:
    """Of an error that came before, or instead of, an answer of the server: it has no SQLSTATE, only text."""
    if "password" in text:
        return StoreError(
            f"{where}; give the right password in the environment variable PGPASSWORD or in the file ~/.pgpass"
        )
    if "does not exist" in text or "pg_hba.conf" in text:
        return StoreError(f"{where}; check account and database in the URL; createdb NAME makes a database")
    return StoreUnreachable(
        f"{where}; check that the server runs and that host and port in the URL are right; {_AGAIN}"
    )
