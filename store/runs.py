"""What runs were asked for: kept in the archive, a file each time, so that a lost catalog can be made again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from ..circuits import Extraction, WorkItem, circuit_id, digest

KEY = 32
"""Digits of an id that say which run it is of."""


def run_key(name: str) -> str:
    """How the ids begin of all that one run was asked for."""
    return digest(["run", name])[:KEY]


@dataclass(frozen=True)
class Asked:
    """What a run was asked for at one time: what is new, or all of it.

    Attributes:
        run: its name.
        spec: its TOML text.
        items: in order.
        circuits: item id and extraction of each circuit that is wanted.
        created_ms: when (epoch milliseconds).
    """

    run: str
    spec: str
    items: tuple[WorkItem, ...]
    circuits: tuple[tuple[str, Extraction], ...]
    created_ms: int

    @cached_property
    def id(self) -> str:
        content = [self.spec, [item.id for item in self.items], self.wanted, self.created_ms]
        return run_key(self.run) + digest(content)[:KEY]

    @cached_property
    def wanted(self) -> list[str]:
        """Ids of the circuits."""
        return [circuit_id(item, extraction) for item, extraction in self.circuits]

    def is_as(self, other: Asked) -> bool:
        """Whether both ask for the same, at whatever time."""
        mine, theirs = ([a.run, a.spec, [i.id for i in a.items], a.wanted] for a in (self, other))
        return mine == theirs


@dataclass(frozen=True)
class Run:
    """A run as it stands after all that it was asked for.

    Attributes:
        spec: the last one.
        created_ms, changed_ms: when it was first and last asked for something new.
        items: ids, in order.
        circuits: ids of those that are wanted.
    """

    spec: str
    created_ms: int
    changed_ms: int
    items: tuple[str, ...]
    circuits: frozenset[str]


def merged(asked: Iterable[Asked]) -> dict[str, Run]:
    """Runs by name, given all that was asked for, in any order."""
    found: dict[str, list[Asked]] = {}
    for one in in_order(asked):
        found.setdefault(one.run, []).append(one)
    return {
        name: Run(
            several[-1].spec,
            several[0].created_ms,
            several[-1].created_ms,
            tuple(dict.fromkeys(item.id for one in several for item in one.items)),
            frozenset(id for one in several for id in one.wanted),
        )
        for name, several in found.items()
    }


def in_order(asked: Iterable[Asked]) -> list[Asked]:
    """As it was asked for, one after the other."""
    return sorted(asked, key=lambda one: (one.created_ms, one.id))
