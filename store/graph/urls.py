"""URLs of graph databases: which engine, and which file or server."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import SplitResult, urlsplit
from urllib.request import url2pathname

from ...errors import InputError
from ..files import reachable

FILE = "ladybug"
"""The scheme of the embedded engine's URLs."""

SERVER = ("neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc")


def scheme_of(url: str) -> str:
    """What stands before `://`, in lower case; empty for a text without."""
    scheme, mark, _ = url.partition("://")
    return scheme.lower() if mark else ""


def url_of(path: Path) -> str:
    """The URL of a file of the embedded engine, given by its absolute path."""
    return FILE + path.as_uri().removeprefix("file")


def path_of(url: str) -> Path:
    """The file that `ladybug:///absolute/path` names; only `%XX` means anything else than what is written.

    Raises:
        InputError: no absolute path.
        StoreError: the path cannot be reached.
    """
    rest = url.partition("://")[2]
    if not rest.startswith("/"):
        raise InputError(f"graph URL {url!r}: expected {FILE}:///absolute/path, with three slashes")
    return reachable(Path(url2pathname(rest)))


def split_server(url: str) -> SplitResult:
    """The parts of `bolt://host:port/database`.

    Raises:
        InputError: it is no such URL.
    """
    try:
        parts = urlsplit(url)
        if parts.hostname and parts.port != 0 and not parts.query and not parts.fragment:
            return parts
    except ValueError:  # a port that is no number, or half an IPv6 address
        pass
    raise InputError(f"graph URL {url!r}: expected {scheme_of(url)}://HOST:PORT/DATABASE")


def refuse_credentials(url: str) -> None:
    """Make sure that the URL of a server has no user or password in it: it is shown in messages and logs.

    Raises:
        InputError: it has; the message does not repeat them.
    """
    scheme, _, rest = url.partition("://")
    if "@" in rest and scheme_of(url) != FILE:
        raise InputError(
            f"graph URL {scheme}://…@…: expected no user and no password in it; set CIRCUITSTORE_NEO4J_USER and "
            f"CIRCUITSTORE_NEO4J_PASSWORD in the environment, and give {scheme}://HOST:PORT/DATABASE"
        )
