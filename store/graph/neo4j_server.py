"""A Neo4j server over Bolt: its URL, the account, sessions, and its errors in words for the user."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import neo4j
from neo4j.exceptions import (
    AuthError,
    ConfigurationError,
    DatabaseError,
    DriverError,
    IncompleteCommit,
    Neo4jError,
    ServiceUnavailable,
    SessionExpired,
    TransientError,
)

from ...errors import InputError, StoreError, StoreUnreachable
from .account import PASSWORD, USER, Account

DATABASE = "neo4j"
"""The database of a URL that names none."""

CONNECT_S = 10.0
RETRY_S = 30.0  # a server that restarts is waited for
OLDEST = (5, 26)

T = TypeVar("T")
Work = Callable[[neo4j.ManagedTransaction], T]


@dataclass(frozen=True)
class Address:
    """What a URL says.

    Attributes:
        server: scheme, host and port.
        database: its name.
    """

    server: str
    database: str

    @classmethod
    def of(cls, url: str) -> Self:
        """The parts of `bolt://host:port/database`; port and database may be left out.

        Raises:
            InputError: it is no such URL.
        """
        parts = urlsplit(url)
        database = parts.path.strip("/") or DATABASE
        if not parts.hostname or parts.query or parts.fragment or not _port_is_sound(url):
            raise InputError(f"graph URL {url!r}: expected {parts.scheme}://HOST:PORT/DATABASE")
        if database == "system" or not re.fullmatch(r"[A-Za-z][A-Za-z0-9.-]{2,62}", database):
            raise InputError(f"graph URL {url!r}: {database!r} is no name of a database that can hold circuits")
        return cls(f"{parts.scheme}://{parts.netloc}", database)


def _port_is_sound(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


class Server:
    """A connection to one database of a server; used from several threads.

    Every method raises `StoreError` when the server cannot be reached or refuses. What `read` and `write` run is
    run again when the server asks for it (a restart, a deadlock), so it must be idempotent.
    """

    def __init__(self, url: str, account: Account) -> None:
        """Connect to the server.

        Raises:
            InputError: a URL that is none.
            StoreError: no such server, or it refuses the account, or is too old.
        """
        self.url, self._address = url, Address.of(url)
        self._account = account
        self._seen = neo4j.GraphDatabase.bookmark_manager()  # so that every member of a cluster knows what was written
        with self._told():
            self._driver = neo4j.GraphDatabase.driver(
                self._address.server,
                auth=(account.user, account.password) if account.password else None,
                connection_timeout=CONNECT_S,
                max_transaction_retry_time=RETRY_S,
                notifications_min_severity="OFF",
                telemetry_disabled=True,
            )
        try:
            with self._told():
                self._refuse_old(self._driver.get_server_info().agent)
        except BaseException:
            self._driver.close()
            raise

    def _refuse_old(self, agent: str) -> None:
        """`agent` is like `Neo4j/5.26.1`."""
        version = re.match(r"Neo4j/(\d+)\.(\d+)", agent)
        if version and (int(version[1]), int(version[2])) < OLDEST:
            raise StoreError(f"{self.url} is {agent}; circuitstore needs Neo4j 5.26 or newer: upgrade the server")

    def read(self, work: Work[T]) -> T:
        """What `work` gives in a transaction that cannot write."""
        with self._told(), self._session(neo4j.READ_ACCESS) as session:
            return session.execute_read(work)

    def write(self, work: Work[T]) -> T:
        """What `work` gives in a transaction; all of it is durable when the call returns, or nothing."""
        with self._told():
            try:
                return self._write(work)
            except IncompleteCommit:  # the answer was lost: it may have been committed
                return self._write(work)

    def _write(self, work: Work[T]) -> T:
        with self._session(neo4j.WRITE_ACCESS) as session:
            return session.execute_write(work)

    def define(self, statement: str) -> None:
        """Run a statement of the schema, in a transaction of its own."""
        with self._told(), self._session(neo4j.WRITE_ACCESS) as session:
            session.run(statement).consume()  # pyright: ignore[reportArgumentType]

    def close(self) -> None:
        self._driver.close()

    @property
    def database(self) -> str:
        return self._address.database

    def _session(self, access: str) -> neo4j.Session:
        return self._driver.session(database=self.database, default_access_mode=access, bookmark_manager=self._seen)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """The driver's errors as `StoreError`; no message of theirs holds the password."""
        try:
            yield
        except AuthError as error:
            raise StoreError(
                f"{self.url} refuses user {self._account.user!r}: {_first_line(error)}; set {USER} and {PASSWORD}"
            ) from error
        except (ServiceUnavailable, SessionExpired) as error:
            raise StoreUnreachable(
                f"{self.url} cannot be reached ({_first_line(error)}); start the server, or correct host and port"
            ) from error
        except Neo4jError as error:
            if error.code == "Neo.ClientError.Database.DatabaseNotFound":
                raise StoreError(
                    f"{self.url}: the server has no database {self._address.database!r}; correct the end of the URL, "
                    "or make the database (Community has one, 'neo4j')"
                ) from error
            kind = StoreUnreachable if isinstance(error, (TransientError, DatabaseError)) else StoreError
            raise kind(f"{self.url}: {_first_line(error)}") from error
        except (ConfigurationError, DriverError) as error:
            raise StoreError(f"{self.url}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    text = error.message if isinstance(error, Neo4jError) else str(error)
    return (text or type(error).__name__).strip().splitlines()[0]


def rows(tx: neo4j.ManagedTransaction, text: str, params: Mapping[str, Any] | None = None) -> list[list[Any]]:
    """Rows of one statement."""
    return [list(record.values()) for record in tx.run(text, dict(params or {}))]  # pyright: ignore[reportArgumentType]
