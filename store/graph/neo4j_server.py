"""A Neo4j server over Bolt: its URL, the account, sessions, and its errors in words for the user."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import neo4j
from neo4j.exceptions import (
    IncompleteCommit,
)

from ...errors import InputError
from ..faults import fault
from .account import Account
from .neo4j_errors import Asked, refuse_other_servers
from .urls import split_server

DATABASE = "neo4j"
"""The database of a URL that names none."""

CONNECT_S = 10.0
ANSWER_S = 20.0  # to the first word, and for a free connection
RETRY_S = 30.0  # a server that restarts is waited for

logging.getLogger("neo4j").addHandler(logging.NullHandler())  # what it logs is told by our errors

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
        parts = split_server(url)
        database = parts.path.strip("/") or DATABASE
        if database == "system" or not re.fullmatch(r"[A-Za-z][A-Za-z0-9.-]{2,62}", database):
            raise InputError(f"graph URL {url!r}: {database!r} is no name of a database that can hold circuits")
        return cls(f"{parts.scheme}://{parts.netloc}", database)


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
        self._asked = Asked(url, account.user, self._address.database)
        self._seen = neo4j.GraphDatabase.bookmark_manager()  # so that every member of a cluster knows what was written
        with self._asked.told():
            self._driver = neo4j.GraphDatabase.driver(
                self._address.server,
                auth=(account.user, account.password) if account.password else None,
                connection_timeout=CONNECT_S,
                connection_acquisition_timeout=ANSWER_S,
                max_transaction_retry_time=RETRY_S,
                notifications_min_severity="OFF",
                telemetry_disabled=True,
            )
        try:
            with self._asked.told():
                refuse_other_servers(self._driver.get_server_info().agent, url)
        except BaseException:
            self._driver.close()
            raise

    def read(self, work: Work[T]) -> T:
        """What `work` gives in a transaction that cannot write."""
        return self._twice(lambda: self._read(work))

    def write(self, work: Work[T]) -> T:
        """What `work` gives in a transaction; all of it is durable when the call returns, or nothing."""
        return self._twice(lambda: self._write(work))

    def _twice(self, act: Callable[[], T]) -> T:
        """What `act` gives, done again if the answer was lost: it may have been committed, or not."""
        with self._asked.told():
            try:
                return act()
            except IncompleteCommit:
                return act()

    def _read(self, work: Work[T]) -> T:
        with self._session(neo4j.READ_ACCESS) as session:
            return session.execute_read(work)

    def _write(self, work: Work[T]) -> T:
        with self._session(neo4j.WRITE_ACCESS) as session:
            return session.execute_write(work)

    def define(self, statement: str) -> None:
        """Run a statement of the schema, in a transaction of its own."""
        with self._asked.told(), self._session(neo4j.WRITE_ACCESS) as session:
            fault("graph.define.before")
            session.run(statement).consume()  # pyright: ignore[reportArgumentType]
            fault("graph.define.after")

    def close(self) -> None:
        self._driver.close()

    @property
    def database(self) -> str:
        return self._address.database

    def _session(self, access: str) -> neo4j.Session:
        return self._driver.session(database=self.database, default_access_mode=access, bookmark_manager=self._seen)


def rows(tx: neo4j.ManagedTransaction, text: str, params: Mapping[str, Any] | None = None) -> list[list[Any]]:
    """Rows of one statement."""
    return [list(record.values()) for record in tx.run(text, dict(params or {}))]  # pyright: ignore[reportArgumentType]
