"""A connection to a Neo4j server over Bolt: address, account, sessions and errors."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
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
from .errors import Target, check_server, terminated

DATABASE = "neo4j"
"""The database of a URL that names none."""

CONNECT_S = 10.0
ANSWER_S = 20.0  # for the first response, and for a free connection
RETRY_S = 30.0  # while a server restarts
FIRST_RETRY_S = 0.1  # doubled each time; a reset connection is usually available again at once
LOST_COMMITS = 7
"""Maximum number of times that a transaction is repeated because the answer to its commit was lost."""

WRITER = "circuitstore_writer"
"""Key in the metadata of a writer's transaction; its value identifies the connection."""

_HERE = "CALL db.info() YIELD name RETURN name"
_TRANSACTIONS = "SHOW TRANSACTIONS YIELD transactionId, database, metaData RETURN transactionId, database, metaData"

logging.getLogger("neo4j").addHandler(logging.NullHandler())  # our errors report what it logs

T = TypeVar("T")
Work = Callable[[neo4j.ManagedTransaction], T]


@dataclass(frozen=True)
class Address:
    """The parts of a URL.

    Attributes:
        server: scheme, host and port.
        database: name of the database.
    """

    server: str
    database: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Parse `bolt://host:port/database`; port and database may be omitted.

        Raises:
            InputError: the URL does not have this form.
        """
        parts = split_server(url)
        database = parts.path.strip("/") or DATABASE
        if database == "system" or not re.fullmatch(r"[A-Za-z][A-Za-z0-9.-]{2,62}", database):
            raise InputError(f"graph URL {url!r}: {database!r} is not a valid name of a database for circuits")
        return cls(f"{parts.scheme}://{parts.netloc}", database)


class Server:
    """A connection to one database of a server; thread-safe.

    Every method raises `StoreError` if the server cannot be reached or reports an error. The work of `read`, `write`
    and `unchecked` is repeated after transient errors (a restart, a deadlock), so it must be idempotent.

    Attributes:
        before_commit: check that runs in each transaction of `write` before its commit.
    """

    def __init__(self, url: str, account: Account, *, read_only: bool = False, permit: Permit = nullcontext) -> None:
        """Connect to the server.

        Args:
            read_only: whether the transactions are those of a reader.
            permit: entered around each commit of `write`, and each schema statement.

        Raises:
            InputError: the URL is invalid.
            StoreError: the server cannot be reached, refuses the account, or is too old.
        """
        self.url, self._address, self._permit = url, Address.of(url), permit
        self.before_commit: Work[object] = lambda tx: None
        self._mark = None if read_only else secrets.token_hex(8)
        self._target = Target(url, account.user, self._address.database)
        self._seen = neo4j.GraphDatabase.bookmark_manager()  # reads see earlier writes on every member of a cluster
        with self._target.explaining():
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
            with self._target.explaining():
                check_server(self._driver.get_server_info().agent, url)
        except BaseException:
            self._driver.close()
            raise

    def read(self, work: Work[T]) -> T:
        """Return the result of `work` in a transaction that cannot write."""
        return self._committed(lambda: self._read(work))

    def unchecked(self, work: Work[T]) -> T:
        """Run `work` as `write` does, without permit and check.

        Used to read on the cluster member that is written to, and for actions allowed after the lease is lost.
        """
        return self._committed(lambda: self._write(work))

    def write(self, work: Work[T]) -> T:
        """Return the result of `work` in a transaction, which is durable when the call returns, or has no effect.

        Raises:
            LeaseLost: raised by the permit or by `before_commit`; nothing was changed.
        """

        def act() -> T:
            with self._ended_for_a_reason(), ExitStack() as permitted:

                def last(tx: neo4j.ManagedTransaction) -> T:
                    permitted.close()  # entered by an earlier attempt of the driver
                    found = work(tx)
                    self.before_commit(tx)
                    permitted.enter_context(self._permit())
                    return found

                return self._write(_timed_as(work, last))

        return self._committed(act)

    @contextmanager
    def _ended_for_a_reason(self) -> Iterator[None]:
        """Raise `LeaseLost` if the next writer ended the transaction (`end_other_writers`)."""
        try:
            yield
        except Neo4jError as error:
            if terminated(error):
                with self._permit():
                    pass
            raise

    def _committed(self, act: Callable[[], T]) -> T:
        """Return the result of `act`, repeated if the answer to the commit was lost: it may have succeeded or not.

        Several connections may be lost in a row, so once is not enough.
        """
        with self._target.explaining():
            for _ in range(LOST_COMMITS):
                with suppress(IncompleteCommit):
                    return act()
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
        """End the transactions of other writers in the database, which releases their locks.

        Only the writer with the right to the lease may call this: the processes of the others were killed or suspended,
        which the server may not have noticed.
        """

        def work(tx: neo4j.ManagedTransaction) -> None:
            marks = {id: data.get(WRITER) for id, data in transactions(tx)}
            others = [id for id, mark in marks.items() if mark not in (None, self._mark)]
            if others:
                rows(tx, "TERMINATE TRANSACTIONS $ids", {"ids": others})

        self.unchecked(work)

    def define(self, statement: str) -> None:
        """Run a schema statement in a separate transaction."""
        with self._target.explaining(), self._session(neo4j.WRITE_ACCESS) as session:
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
    """Return `work` with the timeout that `neo4j.unit_of_work` set for `like`, if any."""
    return neo4j.unit_of_work(dict(metadata or {}), getattr(like, "timeout", None))(work)


def rows(tx: neo4j.ManagedTransaction, text: str, params: Mapping[str, Any] | None = None) -> list[list[Any]]:
    """Return the rows of one statement."""
    return [list(record.values()) for record in tx.run(text, dict(params or {}))]  # pyright: ignore[reportArgumentType]


def ask_in(tx: neo4j.ManagedTransaction) -> Ask:
    """Return the function that runs portable statements in a transaction."""
    return lambda text, params: rows(tx, text, params)


def transactions(tx: neo4j.ManagedTransaction) -> list[tuple[str, Mapping[str, Any]]]:
    """Return id and metadata of the running transactions in the database that the account may see."""
    here = rows(tx, _HERE)[0][0]  # the URL may spell it differently
    return [(id, data) for id, database, data in rows(tx, _TRANSACTIONS) if database == here]
