"""Selects the circuits of a named query from its parameters.

A parameter with the default `only` takes the one value that its property has among the circuits that match all other
parameters. If there are several values, one must be given. This keeps studies apart: with circuits of two extractions
or two corruptions, a query that counts circuits would count each class several times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import InputError, unknown
from ..store.cypher.names import check_given
from .entries import STUDY
from .names import Models, find_values
from .parameters import Only, Parameter, checked

if TYPE_CHECKING:
    from ..store import Store

PAIR = ("before", "after")
"""Parameters that name the two models that a query compares."""

_PROPERTY = {name: name for name in (*STUDY, "class", "condition")}
_PROPERTY |= {"classes": "class"} | dict.fromkeys(PAIR, "model")
"""The property of circuits that each parameter selects by."""

MODELS = {"model", *PAIR}
"""Parameters that name models."""


def resolve(
    store: Store, where: str, parameters: Sequence[Parameter], given: Mapping[str, Any], run: str | None = None
) -> tuple[dict[str, Any], Choice]:
    """Return the values of all parameters, with defaults filled in and models by id, and the choice of circuits.

    Raises:
        InputError: a parameter is missing, unknown, of the wrong type or ambiguous, or no circuit of the store or run
            has its value.
    """
    check_given(where, [p.name for p in parameters], [p.name for p in parameters if p.default is None], given)
    values = {p.name: _plain(store, where, p, given.get(p.name, p.default)) for p in parameters}
    choosing = [p for p in parameters if p.name in _PROPERTY]
    choice = Choice(store, where, {_PROPERTY[p.name] for p in choosing}, run)
    explicit = {p.name: values[p.name] for p in choosing if p.name in given}
    defaults = {_PROPERTY[p.name]: p.default for p in choosing if isinstance(p.default, Only)}
    choice.narrow(explicit, {name: default.other_than for name, default in defaults.items() if default.other_than})
    for p in choosing:
        values[p.name] = choice.value(p, values[p.name], p.name in explicit)
    return values, choice


def _plain(store: Store, where: str, parameter: Parameter, value: Any) -> Any:
    """Return a value in the type of its parameter, and an id in full."""
    if isinstance(value, Only):
        return value
    place = f"{where}, parameter {parameter.name}"
    value = checked(place, parameter.type, value)
    if parameter.type not in ("circuit", "readout") or value == parameter.default:
        return value
    try:
        return store.circuit_id(value) if parameter.type == "circuit" else store.readout_id(value)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


class Choice:
    """The circuits that match the parameters applied so far, grouped by their properties.

    Args:
        where: what error messages begin with.
        properties: properties that parameters select by.
        run: only circuits of this run.
    """

    def __init__(self, store: Store, where: str, properties: set[str], run: str | None) -> None:
        self._store, self._where, self._run = store, where, run
        self._columns = sorted({*(STUDY if properties else ()), *properties, "model", "model_id"})

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        rows = self._store.count_circuits(self._columns, self._run).to_dict("records")
        if not rows:
            place = "the store" if self._run is None else f"run {self._run!r}"
            raise InputError(f"{self._where}: {place} has no circuits yet; add some with: circuitstore index SPEC.toml")
        return [{str(name): value for name, value in row.items()} for row in rows]

    @cached_property
    def models(self) -> Models:
        """All models of the circuits of the store or run."""
        return Models((row["model"], row["model_id"]) for row in self._rows)

    @cached_property
    def _groups(self) -> list[dict[str, Any]]:
        return [row | {"model": row["model_id"]} for row in self._rows]

    def narrow(self, explicit: Mapping[str, Any], baselines: Mapping[str, str]) -> None:
        """Keep the circuits that have one of the given values of each property.

        Args:
            explicit: given values by parameter.
            baselines: by property, a value with which others are compared. Keeps only studies that have circuits with
                this value and with another one, and of these studies the circuits with another value.

        Raises:
            InputError: no circuit matches; the message names the first parameter that excludes all of them.
        """
        for property in dict.fromkeys(_PROPERTY[name] for name in explicit):
            texts = [(name, text) for name, v in explicit.items() if _PROPERTY[name] == property for text in _texts(v)]
            matches = set().union(*(self._matches(name, text) for name, text in texts))
            self._keep(property, matches | {v for name, v in baselines.items() if name == property})
        for property, value in baselines.items():
            self._keep_studies(
                property, lambda values, value=value: value in values and len(values) > 1, f"{value} and another"
            )
            self._keep(property, self._present(property) - {value})
        if {*PAIR} <= explicit.keys():
            both = self._present("model")
            if len(both) < len(PAIR):
                raise InputError(f"{self._where}: {' and '.join(PAIR)} are the same model; name two models")
            self._keep_studies("model", lambda values: values == both, "both")

    def value(self, parameter: Parameter, value: Any, explicit: bool) -> Any:
        """Return the value of a parameter, and keep only the circuits that have it.

        Args:
            parameter: the parameter.
            value: the given value, or the default.
            explicit: whether the value was given.

        Raises:
            InputError: several values match, or none.
        """
        name, property = parameter.name, _PROPERTY[parameter.name]
        if isinstance(value, list):
            return [self._only(name, self._matches(name, text), text) for text in value]
        left = self._present(property)
        if explicit:
            found = self._only(name, self._matches(name, value), value)
        elif isinstance(value, str) and value in left:
            found = value
        else:
            found = self._only(name, left)
        if name not in PAIR:
            self._keep(property, {found})
        return found

    def _keep_studies(self, property: str, fits: Callable[[set[str]], bool], what: str) -> None:
        """Keep the circuits of the studies whose set of values of the property fits; studies ignore the property."""

        def study(group: Mapping[str, Any]) -> tuple[Any, ...]:
            return tuple(group[name] for name in STUDY if name != property)

        values: dict[tuple[Any, ...], set[str]] = {}
        for group in self._groups:
            values.setdefault(study(group), set()).add(group[property])
        self._groups = [group for group in self._groups if fits(values[study(group)])]
        if not self._groups:
            raise InputError(
                f"{self._where}: with the given values, no study has circuits of the {property}s that the query "
                f"compares: {what}"
            )

    def _present(self, property: str) -> set[str]:
        return {group[property] for group in self._groups}

    def _keep(self, property: str, wanted: set[str]) -> None:
        self._groups = [group for group in self._groups if group[property] in wanted]

    def _matches(self, name: str, text: str) -> set[str]:
        """Return the values that a text stands for, among those that are left."""
        place, property = f"{self._where}, parameter {name}", _PROPERTY[name]
        left = self._present(property)
        if property != "model":
            return find_values(property, text, left, place)
        id = self.models.id(text, place)
        if id not in left:
            raise unknown("model", text, map(self.models.label, left), place)
        return {id}

    def _only(self, name: str, found: set[str], text: str | None = None) -> str:
        """Return the only value, or the one of several that is equal to the text."""
        if text in found:
            return text
        if len(found) == 1:
            return next(iter(found))
        place = f"{self._where}, parameter {name}"
        values = "; ".join(sorted(map(self.models.label, found) if _PROPERTY[name] == "model" else found))
        reason = "the store has circuits with" if text is None else f"{text!r} matches"
        raise InputError(f"{place}: {reason} {len(found)} values; give one of: {values}")


def _texts(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
