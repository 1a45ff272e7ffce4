"""Messages for users about errors of the Neo4j driver and server.

The driver's own messages are long and suggest no remedy; their causes (a name that does not resolve, a certificate, a
port where nothing listens) are more useful. None of the messages contains the password.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socket import gaierror
from textwrap import shorten

from neo4j.exceptions import (
    AuthError,
    ClientError,
    DatabaseError,
    DriverError,
    Neo4jError,
    ServiceUnavailable,
    SessionExpired,
    TransientError,
    UnsupportedServerProduct,
)

from ....errors import QueryFailed, StoreBusy, StoreError, StoreUnreachable
from .. import errors
from .account import PASSWORD, USER

OLDEST = (5, 26)
NEEDED = "circuitstore needs Neo4j 5.26 or newer"
SHOWN = 300
"""Maximum number of characters of the server's message that are shown."""

_PLACE = re.compile(r"^(?P<what>.*?) \(line (?P<line>\d+), column (?P<column>\d+) \(offset: \d+\)\)", re.DOTALL)
_ACCOUNT = f"set {USER} and {PASSWORD}, or neo4j_user and neo4j_password in circuitstore.toml"


@dataclass(frozen=True)
class Target:
    """The database and user that messages name.

    Attributes:
        url: URL of the graph, as the user wrote it.
        user: name of the account.
        database: name of the database on the server.
    """

    url: str
    user: str
    database: str

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Raise the driver's errors as `StoreError`, or as `StoreUnreachable` if waiting may help."""
        try:
            yield
        except UnsupportedServerProduct as error:
            raise StoreError(f"{self.url} answers, but is not a supported server; {NEEDED}") from error
        except (ServiceUnavailable, SessionExpired) as error:
            raise self._unreachable(error) from error
        except Neo4jError as error:
            raise self._refused(error) from error
        except DriverError as error:
            raise StoreError(f"{self.url}: {first_line(error)}") from error

    def _unreachable(self, error: Exception) -> StoreError:
        cause = _root(error)
        host = self.url.partition("://")[2].partition("/")[0]
        match cause:
            case ssl.SSLCertVerificationError():
                return StoreError(
                    f"{self.url} has a certificate that this machine does not trust ({cause.verify_message}); set "
                    "SSL_CERT_FILE to the certificate of the authority that signed it, or, on a trusted network, "
                    f"accept any certificate with {self._scheme}+ssc://{host}"
                )
            case ssl.SSLError():
                return StoreUnreachable(
                    f"{self.url} does not speak TLS at this port ({cause.reason}); use {self._scheme}://{host}, or "
                    "enable TLS on the server; if it is starting, wait a moment"
                )
            case gaierror():
                return StoreUnreachable(f"{self.url} cannot be reached: there is no host of that name; correct the URL")
            case ConnectionRefusedError():
                return StoreUnreachable(
                    f"{self.url} cannot be reached: nothing listens there; start the server, wait until it has "
                    "started, or correct host and port (Bolt uses 7687)"
                )
            case TimeoutError():
                return StoreUnreachable(
                    f"{self.url} cannot be reached: no answer in time; correct host and port (Bolt uses 7687, the "
                    "browser another), or check for a firewall in between"
                )
        tls = "" if "+" in self.url.partition("://")[0] else f", or use {self._scheme}+s:// if it requires TLS"
        return StoreUnreachable(
            f"{self.url} cannot be reached ({first_line(cause)}); if the server is starting, wait a moment; "
            f"otherwise start it, correct host and port (Bolt uses 7687){tls}"
        )

    def _refused(self, error: Neo4jError) -> StoreError:
        code = error.code or ""
        match code.rpartition(".")[2]:
            case "CredentialsExpired":
                return StoreError(
                    f"{self.url}: the password of user {self.user!r} must be changed before it is used; run, in the "
                    "browser or with cypher-shell -d system, ALTER CURRENT USER SET PASSWORD FROM 'old' TO 'new', then "
                    f"use the new one ({_ACCOUNT})"
                )
            case "AuthenticationRateLimit":
                return StoreError(
                    f"{self.url} refuses user {self.user!r} for a while after several wrong passwords; correct the "
                    f"password ({_ACCOUNT}), wait a few seconds, and try again"
                )
            case "DatabaseNotFound":
                return StoreError(
                    f"{self.url}: the server has no database {self.database!r}; correct the end of the URL, "
                    "or create the database (the Community edition has only 'neo4j')"
                )
            case "DatabaseUnavailable":
                return StoreUnreachable(
                    f"{self.url}: database {self.database!r} is starting or stopped; wait a moment, or start it"
                )
            case "ConstraintCreationFailed":
                return StoreError(
                    f"{self.url} contains data that its schema forbids ({first_line(error)}); rebuild the graph from "
                    "the archive with: circuitstore rebuild"
                )
            case "Forbidden":
                return StoreError(
                    f"{self.url} does not let user {self.user!r} do this ({first_line(error)}); allow it to "
                    "read, write and create constraints and indexes, or use another account"
                )
        if _out_of_time(error):
            return StoreBusy(
                f"{self.url}: another program has a lock that is needed; terminate its transaction (SHOW TRANSACTIONS "
                "lists it), or try again when it has ended"
            )
        if terminated(error):
            return StoreUnreachable(
                f"{self.url}: an administrator of the server terminated the transaction, which was undone; run the "
                "same command again once they allow it"
            )
        if isinstance(error, AuthError):
            why = "no password was given" if "missing key `scheme`" in str(error) else first_line(error)
            return StoreError(f"{self.url} refuses user {self.user!r}: {why}; {_ACCOUNT}")
        kind = StoreUnreachable if isinstance(error, TransientError | DatabaseError) else StoreError
        return kind(f"{self.url}: {first_line(error)}")

    @property
    def _scheme(self) -> str:
        return self.url.partition("://")[0].partition("+")[0]


