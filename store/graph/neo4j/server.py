"""A Neo4j server over Bolt: its URL, the account, sessions, and its errors in words for the user."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import neo4j
from neo4j.exceptions import IncompleteCommit, Neo4jError

from ....errors import InputError
from ...faults import fault
from ...lease import Permit
from ..portable import Ask
from ..urls import split_server
from .account import Account
from .errors import Asked, refuse_other_servers, terminated

DATABASE = "neo4j"
"""The database of a URL that names none."""

CONNECT_S = 10.0
ANSWER_S = 20.0  # to the first word, and for a free connection
RETRY_S = 30.0  # a server that restarts is waited for
FIRST_RETRY_S = 0.1  # doubled each time: a connection that was reset is there again at once

WRITER = "circuitstore_writer"
"""In the metadata of a transaction: it is a writer's of this program, with the number of the connection."""

_HERE = "CALL db.info() YIELD name RETURN name"
_TRANSACTIONS = "SHOW TRANSACTIONS YIELD transactionId, database, metaData RETURN transactionId, database, metaData"

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

    Every method raises `StoreError` when the server cannot be reached or refuses. What `read`, `write` and `unchecked`
    run is run again when the server asks for it (a restart, a deadlock), so it must be idempotent.

    Attributes:
        before_commit: what is asked in each transaction of `write` before it is committed.
    """

    def __init__(self, url: str, account: Account, *, read_only: bool = False, permit: Permit = nullcontext) -> None:
        """Connect to the server.

        Args:
            read_only: the transactions are a reader's, not those of a writer.
            permit: entered around each commit of `write`, and each statement of the schema.

        Raises:
            InputError: a URL that is none.
            StoreError: no such server, or it refuses the account, or is too old.
        """
        self.url, self._address, self._permit = url, Address.of(url), permit
        self.before_commit: Work[object] = lambda tx: None
        self._mark = None if read_only else secrets.token_hex(8)
        self._asked = Asked(url, account.user, self._address.database)
        self._seen = neo4j.GraphDatabase.bookmark_manager()  # so that every member of a cluster knows what was written
        with self._asked.told():
            self._driver = neo4j.GraphDatabase.driver(
                self._address.server,
                auth=(account.user, account.password) if account.password else None,
                connection_timeout=CONNECT_S,
                connection_acquisition_timeout=ANSWER_S,
                max_transaction_retry_time=RETRY_S,
                initial_retry_delay=FIRST_RETRY_S,
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

    def unchecked(self, work: Work[T]) -> T:
        """As `write`, without permit and check.

        For reading at the member of a cluster that is written, and for what a writer may do that has lost its lease.
        """
        return self._twice(lambda: self._write(work))

    def write(self, work: Work[T]) -> T:
        """What `work` gives in a transaction; all of it is durable when the call returns, or nothing.

        Raises:
            LeaseLost: by the permit, or by what is asked before the commit; nothing was changed.
        """

        def act() -> T:
            with self._ended_for_a_reason(), ExitStack() as permitted:

                def last(tx: neo4j.ManagedTransaction) -> T:
                    permitted.close()  # what an earlier try of the driver entered
                    found = work(tx)
                    self.before_commit(tx)
                    permitted.enter_context(self._permit())
                    return found

                return self._write(_timed_as(work, last))

        return self._twice(act)

    @contextmanager
    def _ended_for_a_reason(self) -> Iterator[None]:
        """Says that the lease was lost where the next writer ended the transaction (`end_other_writers`)."""
        try:
            yield
        except Neo4jError as error:
            if terminated(error):
                with self._permit():
                    pass
            raise

    def _twice(self, act: Callable[[], T]) -> T:
        """What `act` gives, done again if the answer was lost: it may have been committed, or not."""
        with self._asked.told():
            try:
                return act()
            except IncompleteCommit:
                return act()

    def _read(self, work: Work[T]) -> T:
        with self._session(neo4j.READ_ACCESS) as session:
            return session.execute_read(self._marked(work))

    def _write(self, work: Work[T]) -> T:
        with self._session(neo4j.WRITE_ACCESS) as session:
            return session.execute_write(self._marked(work))

    def _marked(self, work: Work[T]) -> Work[T]:
        return _timed_as(work, work, {WRITER: self._mark} if self._mark else {})

    def end_other_writers(self) -> None:
        """End the transactions of other writers in the database, and with them their locks.

        For the one that may write: the processes of the others were killed or suspended, and the server may not have
        noticed.
        """

        def work(tx: neo4j.ManagedTransaction) -> None:
            marks = {id: data.get(WRITER) for id, data in transactions(tx)}
            others = [id for id, mark in marks.items() if mark not in (None, self._mark)]
            if others:
                rows(tx, "TERMINATE TRANSACTIONS $ids", {"ids": others})

        self.unchecked(work)

    def define(self, statement: str) -> None:
        """Run a statement of the schema, in a transaction of its own."""
        with self._asked.told(), self._session(neo4j.WRITE_ACCESS) as session:
            fault("graph.define.before")
            with self._permit():
                session.run(statement).consume()  # pyright: ignore[reportArgumentType]
            fault("graph.define.after")

    def close(self) -> None:
        self._driver.close()

    @property
    def database(self) -> str:
        return self._address.database

    def _session(self, access: str) -> neo4j.Session:
        return self._driver.session(database=self.database, default_access_mode=access, bookmark_manager=self._seen)


def _timed_as(like: Work[Any], work: Work[T], metadata: Mapping[str, Any] | None = None) -> Work[T]:
    """`work` with the time limit that `like` was given by `neo4j.unit_of_work`, if it was."""
    return neo4j.unit_of_work(dict(metadata or {}), getattr(like, "timeout", None))(work)


def rows(tx: neo4j.ManagedTransaction, text: str, params: Mapping[str, Any] | None = None) -> list[list[Any]]:
    """Rows of one statement."""
    return [list(record.values()) for record in tx.run(text, dict(params or {}))]  # pyright: ignore[reportArgumentType]


def ask_in(tx: neo4j.ManagedTransaction) -> Ask:
    """What runs the statements that all backends ask, in a transaction."""
    return lambda text, params: rows(tx, text, params)


def transactions(tx: neo4j.ManagedTransaction) -> list[tuple[str, Mapping[str, Any]]]:
    """Id and metadata of the transactions that run in the database, as far as the server shows them to the account."""
    here = rows(tx, _HERE)[0][0]  # the URL may spell it otherwise
    return [(id, data) for id, database, data in rows(tx, _TRANSACTIONS) if database == here]
