"""How the parameters of a named query choose circuits: what is given narrows, and what is left must be one value.

The default `only` means the one value that a property has among the circuits that all other parameters leave; where
there are several, one must be given. It keeps studies apart: a query that counts circuits would count a class several
times if it met circuits of two extractions or two corruptions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import InputError, unknown
from ..store.cypher.names import check_given
from .entries import STUDY
from .names import Models, matching
from .parameters import Only, Parameter, checked

if TYPE_CHECKING:
    from ..store import Store

PAIR = ("before", "after")
"""Parameters that name the two models of a query that holds one against the other."""

_PROPERTY = {name: name for name in (*STUDY, "class", "condition")}
_PROPERTY |= {"classes": "class"} | dict.fromkeys(PAIR, "model")
"""The property of circuits that a parameter selects by."""

MODELS = {"model", *PAIR}
"""Parameters that name models."""


def resolve(
    store: Store, where: str, parameters: Sequence[Parameter], given: Mapping[str, Any], run: str | None = None
) -> tuple[dict[str, Any], Choice]:
    """The values of all parameters, checked and with defaults filled in, models by their ids; and what chose them.

    Raises:
        InputError: one is missing, unknown, of the wrong type, ambiguous, or the store, or run, has no such circuit.
    """
    check_given(where, [p.name for p in parameters], [p.name for p in parameters if p.default is None], given)
    values = {p.name: _plain(store, where, p, given.get(p.name, p.default)) for p in parameters}
    choosing = [p for p in parameters if p.name in _PROPERTY]
    choice = Choice(store, where, {_PROPERTY[p.name] for p in choosing}, run)
    asked = {p.name: values[p.name] for p in choosing if p.name in given}
    choice.narrow(
        asked, {_PROPERTY[p.name]: p.default.but for p in choosing if isinstance(p.default, Only) and p.default.but}
    )
    for p in choosing:
        values[p.name] = choice.value(p, values[p.name], p.name in asked)
    return values, choice


def _plain(store: Store, where: str, parameter: Parameter, value: Any) -> Any:
    """A value in its type; an id in full."""
    if isinstance(value, Only):
        return value
    place = f"{where}, parameter {parameter.name}"
    value = checked(place, parameter.type, value)
    if parameter.type != "circuit":
        return value
    try:
        return store.circuit_id(value)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


class Choice:
    """The circuits that the parameters looked at so far leave, in groups that agree in some properties.

    Args:
        properties: that parameters select by, if any.
        run: circuits of this run only.
    """

    def __init__(self, store: Store, where: str, properties: set[str], run: str | None) -> None:
        self._store, self._where, self._run = store, where, run
        self._columns = sorted({*(STUDY if properties else ()), *properties, "model", "model_id"})

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        rows = self._store.count_circuits(self._columns, self._run).to_dict("records")
        if not rows:
            there = "the store" if self._run is None else f"run {self._run!r}"
            raise InputError(
                f"{self._where}: {there} has no circuits yet; make some with: circuitstore index SPEC.toml"
            )
        return [{str(name): value for name, value in row.items()} for row in rows]

    @cached_property
    def models(self) -> Models:
        """All models that circuits of the store, or run, are of."""
        return Models((row["model"], row["model_id"]) for row in self._rows)

    @cached_property
    def _groups(self) -> list[dict[str, Any]]:
        return [row | {"model": row["model_id"]} for row in self._rows]

    def narrow(self, asked: Mapping[str, Any], against: Mapping[str, str]) -> None:
        """Leave the circuits that have one of the values that were given, for each property.

        Args:
            asked: values by parameter.
            against: values by property that others are held against: only studies are left that have circuits with
                this value and with another, and of these the circuits with another.

        Raises:
            InputError: none is left; names the first parameter to which that is due.
        """
        for property in dict.fromkeys(_PROPERTY[name] for name in asked):
            of_it = [(name, text) for name, v in asked.items() if _PROPERTY[name] == property for text in _texts(v)]
            meant = set().union(*(self._meant(name, text) for name, text in of_it))
            self._keep(property, meant | {v for name, v in against.items() if name == property})
        for property, value in against.items():
            self._keep_studies(
                property, lambda there, value=value: value in there and len(there) > 1, f"{value} and another"
            )
            self._keep(property, self._present(property) - {value})
        if {*PAIR} <= asked.keys():
            both = self._present("model")
            if len(both) < len(PAIR):
                raise InputError(f"{self._where}: {' and '.join(PAIR)} are one model; name another one")
            self._keep_studies("model", lambda there: there == both, "both")

    def value(self, parameter: Parameter, value: Any, given: bool) -> Any:
        """The value of a parameter, of those left; afterwards only circuits that have it are left.

        Raises:
            InputError: several, or none.
        """
        name, property = parameter.name, _PROPERTY[parameter.name]
        if isinstance(value, list):
            return [self._one(name, self._meant(name, text), text) for text in value]
        left = self._present(property)
        if given:
            found = self._one(name, self._meant(name, value), value)
        elif isinstance(value, str) and value in left:
            found = value
        else:
            found = self._one(name, left)
        if name not in PAIR:
            self._keep(property, {found})
        return found

    def _keep_studies(self, property: str, fits: Callable[[set[str]], bool], what: str) -> None:
        """Leave the circuits of studies, which may differ in the property, whose values of it fit."""

        def study(group: Mapping[str, Any]) -> tuple[Any, ...]:
            return tuple(group[name] for name in STUDY if name != property)

        values: dict[tuple[Any, ...], set[str]] = {}
        for group in self._groups:
            values.setdefault(study(group), set()).add(group[property])
        self._groups = [group for group in self._groups if fits(values[study(group)])]
        if not self._groups:
            raise InputError(
                f"{self._where}: with the values that were given, no study has circuits of the {property}s "
                f"that are held against each other: {what}"
            )

    def _present(self, property: str) -> set[str]:
        return {group[property] for group in self._groups}

    def _keep(self, property: str, wanted: set[str]) -> None:
        self._groups = [group for group in self._groups if group[property] in wanted]

    def _meant(self, name: str, text: str) -> set[str]:
        """The values that a text means, of those that are left."""
        place, property = f"{self._where}, parameter {name}", _PROPERTY[name]
        left = self._present(property)
        if property != "model":
            return matching(property, text, left, place)
        id = self.models.id(text, place)
        if id not in left:
            raise unknown("model", text, map(self.models.label, left), place)
        return {id}

    def _one(self, name: str, found: set[str], text: str | None = None) -> str:
        """The one value; of several the one that a text spells out."""
        if text in found:
            return text
        if len(found) == 1:
            return next(iter(found))
        place = f"{self._where}, parameter {name}"
        told = "; ".join(sorted(map(self.models.label, found) if _PROPERTY[name] == "model" else found))
        meant = "the store has circuits with" if text is None else f"{text!r} means"
        raise InputError(f"{place}: {meant} {len(found)} values; give one of: {told}")


def _texts(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
