"""Runs and their requests, which the archive keeps, one file each, so that a lost catalog can be rebuilt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..circuits import Extraction, WorkItem, circuit_id, digest

KEY = 32
"""Leading digits of a request's id that identify its run."""


def run_key(name: str) -> str:
    """Return the digits with which the ids of all requests of a run begin."""
    return digest(["run", name])[:KEY]


@dataclass(frozen=True)
class RunRequest:
    """A request of a run: all that it wants, or an addition to earlier requests.

    Attributes:
        run: name of the run.
        spec: its TOML text.
        items: in order.
        circuits: item id and extraction of each requested circuit.
        created_ms: time of the request (epoch milliseconds).
        values: kind and id of each value that the run keeps without an item or a circuit that refers to it.
    """

    run: str
    spec: str
    items: tuple[WorkItem, ...]
    circuits: tuple[tuple[str, Extraction], ...]
    created_ms: int
    values: tuple[tuple[str, str], ...] = ()

    @cached_property
    def id(self) -> str:
        content: list[Any] = [self.spec, [item.id for item in self.items], self.wanted, self.created_ms]
        if self.values:  # ids of earlier requests do not change
            content.append(self.values)
        return run_key(self.run) + digest(content)[:KEY]

    @cached_property
    def wanted(self) -> list[str]:
        """Ids of the circuits."""
        return [circuit_id(item, extraction) for item, extraction in self.circuits]

    def is_same(self, other: RunRequest) -> bool:
        """Return whether both requests have the same content, whatever their times."""
        mine, theirs = ([r.run, r.spec, [i.id for i in r.items], r.wanted, r.values] for r in (self, other))
        return mine == theirs


@dataclass(frozen=True)
class Run:
    """A run after all of its requests.

    Attributes:
        spec: that of the last request.
        created_ms, changed_ms: times of the first and the last request.
        items: ids, in order.
        circuits: ids of the requested circuits.
        values: kind and id of the values that it keeps by id.
    """

    spec: str
    created_ms: int
    changed_ms: int
    items: tuple[str, ...]
    circuits: frozenset[str]
    values: frozenset[tuple[str, str]] = frozenset()


def merge_requests(requests: Iterable[RunRequest]) -> dict[str, Run]:
    """Return runs by name, given all of their requests, in any order."""
    by_run: dict[str, list[RunRequest]] = {}
    for request in sort_requests(requests):
        by_run.setdefault(request.run, []).append(request)
    return {
        name: Run(
            several[-1].spec,
            several[0].created_ms,
            several[-1].created_ms,
            tuple(dict.fromkeys(item.id for one in several for item in one.items)),
            frozenset(id for one in several for id in one.wanted),
            frozenset(value for one in several for value in one.values),
        )
        for name, several in by_run.items()
    }


def sort_requests(requests: Iterable[RunRequest]) -> list[RunRequest]:
    """Return the requests in the order of their times."""
    return sorted(requests, key=lambda request: (request.created_ms, request.id))
