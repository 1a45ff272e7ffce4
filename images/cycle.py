"""The seeded cyclic order of classes, which chooses other classes."""

from __future__ import annotations

from collections.abc import Sequence

from ..circuits import ClassInfo
from .seeds import rank


def class_cycle(classes: Sequence[ClassInfo], seed: int) -> tuple[ClassInfo, ...]:
    """Return the classes in a seeded cyclic order, which does not depend on their order in `classes`.

    Examples:
        >>> [c.name for c in class_cycle(source.classes, seed=0)][:3]
        ['six', 'three', 'four']
    """
    return tuple(sorted(classes, key=lambda c: rank("cycle", seed, c.key)))


class ClassCycle:
    """The classes in their cyclic order, with the place of each."""

    def __init__(self, classes: Sequence[ClassInfo], seed: int) -> None:
        self._order = class_cycle(classes, seed)
        self._place = {cls: place for place, cls in enumerate(self._order)}

    def later(self, cls: ClassInfo, steps: int) -> ClassInfo:
        """Return the class `steps` later."""
        return self._order[(self._place[cls] + steps) % len(self._order)]

    def others(self, cls: ClassInfo) -> tuple[ClassInfo, ...]:
        """Return the other classes, the next one first."""
        place = self._place[cls]
        return (*self._order[place + 1 :], *self._order[:place])
