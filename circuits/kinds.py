"""Kinds and registries: what methods, metrics, conditions, corruptions, extractions and sources are, and their lookup.

A kind is a value. A registry holds the kinds of circuitstore and those that installed packages add by entry points, in
the group `circuitstore.` plus the registry's name:

    [project.entry-points."circuitstore.metrics"]
    margin = "my_package.metrics:MARGIN"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from sys import float_info
from typing import Any, Generic, TypeGuard, TypeVar

from ..errors import InputError, unknown
from .recipe import Scalar, Variant

ABSENT = object()
"""Default of an optional parameter without a value."""

REQUIRED = object()
"""Default of a required parameter."""


@dataclass(frozen=True)
class Param:
    """A parameter of a kind.

    Attributes:
        default: the default value; `ABSENT` or `REQUIRED` if there is none.
        allowed: description of the allowed values, for messages and the documentation.
        read: returns the value in its canonical form; raises ValueError if it is not allowed, or InputError with a
            reason.
        added_later: the parameter was added after ids were frozen, so it is left out of the identity when it has its
            default.
    """

    default: Any
    allowed: str
    read: Callable[[Any], Scalar]
    added_later: bool = False

    @classmethod
    def accepting(cls, default: Any, allowed: str, accepts: Callable[[Any], bool]) -> Param:
        """Return a parameter whose allowed values are already canonical."""

        def read(value: Any) -> Scalar:
            if not accepts(value):
                raise ValueError(value)
            return value

        return cls(default, allowed, read)


def is_whole(value: object) -> bool:
    """Return whether a value is a whole number; booleans are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a number that a float can hold; booleans are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= float_info.max


def whole(default: Any, minimum: int = 1, maximum: int | None = None) -> Param:
    """Return a parameter for whole numbers in a range."""
    allowed = f"a whole number of at least {minimum}" if maximum is None else f"a whole number, {minimum} to {maximum}"
    upper = float("inf") if maximum is None else maximum
    return Param.accepting(default, allowed, lambda value: is_whole(value) and minimum <= value <= upper)


def number(default: Any, allowed: str, accepts: Callable[[float], bool] = lambda value: True) -> Param:
    """Return a parameter for finite numbers in the range that `allowed` describes; None only if it is the default."""

    def read(value: Any) -> Scalar:
        if value is None and default is None:
            return None
        if is_number(value) and accepts(value):
            return float(value)
        raise ValueError(value)

    return Param(default, allowed, read)


def choice(*values: str, default: Any = None) -> Param:
    """Return a parameter with named values, the first one by default."""
    return Param.accepting(values[0] if default is None else default, " or ".join(values), lambda v: v in values)


def switch(default: bool) -> Param:
    """Return a boolean parameter."""
    return Param.accepting(default, "true or false", lambda v: isinstance(v, bool))


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Something that specs and calls can name: a method, metric, condition, corruption, extraction or source.

    Attributes:
        key: the name in specs and calls.
        name: one-line description.
        source: origin (paper, code); empty if it is ours.
        version: version of what it computes, part of every identity; raised when the same parameters give other values.
        params: its parameters by name.
        lacks: why it has no parameter that similar kinds have, by the parameter's name.
    """

    key: str
    name: str = ""
    source: str = ""
    version: int = 1
    params: Mapping[str, Param] = field(default_factory=dict)
    lacks: Mapping[str, str] = field(default_factory=dict)


K = TypeVar("K", bound=Kind)
V = TypeVar("V", bound=Variant)


class Registry(Mapping[str, K], Generic[K, V]):
    """Kinds by key, including those of other packages.

    Args:
        what: name of a kind of this registry, for messages.
        group: name of the entry points; `methods` stands for `circuitstore.methods`.
        variant: class of a kind with its parameters.
        kinds: the kinds of circuitstore.
        hints: messages for known names that are no kind of this registry.

    Examples:
        >>> METHODS.resolve("eap-ig", {"steps": 10}).text
        'eap-ig(gradient=plain, rule=midpoint, steps=10)'
    """

    def __init__(
        self, what: str, group: str, variant: type[V], kinds: Iterable[K], hints: Mapping[str, str] | None = None
    ) -> None:
        self.what, self.group, self.variant = what, f"circuitstore.{group}", variant
        self._own = {kind.key: kind for kind in kinds}
        self._hints = hints or {}

    @cached_property
    def _kinds(self) -> dict[str, K]:
        return self._own | self._foreign

    @cached_property
    def _foreign(self) -> dict[str, K]:
        """Kinds of installed packages, loaded at the first lookup.

        Raises:
            InputError: an entry point that cannot be loaded, is no kind, or has the key of another kind.
        """
        found: dict[str, K] = {}
        for entry in metadata.entry_points(group=self.group):
            place = f"entry point {entry.name!r} of {self.group}"
            try:
                kind = entry.load()
            except Exception as error:
                raise InputError(
                    f"{place}: {entry.value} cannot be loaded: {error}; fix or remove the package"
                ) from error
            if not isinstance(kind, Kind):
                raise InputError(f"{place}: expected a kind, got {type(kind).__name__}")
            if kind.key in self._own or kind.key in found:
                raise InputError(f"{place}: {self.what} {kind.key!r} already exists; rename the one in the package")
            found[kind.key] = kind  # pyright: ignore[reportArgumentType]
        return found

    def __getitem__(self, key: str) -> K:
        """Return the kind with this key.

        Raises:
            InputError: there is none; the message names the nearest keys.
        """
        if key in self._own:
            return self._own[key]
        if key in self._hints:
            raise InputError(f"{self.what}: {self._hints[key]}")
        if key not in self._kinds:
            raise unknown(self.what, key, self._kinds)
        return self._kinds[key]

    def __contains__(self, key: object) -> bool:
        return key in self._own or key in self._kinds

    def get(self, key: str, default: Any = None) -> Any:
        """Return the kind with this key, or the default."""
        if key in self:
            return self[key]
        return default

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def resolve(self, key: str, params: Mapping[str, Any] | None = None) -> V:
        """Return a kind with all its parameters and its version.

        Raises:
            InputError: an unknown kind, an unknown or missing parameter, or a value that is not allowed.
        """
        kind, params, place = self[key], params or {}, f"{self.what} {key!r}"
        for name in params:
            if name in kind.lacks:
                raise InputError(f"{place}: it has no parameter {name!r}: {kind.lacks[name]}; leave it out")
            if name not in kind.params:
                raise unknown("parameter", name, kind.params, where=place)
        values = {name: self._read(kind, name, params.get(name, param.default)) for name, param in kind.params.items()}
        unchanged = {name for name, param in kind.params.items() if param.added_later and values[name] == param.default}
        resolved = {name: v for name, v in values.items() if v is not ABSENT and name not in unchanged}
        return self.variant.of(key, resolved, kind.version)

    def _read(self, kind: K, name: str, value: Any) -> Any:
        param, place = kind.params[name], f"{self.what} {kind.key!r}: {name}"
        if value is REQUIRED:
            raise InputError(f"{place} is missing; expected {param.allowed}")
        if value is ABSENT:
            return value
        try:
            return param.read(value)
        except InputError as error:
            raise InputError(f"{place}: {error}") from error
        except ValueError as error:
            raise InputError(f"{place}: expected {param.allowed}, got {value!r}") from error
