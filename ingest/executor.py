"""Where the items of a plan are answered: in this process, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from ..evaluation import Execution
from .plan import Planned
from .work import Known, Part, Workbench

Parts = Iterable[Part]


class Executor(Protocol):
    """Answers items; whoever runs it stores what comes out."""

    def run(
        self,
        items: Sequence[Planned],
        known: Callable[[Planned], Known],
        execution: Callable[[Planned], Execution],
    ) -> Iterator[tuple[Planned, Parts]]:
        """Yield each item with the parts of its answer, whose iteration raises what went wrong with the item.

        An item whose sizes another one decides comes after all parts of that one were taken.

        Args:
            items: an item that decides sizes comes before those that take them.
            known: returns what is known of an item, when its turn has come.
            execution: returns how an item is run.
        """
        ...


class LocalExecutor:
    """Answers items in this process: each part is computed when it is asked for."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    def run(
        self,
        items: Sequence[Planned],
        known: Callable[[Planned], Known],
        execution: Callable[[Planned], Execution],
    ) -> Iterator[tuple[Planned, Parts]]:
        """See `Executor.run`."""
        for planned in items:
            yield planned, self._parts(planned, known, execution)

    def _parts(
        self, planned: Planned, known: Callable[[Planned], Known], execution: Callable[[Planned], Execution]
    ) -> Iterator[Part]:
        """Nothing is looked up before the first part is asked for, so that errors belong to the item."""
        yield from self._bench.answer(planned, known(planned), execution(planned))
