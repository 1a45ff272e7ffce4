"""Kinds by name: what a method, metric, condition, corruption, extraction or source is, and where they are looked up.

A kind is a value. A registry holds the kinds that circuitstore has and those that installed packages add by an entry
point, whose group is `circuitstore.` and the registry's name:

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
"""Default of a parameter that is left out where it is not given."""

REQUIRED = object()
"""Default of a parameter that must be given."""


@dataclass(frozen=True)
class Param:
    """A parameter of a kind.

    Attributes:
        default: the value where none is given; `ABSENT` or `REQUIRED` where there is none.
        allowed: the allowed values in words, for messages and the documentation.
        read: returns the value in its one canonical form; raises ValueError where it is not allowed, InputError to say
            why.
    """

    default: Any
    allowed: str
    read: Callable[[Any], Scalar]
    later: bool = False

    @classmethod
    def that(cls, default: Any, allowed: str, accepts: Callable[[Any], bool]) -> Param:
        """A parameter whose values are canonical as they are."""

        def read(value: Any) -> Scalar:
            if not accepts(value):
                raise ValueError(value)
            return value

        return cls(default, allowed, read)


def is_whole(value: object) -> bool:
    """Whether a value is a whole number; a truth value is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a number that a float can hold; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= float_info.max


def whole(default: Any, least: int = 1, most: int | None = None) -> Param:
    """A whole number."""
    allowed = f"a whole number from {least} on" if most is None else f"a whole number, {least} to {most}"
    return Param.that(default, allowed, lambda v: is_whole(v) and least <= v and (most is None or v <= most))


def number(default: Any, allowed: str, accepts: Callable[[float], bool] = lambda value: True) -> Param:
    """A finite number in a range that `allowed` describes, as a float; None only where it is the default."""

    def read(value: Any) -> Scalar:
        if value is None and default is None:
            return None
        if is_number(value) and accepts(value):
            return float(value)
        raise ValueError(value)

    return Param(default, allowed, read)


def choice(*values: str, default: Any = None) -> Param:
    """One of some names, by default the first."""
    return Param.that(values[0] if default is None else default, " or ".join(values), lambda v: v in values)


def switch(default: bool) -> Param:
    """On or off."""
    return Param.that(default, "true or false", lambda v: isinstance(v, bool))


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What can be asked for by name.

    Attributes:
        key: the name in specs and calls.
        name: one line for people.
        source: where it comes from (paper, code); empty where it is our own.
        version: of what it computes, part of every identity; raised when the same parameters give other values.
        params: its parameters by name.
        lacks: why it does not take a parameter that its siblings take, by the parameter's name.
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
    """Kinds by key, those of other packages included.

    Args:
        what: a kind of this registry is called, in messages.
        group: name of the entry points; `methods` stands for `circuitstore.methods`.
        variant: class of a kind with its parameters.
        kinds: those that circuitstore has.
        hints: what to say of names that are known and are no kind here.

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
        """Kinds of installed packages, loaded when a kind is first looked up.

        Raises:
            InputError: an entry point that cannot be loaded, is no kind, or has the name of another.
        """
        found: dict[str, K] = {}
        for entry in metadata.entry_points(group=self.group):
            place = f"entry point {entry.name!r} of {self.group}"
            try:
                kind = entry.load()
            except Exception as error:
                raise InputError(
                    f"{place}: {entry.value} cannot be loaded: {error}; mend or remove the package"
                ) from error
            if not isinstance(kind, Kind):
                raise InputError(f"{place}: expected a kind, got {type(kind).__name__}")
            if kind.key in self._own or kind.key in found:
                raise InputError(f"{place}: {self.what} {kind.key!r} is there already; rename the package's")
            found[kind.key] = kind  # pyright: ignore[reportArgumentType]
        return found

    def __getitem__(self, key: str) -> K:
        """The kind of this name.

        Raises:
            InputError: there is none; names the nearest.
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
        """The kind of this name, or the default where there is none."""
        if key in self:
            return self[key]
        return default

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def resolve(self, key: str, params: Mapping[str, Any] | None = None) -> V:
        """A kind with all its parameters and its version.

        Raises:
            InputError: no such kind, a parameter that it does not take or that is missing, or a value that is not
                allowed.
        """
        kind, given, place = self[key], params or {}, f"{self.what} {key!r}"
        for name in given:
            if name in kind.lacks:
                raise InputError(f"{place}: {name}: it takes none: {kind.lacks[name]}; leave it out")
            if name not in kind.params:
                raise unknown("parameter", name, kind.params, where=place)
        values = {name: self._read(kind, name, given.get(name, param.default)) for name, param in kind.params.items()}
        unchanged = {name for name, param in kind.params.items() if param.later and values[name] == param.default}
        stated = {name: v for name, v in values.items() if v is not ABSENT and name not in unchanged}
        return self.variant.of(key, stated, kind.version)

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
