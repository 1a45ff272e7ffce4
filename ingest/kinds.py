"""Kinds by name: those of circuitstore as a spec has them, or one's own with a version."""

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
"""A name, or a table of `kind` and parameters, as in a spec. A kind of one's own also has a `version`."""

V = TypeVar("V", bound=Variant)

_NAME = re.compile(r"[A-Za-z][\w.-]{0,99}")


def resolved(what: str, asked: Kind, registry: Registry[Any, V]) -> V:
    """A kind with all its parameters: one of the registry, or one's own.

    Args:
        what: the field, for messages.

    Raises:
        InputError: no name; a name that is not registered and has no version; a version of a registered one; a
            parameter that is no single value, or that a registered kind does not take.
    """
    table = {"kind": asked} if isinstance(asked, str) else dict(asked)
    kind, version = table.pop("kind", None), table.pop("version", None)
    if not isinstance(kind, str) or not _NAME.fullmatch(kind):
        raise InputError(
            f"{what}: expected the name of a kind (letters, digits and - _ . after a letter), or a table with one as "
            f"kind, got {asked!r}"
        )
    params = {str(name): _scalar(f"{what}: {name}", value) for name, value in table.items()}
    if kind in registry:
        if version is not None:
            raise InputError(
                f"{what}: {kind!r} is a kind of circuitstore and has its own version; name yours otherwise"
            )
        return registry.resolve(kind, params)
    if version is None:
        close = nearest(kind, registry)
        hint = f"did you mean {' or '.join(map(repr, close))}? A" if close else "a"
        raise InputError(
            f"{what}: circuitstore has no {kind!r}; {hint} kind of your own needs a version, to be raised when it does "
            f"something else: {{'kind': {kind!r}, 'version': 1, …}}"
        )
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError(f"{what}: version: expected a whole number from 1 on, got {version!r}")
    return registry.variant.of(kind, params, version)


def _scalar(what: str, value: object) -> Scalar:
    plain = value.item() if isinstance(value, np.generic) else value
    if plain is None or isinstance(plain, str | int) or (isinstance(plain, float) and math.isfinite(plain)):
        return plain
    raise InputError(f"{what}: expected a text, a finite number, true, false or null, got {value!r}")
