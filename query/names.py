"""What names mean: values of circuits' properties as people write them, and models by name or id."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..circuits.naming import kind_and_params
from ..errors import InputError, unknown

_DIGITS = 8
"""Digits of a model's id that tell it from others of its name."""


def meant(given: str, there: Iterable[str]) -> set[str]:
    """Return the values that a text means: itself, or those that it abbreviates.

    `top` means `top(n=24)`, and `typographic(size=9)` means `typographic(size=9, text=cat)`. `size_of` says which
    condition decided a size, so `retention(target=0.9)` means `retention(size_of=natural, target=0.9)` as well.
    """
    kind, params = _parts(given)
    parts = {value: _parts(value) for value in there}
    same = {v for v, (k, p) in parts.items() if v == given or (k, _as_asked(p)) == (kind, params)}
    return same or {v for v, (k, p) in parts.items() if k == kind and params <= p}


def _parts(text: str) -> tuple[str, frozenset[str]]:
    kind, params = kind_and_params(text)
    return kind, frozenset(params)


def _as_asked(params: frozenset[str]) -> frozenset[str]:
    return frozenset(p for p in params if not p.startswith("size_of="))


class Models:
    """The models of some circuits, which have one id each, and may share a name.

    Args:
        pairs: names and ids that occur together.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._names: dict[str, set[str]] = {}
        for name, id in pairs:
            self._names.setdefault(id, set()).add(name)

    @property
    def labels(self) -> list[str]:
        """How each model is called, sorted."""
        return sorted(map(self.label, self._names))

    def label(self, id: str) -> str:
        """The name of a model, with the first digits of its id where another model has this name, too."""
        name = min(self._names[id])
        return name if self._named(name) == [id] else f"{name} ({id[:_DIGITS]})"

    def id(self, given: str, where: str = "") -> str:
        """The id of the model with this name, label or id, or whose id begins so.

        Raises:
            InputError: no model, or several.
        """
        found = self._named(given) or [id for id in self._names if self.label(id) == given]
        found = found or [id for id in self._names if given and id.startswith(given)]
        if not found:
            raise unknown("model", given, self.labels, where)
        if len(found) > 1:
            told = "; ".join(sorted(map(self.label, found)))
            place = f"{where}: " if where else ""
            raise InputError(f"{place}{given!r} means {len(found)} models; give the first digits of an id: {told}")
        return found[0]

    def _named(self, name: str) -> list[str]:
        return [id for id, names in self._names.items() if name in names]


def matching(name: str, given: str, there: Collection[str], where: str) -> set[str]:
    """The values of a property that a text means.

    Raises:
        InputError: none.
    """
    found = meant(given, there)
    if not found:
        raise unknown(name, given, there, where)
    return found
