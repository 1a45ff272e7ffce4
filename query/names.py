"""Resolves abbreviated values of properties, and models given by name or id."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..circuits.naming import kind_and_params
from ..errors import InputError, unknown

_DIGITS = 8
"""Digits of the id in the label of a model whose name is not unique."""


def matches(given: str, values: Iterable[str]) -> set[str]:
    """Return the values that a text stands for: an equal value, or else all values that it abbreviates.

    `top` abbreviates `top(n=24)`, and `typographic(size=9)` abbreviates `typographic(size=9, text=cat)`. The parameter
    `size_of` names the condition that decided a size and is ignored in an otherwise equal value:
    `retention(target=0.9)` also stands for `retention(size_of=natural, target=0.9)`.
    """
    kind, params = _parts(given)
    parts = {value: _parts(value) for value in values}
    same = {v for v, (k, p) in parts.items() if v == given or (k, _without_size_of(p)) == (kind, params)}
    return same or {v for v, (k, p) in parts.items() if k == kind and params <= p}


def _parts(text: str) -> tuple[str, frozenset[str]]:
    kind, params = kind_and_params(text)
    return kind, frozenset(params)


def _without_size_of(params: frozenset[str]) -> frozenset[str]:
    return frozenset(p for p in params if not p.startswith("size_of="))


class Models:
    """The models of some circuits. Ids are unique, names may be shared.

    Args:
        pairs: name and id of each model; a model may have several names.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._names: dict[str, set[str]] = {}
        for name, id in pairs:
            self._names.setdefault(id, set()).add(name)

    @property
    def ids(self) -> list[str]:
        """The ids of all models."""
        return list(self._names)

    @property
    def labels(self) -> list[str]:
        """The labels of all models, sorted."""
        return sorted(map(self.label, self._names))

    def label(self, id: str) -> str:
        """Return the name of a model, with the first digits of its id if another model has the same name."""
        name = min(self._names[id])
        return name if self._named(name) == [id] else f"{name} ({id[:_DIGITS]})"

    def id(self, given: str, where: str = "") -> str:
        """Return the id of the model with this name, label, id or beginning of an id.

        Raises:
            InputError: no model matches, or several do.
        """
        found = self._named(given) or [id for id in self._names if self.label(id) == given]
        found = found or [id for id in self._names if given and id.startswith(given)]
        if not found:
            raise unknown("model", given, self.labels, where)
        if len(found) > 1:
            labels = "; ".join(sorted(map(self.label, found)))
            place = f"{where}: " if where else ""
            raise InputError(f"{place}{given!r} matches {len(found)} models; give the first digits of an id: {labels}")
        return found[0]

    def _named(self, name: str) -> list[str]:
        return [id for id, names in self._names.items() if name in names]


def find_values(name: str, given: str, values: Collection[str], where: str) -> set[str]:
    """Return the values of a property that a text stands for.

    Raises:
        InputError: no value matches.
    """
    found = matches(given, values)
    if not found:
        raise unknown(name, given, values, where)
    return found
