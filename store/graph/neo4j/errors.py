"""What the Neo4j driver and server say when something fails, in words for the user.

The driver's own messages are long and name no remedy; what they were caused by (a name that does not resolve, a
certificate, a port where nothing listens) tells more. None of them holds the password.
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
"""Letters of the server's own words that are shown at most."""

_PLACE = re.compile(r"^(?P<what>.*?) \(line (?P<line>\d+), column (?P<column>\d+) \(offset: \d+\)\)", re.DOTALL)
_ACCOUNT = f"set {USER} and {PASSWORD}, or neo4j_user and neo4j_password in circuitstore.toml"


@dataclass(frozen=True)
class Asked:
    """Who was asked what, for messages.

    Attributes:
        url: of the graph, as the user gave it.
        user: in whose name.
        database: which one of the server's.
    """

    url: str
    user: str
    database: str

    @contextmanager
    def told(self) -> Iterator[None]:
        """The driver's errors as `StoreError`, and `StoreUnreachable` where waiting may help."""
        try:
            yield
        except UnsupportedServerProduct as error:
            raise StoreError(f"{self.url} answers, and is no server that can be used; {NEEDED}") from error
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
                    f"{self.url} shows a certificate that this machine does not trust ({cause.verify_message}); name "
                    "the file of the authority that signed it in SSL_CERT_FILE, or, where nobody can come between, "
                    f"accept any certificate with {self._scheme}+ssc://{host}"
                )
            case ssl.SSLError():
                return StoreUnreachable(
                    f"{self.url} does not speak TLS at this port ({cause.reason}); give {self._scheme}://{host}, or "
                    "turn TLS on in the server; while it is starting, wait a moment"
                )
            case gaierror():
                return StoreUnreachable(f"{self.url} cannot be reached: there is no host of that name; correct the URL")
            case ConnectionRefusedError():
                return StoreUnreachable(
                    f"{self.url} cannot be reached: nothing listens there; start the server, wait until it has "
                    "started, or correct host and port (Bolt has 7687)"
                )
            case TimeoutError():
                return StoreUnreachable(
                    f"{self.url} cannot be reached: no answer in time; correct host and port (Bolt has 7687, the "
                    "browser another), or see whether a firewall is in between"
                )
        tls = "" if "+" in self.url.partition("://")[0] else f", or give {self._scheme}+s:// if it wants TLS"
        return StoreUnreachable(
            f"{self.url} cannot be reached ({first_line(cause)}); while the server is starting, wait a moment; else "
            f"start it, correct host and port (Bolt has 7687){tls}"
        )

    def _refused(self, error: Neo4jError) -> StoreError:
        code = error.code or ""
        match code.rpartition(".")[2]:
            case "CredentialsExpired":
                return StoreError(
                    f"{self.url}: the password of user {self.user!r} must be changed before it is used; run, in the "
                    "browser or with cypher-shell -d system, ALTER CURRENT USER SET PASSWORD FROM 'old' TO 'new', and "
                    f"give the new one ({_ACCOUNT})"
                )
            case "AuthenticationRateLimit":
                return StoreError(
                    f"{self.url} refuses user {self.user!r} for a while, after several wrong passwords; correct it "
                    f"({_ACCOUNT}), wait some seconds, and try again"
                )
            case "DatabaseNotFound":
                return StoreError(
                    f"{self.url}: the server has no database {self.database!r}; correct the end of the URL, "
                    "or make the database (Community has one, 'neo4j')"
                )
            case "DatabaseUnavailable":
                return StoreUnreachable(
                    f"{self.url}: database {self.database!r} is starting or stopped; wait a moment, or start it"
                )
            case "ConstraintCreationFailed":
                return StoreError(
                    f"{self.url} holds what its schema forbids ({first_line(error)}); make the graph anew from the "
                    "archive: circuitstore rebuild"
                )
            case "Forbidden":
                return StoreError(
                    f"{self.url} does not let user {self.user!r} do this ({first_line(error)}); grant it reading, "
                    "writing and the making of constraints and indexes, or give another account"
                )
        if _out_of_time(error):
            return StoreBusy(
                f"{self.url}: another program holds a lock that is needed; end its transaction (SHOW TRANSACTIONS "
                "names it), or try again when it has ended"
            )
        if terminated(error):
            return StoreUnreachable(
                f"{self.url}: an administrator of the server terminated what was being done there, and it was undone; "
                "run the same command again once they allow it"
            )
        if isinstance(error, AuthError):
            why = "no password was given" if "missing key `scheme`" in str(error) else first_line(error)
            return StoreError(f"{self.url} refuses user {self.user!r}: {why}; {_ACCOUNT}")
        kind = StoreUnreachable if isinstance(error, TransientError | DatabaseError) else StoreError
        return kind(f"{self.url}: {first_line(error)}")

    @property
    def _scheme(self) -> str:
        return self.url.partition("://")[0].partition("+")[0]


def refuse_other_servers(agent: str, url: str) -> None:
    """Return if the server, by what it says of itself (`Neo4j/5.26.1`), is one that can be used.

    Raises:
        StoreError: it is too old, or no Neo4j.
    """
    version = re.match(r"Neo4j/(\d+)\.(\d+)", agent)
    if version is None:
        raise StoreError(f"{url} is {agent!r}, which is not known; {NEEDED}: give the URL of one")
    if (int(version[1]), int(version[2])) < OLDEST:
        raise StoreError(f"{url} is {agent}; {NEEDED}: upgrade the server")


def ended(error: Neo4jError) -> bool:
    """Whether the server ended a transaction: its time was over, or an administrator terminated it."""
    return _out_of_time(error) or terminated(error)


def _out_of_time(error: Neo4jError) -> bool:
    return "TransactionTimedOut" in (error.code or "")


def terminated(error: Neo4jError) -> bool:
    """By `TERMINATE TRANSACTIONS`; the driver makes a client's error of the server's transient one."""
    return (error.code or "").endswith(".Transaction.Terminated")


def query_failed(error: Neo4jError, text: str, timeout_s: float) -> Exception:
    """The error for a query's `text`; errors that are not the query's are given back as they are."""
    code = error.code or ""
    if _out_of_time(error):
        return errors.too_long(timeout_s)
    if terminated(error):
        return QueryFailed(
            "an administrator of the server terminated the query; narrow it, or ask it again once they allow it"
        )
    if "OutOfMemory" in code:
        return QueryFailed(
            "the query needs more memory than the server has for it; narrow it with WHERE, "
            "bound the hops of its paths (*1..3), or give fewer rows with LIMIT"
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


_READ_ON = "circuitstore docs queries tells the dialect, circuitstore docs graph the schema"


def first_line(error: BaseException) -> str:
    text = error.message if isinstance(error, Neo4jError) else str(error)
    return (text or type(error).__name__).strip().splitlines()[0]


def _root(error: BaseException) -> BaseException:
    """What it all came from: the deepest cause, or the first of several."""
    inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
    return error if inner is None else _root(inner)
