"""A real PostgreSQL for the tests: a separate server on the loopback, with passwords on, a fresh database a test.

`CIRCUITSTORE_TEST_POSTGRES` (a URL such as `postgresql+psycopg://user@host/postgres`; the password in `PGPASSWORD`)
names a server that runs already, on which the account may make databases. Otherwise one is started from the machine's
own PostgreSQL, which must be 12 or newer.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import sqlalchemy as sa

from .neo4j_server import free_port

INSTALLED = Path("/usr/lib/postgresql")
"""Where Debian keeps the server's programs, by version; they are in no PATH."""

USER = "tester"
START_S = 600
CONF = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 50
shared_buffers = 32MB
timezone = 'UTC'
"""
# Ends the server when standard input ends, that is with the tests, however those end.
GUARD = '"$@" & server=$!; cat; kill -INT $server; wait $server'


class NoServer(Exception):
    """PostgreSQL cannot be started here; says why."""


class PostgresServer:
    """A server that runs.

    Attributes:
        url: of a database from which others are made; without the password.
        password: of the account in the URL.
    """

    _numbers = itertools.count(1)

    def __init__(self, url: sa.URL, password: str) -> None:
        self.url, self.password = url, password

    @classmethod
    def given(cls) -> PostgresServer | None:
        """The server that the environment names, if it does."""
        url = os.environ.get("CIRCUITSTORE_TEST_POSTGRES")
        return cls(sa.make_url(url), os.environ.get("PGPASSWORD", "")) if url else None

    def connect(self, database: str | None = None) -> psycopg.Connection:
        """A connection past our code, each statement a transaction."""
        place = self.url.set(drivername="postgresql", database=database or self.url.database)
        return psycopg.connect(place.render_as_string(), password=self.password, autocommit=True)

    def ask(self, text: str, *params: object, database: str | None = None) -> list[tuple]:
        """Rows of a statement, past our code."""
        with self.connect(database) as connection:
            done = connection.execute(text.encode(), params)
            return done.fetchall() if done.description else []

    @contextlib.contextmanager
    def database(self, how: str = "") -> Iterator[str]:
        """URL of a fresh database, which is dropped in the end.

        Where the server can, texts sort in it as people expect (a before B), which no catalog may depend on.

        Args:
            how: it is made, if not so.
        """
        name = f"circuitstore_test_{os.getpid()}_{next(self._numbers)}"
        self.ask(f"CREATE DATABASE {name} {how or self._sorting}")
        try:
            yield self.url.set(database=name).render_as_string()
        finally:
            self.ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    @property
    def _sorting(self) -> str:
        plain = "TEMPLATE template0 ENCODING 'UTF8'"
        recent = "current_setting('server_version_num')::int >= 150000"
        icu = self.ask(f"SELECT FROM pg_collation WHERE collprovider = 'i' AND {recent} LIMIT 1")
        return f"{plain} LOCALE_PROVIDER icu ICU_LOCALE 'en-US'" if icu else plain

    def drop_connections(self, url: str) -> int:
        """Have the server end every connection to a database, as an administrator would; returns how many."""
        text = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        return len(self.ask(text, sa.make_url(url).database))

    def close(self) -> None:
        """Leave nothing behind."""


class OwnServer(PostgresServer):
    """A server from the machine's programs, in its own folder; its output is in `server.log` there."""

    _guard: subprocess.Popen[bytes] | None = None

    def __init__(self) -> None:
        self._programs = programs()
        self._user = None if os.geteuid() else somebody()  # PostgreSQL refuses to run as root
        self.folder = Path(tempfile.mkdtemp(prefix="circuitstore-postgres-"))
        self._data, self.log = self.folder / "data", self.folder / "server.log"
        place = sa.URL.create("postgresql+psycopg", USER, host="127.0.0.1", port=free_port(), database="postgres")
        super().__init__(place, secrets.token_urlsafe(12))
        try:
            self._make()
            self.start()
        except BaseException:
            shutil.rmtree(self.folder)
            raise

    def _make(self) -> None:
        secret = self.folder / "password"
        secret.write_text(self.password)
        for path in (self.folder, secret):
            os.chown(path, os.geteuid() if self._user is None else self._user, -1)
        how = ["-U", USER, "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(
            [self._programs / "initdb", "-D", self._data, *how],
            user=self._user,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        secret.unlink()
        if done.returncode != 0:
            raise NoServer(f"initdb failed: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"port = {self.url.port}\n{CONF}")

    def start(self) -> None:
        """Start it; returns when it takes connections.

        After `kill`, it is tried again until the last process of the killed server has ended.
        """
        end = time.monotonic() + START_S
        while not self._answers():
            if time.monotonic() > end:
                raise NoServer(f"PostgreSQL did not start within {START_S} s: {self.log.read_text()[-2000:]}")
            if self._guard is None or self._guard.poll() is not None:
                self._launch()
            time.sleep(0.05)

    def _launch(self) -> None:
        with self.log.open("ab") as log:
            self._guard = subprocess.Popen(
                ["sh", "-c", GUARD, "sh", self._programs / "postgres", "-D", self._data],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self.folder,
            )

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """As a crash would; `start` brings it back with what was committed."""
        os.kill(int((self._data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        self._end()

    def stop(self) -> None:
        """As an administrator does; open connections are ended."""
        self._end()

    def _end(self) -> None:
        assert self._guard is not None
        self._guard.communicate()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)


def programs() -> Path:
    """Folder of the server's programs, of the newest version that is there.

    Raises:
        NoServer: there are none.
    """
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    versions = [folder for folder in INSTALLED.glob("*/bin") if (folder / "postgres").exists()]
    if not versions:
        raise NoServer(
            "no PostgreSQL server found; install one (Debian: postgresql), or set CIRCUITSTORE_TEST_POSTGRES"
        )
    return max(versions, key=lambda folder: float(folder.parent.name))


def somebody() -> int:
    """Number of a user without rights."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    raise NoServer("PostgreSQL does not run as root, and there is neither a user postgres nor nobody; run as another")
