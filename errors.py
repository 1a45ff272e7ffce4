"""What can go wrong, in words for the user: what was expected, what came, where, and what to do.

Every error that a user can cause or mend is a `CircuitStoreError`; the command line prints its
message and exits with code 2. Anything else that escapes is a bug and keeps its traceback.
No message shows the password of a URL that was given: `masked`.
"""

from __future__ import annotations

import difflib
import importlib
import re
import sys
import warnings
from collections.abc import Iterable
from types import ModuleType

_USER_INFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+:/+[^\s'\"/:]*):[^\s'\"]*@")
_SECRET_FIELD = re.compile(r"(?i)([?&][^\s=&]*(?:password|passwd|pwd|secret|token)[^\s=&]*=)[^\s&'\"]+")


def masked(text: str) -> str:
    """The text with `***` in place of every password in what looks like a URL.

    That is what stands between the user's name and the last `@` of a word that begins like `scheme:/`, and the value
    of every field after `?` or `&` whose name speaks of a password, a secret or a token.
    """
    return _SECRET_FIELD.sub(r"\1***", _USER_INFO.sub(r"\1:***@", text))


class CircuitStoreError(Exception):
    """Base of all errors whose message is meant for the user; passwords in URLs are masked in it."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(masked(a) if isinstance(a, str) else a for a in args))


class InputError(CircuitStoreError, ValueError):
    """A value given by the user (argument, spec field, image, file) is not what was expected."""


class NotRepresentable(CircuitStoreError):
    """A model whose computation cannot be shown exactly as senders and receivers."""


class NotComparable(CircuitStoreError):
    """Two circuits or score sets that mean different things; the message names the fields."""


class StoreError(CircuitStoreError):
    """A store that cannot be opened, read or written."""


class StoreMissing(StoreError):
    """There is no store at this place."""


class StoreBusy(StoreError):
    """Another writer holds the store; the message names it and the remedy."""


class StoreUnreachable(StoreError):
    """A database that does not answer, or is not able to now; it may be waited for."""


class StoreVersion(StoreError):
    """Schema of another version; the message names both versions and the command that mends it."""


class StoreForeign(StoreError):
    """A part that belongs to another store, or is something else altogether; it is left as it is."""


class StoreDamaged(StoreError):
    """Stored bytes that are missing or do not match their checksum."""


class QueryRefused(CircuitStoreError):
    """Cypher that could write, reach files or the network, or is outside the allowed clauses."""


class QueryFailed(CircuitStoreError):
    """Cypher that does not parse, names what is not in the schema, or ran out of time."""


class CircuitStoreWarning(UserWarning):
    """A result that stands, but that the user should look at; the message says why and what may be done."""


def warn(message: str) -> None:
    """Issue a `CircuitStoreWarning` at the line of the program that called this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, CircuitStoreWarning, stacklevel=level)


_BETWEEN = (__name__.partition(".")[0], "contextlib")


def nearest(name: str, valid: Iterable[str], most: int = 3) -> list[str]:
    """The `most` valid names that look most like `name`, best first; case does not count."""
    by_lower = {v.lower(): v for v in valid}
    hits = difflib.get_close_matches(name.lower(), list(by_lower), n=most, cutoff=0.5)
    return [by_lower[h] for h in hits]


def unknown(what: str, name: object, valid: Iterable[str], where: str = "") -> InputError:
    """An `InputError` for a name that is none of `valid`: says the nearest, or lists the valid ones."""
    names, name = [str(v) for v in valid], cut(name)
    close = nearest(name, names)
    shown = ", ".join(sorted(names)[:20]) + (", …" if len(names) > 20 else "")
    hint = f"did you mean {' or '.join(repr(c) for c in close)}?" if close else "see the list"
    place = f"{where}: " if where else ""
    return InputError(f"{place}unknown {what} {name!r}; {hint} (valid: {shown or 'none'})")


def check_known(what: str, name: object, valid: Iterable[str], where: str = "") -> None:
    """Return if a name, whatever it is, is one of `valid`.

    Raises:
        InputError: see `unknown`.
    """
    names = list(valid)
    if not isinstance(name, str) or name not in names:
        raise unknown(what, name, names, where)


def cut(value: object, most: int = 100) -> str:
    """A value as text that is short enough for a message."""
    text = str(value)
    return text if len(text) <= most else text[:most] + "…"


def optional(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, or say which extra brings it.

    Raises:
        CircuitStoreError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise CircuitStoreError(
            f'{module} is not installed; install it with: pip install "circuitstore[{extra}]"'
        ) from error
