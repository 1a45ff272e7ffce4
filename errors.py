"""Errors and warnings, whose messages say what was expected, what was given, where, and what to do.

Every error that a user can cause or fix is a `CircuitStoreError`; the command line prints its message and exits with
code 2. Any other exception is a bug and keeps its traceback. Messages never show a password in a URL, see `masked`.
"""

from __future__ import annotations

import difflib
import importlib
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType

_USER_INFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+:/+[^\s'\"/:]*):[^\s'\"]*@")
_SECRET_FIELD = re.compile(r"(?i)([?&][^\s=&]*(?:password|passwd|pwd|secret|token)[^\s=&]*=)[^\s&'\"]+")


def masked(text: str) -> str:
    """Replace every password in a URL with `***`.

    Passwords are what stands between the user name and the last `@` of a word that begins with `scheme:/`, and the
    values of fields after `?` or `&` whose name contains `password`, `passwd`, `pwd`, `secret` or `token`.
    """
    return _SECRET_FIELD.sub(r"\1***", _USER_INFO.sub(r"\1:***@", text))


class CircuitStoreError(Exception):
    """Base class of all errors whose message is for the user; passwords in URLs are masked."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(masked(a) if isinstance(a, str) else a for a in args))


class InputError(CircuitStoreError, ValueError):
    """A value from the user (argument, spec field, image, file) is not what was expected."""


class NotRepresentable(CircuitStoreError):
    """A model's computation cannot be represented exactly as senders and receivers."""


class NotComparable(CircuitStoreError):
    """Two circuits or sets of scores mean different things; the message names the fields."""


class StoreError(CircuitStoreError):
    """A store cannot be opened, read or written."""


class StoreMissing(StoreError):
    """There is no store at this location."""


class StoreBusy(StoreError):
    """Another writer holds the store; the message names the writer and says what to do."""


class StoreUnreachable(StoreError):
    """A database does not answer or cannot answer now; retrying may help."""


class StoreVersion(StoreError):
    """The schema has another version; the message names both versions and the command to run."""


class StoreForeign(StoreError):
    """A part belongs to another store or is not part of a store; it stays unchanged."""


class StoreDamaged(StoreError):
    """Stored bytes are missing or do not match their checksum."""


class QueryRefused(CircuitStoreError):
    """Cypher could write, access files or the network, or uses clauses that are not allowed."""


class QueryFailed(CircuitStoreError):
    """Cypher does not parse, names something that is not in the schema, or ran out of time."""


class Stopped(CircuitStoreError):
    """A query was stopped by the program that asked it; see `store.stopped_by`."""


class CircuitStoreWarning(UserWarning):
    """A valid result that the user should check; the message says why and what to do."""


def warn(message: str) -> None:
    """Issue a `CircuitStoreWarning` at the line that called this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _INTERNAL:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, CircuitStoreWarning, stacklevel=level)


_INTERNAL = (__name__.partition(".")[0], "contextlib")


def nearest(name: str, valid: Iterable[str], limit: int = 3) -> list[str]:
    """Return up to `limit` valid names that are most similar to `name`, best first, ignoring case."""
    by_lower = {v.lower(): v for v in valid}
    hits = difflib.get_close_matches(name.lower(), list(by_lower), n=limit, cutoff=0.5)
    return [by_lower[h] for h in hits]


def unknown(what: str, name: object, valid: Iterable[str], where: str = "") -> InputError:
    """Return an `InputError` for a name that is not in `valid`, with the nearest names or a list of all."""
    names, name = [str(v) for v in valid], cut(name)
    close = nearest(name, names)
    shown = ", ".join(sorted(names)[:20]) + (", …" if len(names) > 20 else "")
    hint = f"did you mean {' or '.join(repr(c) for c in close)}?" if close else "see the list"
    place = f"{where}: " if where else ""
    return InputError(f"{place}unknown {what} {name!r}; {hint} (valid: {shown or 'none'})")


def check_known(what: str, name: object, valid: Iterable[str], where: str = "") -> None:
    """Check that a value is one of the `valid` names.

    Raises:
        InputError: it is not, see `unknown`.
    """
    names = list(valid)
    if not isinstance(name, str) or name not in names:
        raise unknown(what, name, names, where)


def cut(value: object, limit: int = 100) -> str:
    """Return a value as text, shortened for a message."""
    text = str(value)
    return text if len(text) <= limit else text[:limit] + "…"


def optional(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Raises:
        CircuitStoreError: the module is not installed; the message names the extra to install.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise CircuitStoreError(
            f'{module} is not installed; install it with: pip install "circuitstore[{extra}]"'
        ) from error


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Collect the texts of warnings of circuitstore, each once; warnings of other packages are raised again."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CircuitStoreWarning)
        yield texts
    for warning in caught:
        if not issubclass(warning.category, CircuitStoreWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        elif str(warning.message) not in texts:
            texts.append(str(warning.message))
