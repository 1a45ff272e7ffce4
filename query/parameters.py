"""Parameters of named queries: their types, their defaults, and values that the store has none of.

Types are `string`, `integer`, `number`, `strings` (a list) and `circuit` (an id or its beginning). Parameters
named like a property of circuits select circuits by it. The default `only` means the one value that this
property has among the circuits that the parameters before it leave; where there are several, one must be given.
A value with parameters may be given without them where only one begins so: `typographic`, `eap-ig`.
It keeps studies apart: a query that counts circuits would count a class several times if it met circuits of two
extractions or two corruptions.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import InputError, unknown
from ..store.graph.names import check_given

if TYPE_CHECKING:
    from ..store import Store

TYPES = ("string", "integer", "number", "strings", "circuit")

STUDY = ("model", "dataset", "form", "method", "metric", "direction", "corruption", "extraction")
"""Properties that must be the same for circuits to be counted together."""

_PROPERTY = {name: name for name in (*STUDY, "class", "condition")} | {"classes": "class"}
"""The property of circuits that a parameter selects by."""


@dataclass(frozen=True)
class Only:
    """Default of a parameter: the only value in the store.

    With `but` the query holds circuits with that value against circuits with another one: it is the only
    other value, and only studies that have both are looked at.
    """

    but: str | None = None

    def __str__(self) -> str:
        return "the only one in the store" + (f" but {self.but}" if self.but else "")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a named query; `default` is None where it must be given."""

    name: str
    type: str
    default: Any
    about: str

    @property
    def usage(self) -> str:
        """`name`, or in brackets what is taken where it is not given: `[limit=20]`, `[model]` for `only`."""
        if self.default is None:
            return self.name
        return f"[{self.name}]" if isinstance(self.default, Only) else f"[{self.name}={self.default}]"


def resolve(
    store: Store, where: str, parameters: Sequence[Parameter], given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The values of all parameters, checked and with defaults filled in; and remarks on what they select.

    Raises:
        InputError: one is missing, unknown, of the wrong type, ambiguous, or the store has no such circuit.
    """
    check_given(where, [p.name for p in parameters], [p.name for p in parameters if p.default is None], given)
    choice = _Choice(store, where)
    values: dict[str, Any] = {}
    for p in parameters:
        value = given.get(p.name, p.default)
        if not isinstance(value, Only):
            value = checked(f"{where}, parameter {p.name}", p.type, value)
        if p.type == "circuit":
            value = choice.full_id(p, str(value))
        elif p.name in _PROPERTY:
            value = choice.narrow(p, value)
        values[p.name] = value
    return values, choice.remarks() if {p.name for p in parameters}.issuperset(STUDY) else []


def checked(where: str, type: str, value: Any) -> Any:
    """The value in the type that the query expects.

    Text is read where another type is due, as it comes from a command line: `20`, `0.5`, `seven,nine`.

    Raises:
        InputError: it is of another type.
    """
    try:
        match type:
            case "integer" if not isinstance(value, bool | float):
                return int(value)
            case "number" if not isinstance(value, bool) and math.isfinite(float(value)):
                return float(value)
            case "strings":
                return _strings(value)
            case "string" | "circuit" if isinstance(value, str | int) and not isinstance(value, bool):
                return str(value)
    except (ValueError, TypeError):
        pass
    raise InputError(f"{where}: expected {_EXPECTED[type]}, got {value!r}")


_EXPECTED = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "strings": 'strings: a list, or text such as seven,nine or ["seven", "nine"]',
    "circuit": "the id of a circuit, or its beginning",
}


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        value = json.loads(value) if value.startswith("[") else [v.strip() for v in value.split(",")]
    found = list(value) if isinstance(value, list | tuple) else [value]
    if not found or not all(isinstance(v, str | int) and not isinstance(v, bool) for v in found):
        raise ValueError(value)
    return [str(v) for v in found]


class _Choice:
    """The circuits that the parameters looked at so far leave, in groups of equal ones."""

    def __init__(self, store: Store, where: str) -> None:
        self._store, self._where = store, where

    @cached_property
    def groups(self) -> list[dict[str, Any]]:
        """What circuits may be selected by, and `circuits`, how many have these values."""
        counted = self._store.count_circuits(sorted(set(_PROPERTY.values())))
        return [{str(k): v for k, v in row.items()} for row in counted.to_dict("records")]

    def full_id(self, parameter: Parameter, start: str) -> str:
        """The id that begins so."""
        try:
            return self._store.circuit_id(start)
        except InputError as error:
            raise InputError(f"{self._where}, parameter {parameter.name}: {error}") from None

    def narrow(self, parameter: Parameter, value: Any) -> Any:
        """The value, found where it is `Only`; afterwards only circuits that have it are left."""
        where, name = f"{self._where}, parameter {parameter.name}", _PROPERTY[parameter.name]
        if isinstance(parameter.default, Only) and parameter.default.but:
            self._keep_studies_with(where, name, parameter.default.but)
        present = {c[name] for c in self.groups}
        if isinstance(value, Only):
            value = _only(where, present - {value.but})
        value = _in_full(value, present) if isinstance(value, str) else [_in_full(v, present) for v in value]
        wanted = {value} if isinstance(value, str) else set(value)
        for one in sorted(wanted - present):
            raise unknown(name, one, sorted(present), where)
        self.groups = [c for c in self.groups if c[name] in wanted]
        return value

    def _keep_studies_with(self, where: str, name: str, value: str) -> None:
        """Leave the circuits of studies that have circuits with the value and with another one."""
        values: dict[tuple[str, ...], set[str]] = {}
        for c in self.groups:
            values.setdefault(_study(c), set()).add(c[name])
        self.groups = [c for c in self.groups if value in values[_study(c)] and len(values[_study(c)]) > 1]
        if not self.groups:
            raise InputError(f"{where}: the store has no study with circuits of {name} {value} and of another one")

    def remarks(self) -> list[str]:
        """Says where a class has several circuits in one study."""
        sizes: Counter[tuple[str, str]] = Counter()
        for group in self.groups:
            sizes[group["class"], group["condition"]] += group["circuits"]
        several = sum(size > 1 for size in sizes.values())
        if not several:
            return []
        return [
            f"{several} of {len(sizes)} pairs of class and condition have several circuits in this study "
            f"(up to {max(sizes.values())}; of other images, seed or precision): each counts"
        ]


def _study(circuit: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(circuit[name] for name in STUDY)


def _in_full(value: str, present: set[str]) -> str:
    """`typographic` for `typographic(text=other class)`, where no other value begins so."""
    longer = [p for p in present if p.partition("(")[0] == value]
    return longer[0] if value not in present and len(longer) == 1 else value


def _only(where: str, present: set[str]) -> str:
    found = sorted(present)
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(f"{where}: the store has no circuits yet; make some with: circuitstore index SPEC.toml")
    raise InputError(f"{where}: the store has circuits with {len(found)} values; give one of: {'; '.join(found)}")
