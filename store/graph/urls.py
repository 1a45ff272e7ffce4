"""URLs of graph databases, which name the engine and the file or server."""

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
    """Return the part before `://` in lower case, or the empty text if there is none."""
    scheme, mark, _ = url.partition("://")
    return scheme.lower() if mark else ""


def url_of(path: Path) -> str:
    """Return the URL of a file of the embedded engine, given by its absolute path."""
    return FILE + path.as_uri().removeprefix("file")


def path_of(url: str) -> Path:
    """Return the file that `ladybug:///absolute/path` names; only `%XX` is decoded.

    Raises:
        InputError: the path is not absolute.
        StoreError: the path cannot be reached.
    """
    rest = url.partition("://")[2]
    if not rest.startswith("/"):
        raise InputError(f"graph URL {url!r}: expected {FILE}:///absolute/path, with three slashes")
    return reachable(Path(url2pathname(rest)))


def split_server(url: str) -> SplitResult:
    """Split `bolt://host:port/database` into its parts.

    Raises:
        InputError: the URL does not have this form.
    """
    try:
        parts = urlsplit(url)
        if parts.hostname and parts.port != 0 and not parts.query and not parts.fragment:
            return parts
    except ValueError:  # a port that is not a number, or an incomplete IPv6 address
        pass
    raise InputError(f"graph URL {url!r}: expected {scheme_of(url)}://HOST:PORT/DATABASE")


def check_no_credentials(url: str) -> None:
    """Check that the URL of a server contains no user or password, because messages and logs show it.

    Raises:
        InputError: it contains them; the message does not repeat them.
    """
    scheme, _, rest = url.partition("://")
    if "@" in rest and scheme_of(url) != FILE:
        raise InputError(
            f"graph URL {scheme}://…@…: expected a URL without user and password; set CIRCUITSTORE_NEO4J_USER and "
            f"CIRCUITSTORE_NEO4J_PASSWORD in the environment, and give {scheme}://HOST:PORT/DATABASE"
        )
