"""Executors: they survey and answer the items of a plan, here in this process and one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol, Self

from ..circuits import ExampleImages, WorkItem
from ..evaluation import Execution
from .choice import Choice
from .examples import example_images
from .plan import Plan
from .planned import Planned
from .survey import Surveyed, survey_row
from .work import Part, StoredParts, Workbench

Parts = Iterable[Part]


class Executor(Protocol):
    """Answers items; the caller stores the answers. A context manager, which ends what it started."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...

    def survey(self, items: Sequence[WorkItem]) -> Iterable[Surveyed]:
        """Yield the row of each item, see `survey_row`, in the order of the items."""
        ...

    def examples(self, items: Sequence[WorkItem]) -> Iterable[ExampleImages | None]:
        """Yield the example images of each item, in any order; None for an item without images."""
        ...

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

    def __init__(self, plan: Plan) -> None:
        self._choice = Choice(plan)
        self._bench = Workbench(plan, self._choice)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def survey(self, items: Sequence[WorkItem]) -> Iterable[Surveyed]:
        """See `Executor.survey`."""
        return map(partial(survey_row, self._choice), items)

    def examples(self, items: Sequence[WorkItem]) -> Iterable[ExampleImages | None]:
        """See `Executor.examples`."""
        return map(partial(example_images, self._choice), items)

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
