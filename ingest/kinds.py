"""Kinds by name: a registered kind, as in a spec, or a user's own kind with a version."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from ..circuits import Registry, Variant
from ..circuits.recipe import Scalar
from ..errors import InputError, nearest

Kind = str | Mapping[str, Scalar]
"""A name, or a table of `kind` and parameters, as in a spec. A user's own kind also has a `version`."""

V = TypeVar("V", bound=Variant)

_NAME = re.compile(r"[A-Za-z][\w.-]{0,99}")


def resolve_kind(field: str, kind: Kind, registry: Registry[Any, V]) -> V:
    """Return a kind with all its parameters: a registered kind, or a user's own.

    Args:
        field: the name of the field, for messages.
        kind: the name of the kind, or a table.
        registry: the registered kinds.

    Raises:
        InputError: no name; an unregistered name without a version; a registered name with a version; a parameter that
            is not a single value, or that the registered kind does not have.
    """
    table = {"kind": kind} if isinstance(kind, str) else dict(kind)
    name, version = table.pop("kind", None), table.pop("version", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(
            f"{field}: expected the name of a kind (a letter, then letters, digits and - _ .), or a table with its "
            f"kind, got {kind!r}"
        )
    params = {str(key): _scalar(f"{field}: {key}", value) for key, value in table.items()}
    if name in registry:
        if version is not None:
            raise InputError(
                f"{field}: {name!r} is a kind of circuitstore and has its own version; give yours another name"
            )
        return registry.resolve(name, params)
    if version is None:
        close = nearest(name, registry)
        hint = f"did you mean {' or '.join(map(repr, close))}? A" if close else "a"
        raise InputError(
            f"{field}: circuitstore has no {name!r}; {hint} kind of your own needs a version, which you raise when it "
            f"changes: {{'kind': {name!r}, 'version': 1, …}}"
        )
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError(f"{field}: version: expected a whole number of at least 1, got {version!r}")
    return registry.variant.of(name, params, version)


def _scalar(field: str, value: object) -> Scalar:
    plain = value.item() if isinstance(value, np.generic) else value
    if plain is None or isinstance(plain, str | int) or (isinstance(plain, float) and math.isfinite(plain)):
        return plain
    raise InputError(f"{field}: expected a text, a finite number, true, false or null, got {value!r}")