def check_server(agent: str, url: str) -> None:
    """Check that a server is supported, by its user agent (`Neo4j/5.26.1`).

    Raises:
        StoreError: it is too old, or not Neo4j.
    """
    version = re.match(r"Neo4j/(\d+)\.(\d+)", agent)
    if version is None:
        raise StoreError(f"{url} is {agent!r}, an unknown server; {NEEDED}: use the URL of one")
    if (int(version[1]), int(version[2])) < OLDEST:
        raise StoreError(f"{url} is {agent}; {NEEDED}: upgrade the server")


def ended(error: Neo4jError) -> bool:
    """Return whether the server ended a transaction: by its timeout, or because an administrator terminated it."""
    return _out_of_time(error) or terminated(error)


def _out_of_time(error: Neo4jError) -> bool:
    return "TransactionTimedOut" in (error.code or "")


def terminated(error: Neo4jError) -> bool:
    """Return whether `TERMINATE TRANSACTIONS` ended it; the driver turns this transient error into a client error."""
    return (error.code or "").endswith(".Transaction.Terminated")


def query_failed(error: Neo4jError, text: str, timeout_s: float) -> Exception:
    """Return the error for a query's `text`; errors with other causes are returned unchanged."""
    code = error.code or ""
    if _out_of_time(error):
        return errors.too_long(timeout_s)
    if terminated(error):
        return QueryFailed(
            "an administrator of the server terminated the query; narrow it, or run it again once they allow it"
        )
    if "OutOfMemory" in code:
        return QueryFailed(
            "the query needs more memory than the server has for it; narrow it with WHERE, "
            "bound the hops of its paths (*1..3), or return fewer rows with LIMIT"
        )
    if ".Statement." not in code and (isinstance(error, TransientError) or not isinstance(error, ClientError)):
        return error
    if isinstance(error, AuthError) or ".Database." in code:
        return error
    place = _PLACE.match(error.message or code)
    if place is None:
        return QueryFailed(f"{shorten(first_line(error), SHOWN)}; {_READ_ON}")
    line = int(place["line"])
    at = "".join(text.splitlines()[line - 1 : line])
    what = place["what"].partition(": expected")[0] if place["what"].startswith("Invalid input") else place["what"]
    return QueryFailed(
        f"line {line}, column {place['column']}, in {shorten(at, SHOWN)!r}: {shorten(what, SHOWN)}; {_READ_ON}"
    )


_READ_ON = "see circuitstore docs queries for the dialect, circuitstore docs graph for the schema"


def first_line(error: BaseException) -> str:
    text = error.message if isinstance(error, Neo4jError) else str(error)
    return (text or type(error).__name__).strip().splitlines()[0]


def _root(error: BaseException) -> BaseException:
    """Return the root cause: the deepest one, the first of several."""
    inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
    return error if inner is None else _root(inner)
