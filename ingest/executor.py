"""Executors: they answer the items of a plan, here in this process and one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from ..evaluation import Execution
from .plan import Planned
from .work import Part, StoredParts, Workbench

Parts = Iterable[Part]


class Executor(Protocol):
    """Answers items; the caller stores the answers."""

    def run(
        self,
        items: Sequence[Planned],
        known: Callable[[Planned], StoredParts],
        execution: Callable[[Planned], Execution],
    ) -> Iterator[tuple[Planned, Parts]]:
        """Yield each item with the parts of its answer; iterating over the parts raises the errors of the item.

        An item that reuses the sizes of another one is yielded after all parts of that one were consumed.

        Args:
            items: an item that determines sizes comes before those that reuse them.
            known: returns what the store has of an item; called when the item is started.
            execution: returns the execution of an item.
        """
        ...


class LocalExecutor:
    """Answers items in this process; each part is computed when it is consumed."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    def run(
        self,
        items: Sequence[Planned],
        known: Callable[[Planned], StoredParts],
        execution: Callable[[Planned], Execution],
    ) -> Iterator[tuple[Planned, Parts]]:
        """See `Executor.run`."""
        for planned in items:
            yield planned, self._parts(planned, known, execution)

    def _parts(
        self, planned: Planned, known: Callable[[Planned], StoredParts], execution: Callable[[Planned], Execution]
    ) -> Iterator[Part]:
        """Yield the parts of an item; nothing is looked up before the first one, so that errors belong to the item."""
        yield from self._bench.answer(planned, known(planned), execution(planned))
