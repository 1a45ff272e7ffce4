"""Workers: an executor with a process for each of several devices."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Self

import torch

from ..circuits import ClassInfo, ExampleImages, WorkItem
from ..errors import CircuitStoreError, InputError
from ..evaluation import Execution, Journal
from ..images import Grouping
from ..store.interrupts import deferred
from .executor import Parts
from .plan import Plan
from .planned import Planned, chains
from .survey import Surveyed
from .work import StoredParts
from .worker import (
    Answer,
    Answered,
    Ended,
    Examples,
    Failed,
    Message,
    Planning,
    Reply,
    Request,
    Run,
    Step,
    Survey,
    work,
)

log = logging.getLogger("circuitstore")

TRIES = 2
"""Number of workers that may end while they answer a request; then it fails."""
GRACE_S = 5.0
"""Seconds for a worker to end by itself."""


@dataclass
class _Task:
    """A request that a worker will get.

    Attributes:
        planned: its item.
        make: returns the request; called when it is sent.
        report: called with the progress of the item.
        tries: number of workers that have ended while they answered it.
    """

    planned: Planned
    make: Callable[[], Request]
    report: Callable[[int, int], object] = lambda done, total: None
    tries: int = 0


_Chain = deque[_Task]
"""Tasks that one worker gets in order."""
_Outcome = tuple[Planned, Answered | CircuitStoreError]
"""An item, with the result of its request or the error."""


@dataclass
class _Worker:
    """A process and what it is doing.

    Attributes:
        run: what it plans.
        process: the process.
        channel: the driver's end of the pipe.
        chain: the tasks that it has.
        ready: whether it has planned the run.
        busy: whether it is answering the first task.
        classes: the classes whose images it has read.
    """

    run: Run
    process: BaseProcess
    channel: Connection
    chain: _Chain
    ready: bool = False
    busy: bool = False
    classes: set[ClassInfo] = field(default_factory=set)


class Workers:
    """Answers items in one process per device; see `Executor`.

    A worker gets whole chains of items, as far as possible those of the same classes, whose images it then reads and
    attacks once. A worker that ends is started again. A request during which two workers have ended fails.

    Examples:
        >>> with Workers(plan, ("cuda:0", "cuda:1")) as executor:
        ...     rows = list(executor.survey([planned.item for planned in plan.items]))
    """

    def __init__(self, plan: Plan, devices: Sequence[str], groups: Grouping | None = None) -> None:
        """Start nothing yet.

        Args:
            plan: the run.
            devices: the device of each worker; workers on `cpu` share its threads.
            groups: how the images are divided into groups, if not by the spec.

        Raises:
            InputError: the groups are a function that cannot be sent to another process.
        """
        try:
            pickle.dumps(groups)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise InputError(
                f"groups: cannot be sent to other processes ({error}); with several devices, pass a column, a file, or "
                "a function from the top level of a module"
            ) from error
        self._plan = plan
        self._ids = tuple(planned.item.id for planned in plan.items)
        self._place = {id: place for place, id in enumerate(self._ids)}
        threads = max(1, torch.get_num_threads() // max(1, devices.count("cpu")))
        self._runs = [Run(plan.spec, groups, device, threads) for device in devices]
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with deferred():
            for worker in self._workers:
                worker.channel.close()  # a worker that waits for a request ends then
                if worker.busy or not worker.ready:
                    worker.process.terminate()
            for worker in self._workers:
                worker.process.join(GRACE_S)
                worker.process.kill()
                worker.process.join()
            self._workers.clear()

    def survey(self, items: Sequence[WorkItem]) -> Iterator[Surveyed]:
        """See `Executor.survey`."""
        found: dict[str, Surveyed] = {}
        replies = self._serve(self._by_class(items, Survey))
        for item in items:
            while item.id not in found:
                planned, outcome = next(replies)
                about = f"{planned.item.target_class.name}, {planned.item.condition.text}"
                found[planned.item.id] = f"{about}: {outcome}" if isinstance(outcome, Exception) else outcome  # pyright: ignore[reportArgumentType]
            yield found.pop(item.id)

    def run(
        self,
        items: Sequence[Planned],
        known: Callable[[Planned], StoredParts],
        execution: Callable[[Planned], Execution],
    ) -> Iterator[tuple[Planned, Parts]]:
        """See `Executor.run`; an item is yielded when it is completely answered, so not in the order of `items`."""
        tasks = [deque(self._answering(planned, known, execution) for planned in chain) for chain in chains(items)]
        for planned, outcome in self._serve(tasks):
            yield planned, _parts(outcome)

    def examples(self, items: Sequence[WorkItem]) -> Iterator[ExampleImages | None]:
        """See `Executor.examples`."""
        for _, outcome in self._serve(self._by_class(items, Examples)):
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome  # pyright: ignore[reportReturnType]

    def _answering(
        self,
        planned: Planned,
        known: Callable[[Planned], StoredParts],
        execution: Callable[[Planned], Execution],
    ) -> _Task:
        how: list[Execution] = []

        def make() -> Request:
            how.append(execution(planned))
            journal = how[-1].journal
            path = journal.path if isinstance(journal, Journal) else None
            return Answer(self._place[planned.item.id], known(planned), path)

        return _Task(planned, make, lambda done, total: how[-1].report(done, total))

    def _by_class(self, items: Sequence[WorkItem], kind: type[Survey | Examples]) -> list[_Chain]:
        found: dict[ClassInfo, _Chain] = {}
        for item in items:
            place = self._place[item.id]
            found.setdefault(item.target_class, deque()).append(_Task(self._plan.items[place], partial(kind, place)))
        return list(found.values())

    def _serve(self, waiting: list[_Chain]) -> Iterator[_Outcome]:
        """Yield the outcome of every task, each as soon as it is known.

        Raises:
            CircuitStoreError: a worker cannot plan the run, or plans another one.
        """
        if waiting and not self._workers:
            self._workers.extend(map(self._started, self._runs))
        while waiting or any(worker.chain for worker in self._workers):
            for worker in self._workers:
                if worker.ready and not worker.busy:
                    yield from self._send(worker, waiting)
            for channel in wait([worker.channel for worker in self._workers], 0 if self._idle(waiting) else None):
                worker = next(worker for worker in self._workers if worker.channel is channel)
                yield from self._receive(worker)

    def _idle(self, waiting: list[_Chain]) -> bool:
        """Return whether a worker could get a task."""
        return any(w.ready and not w.busy and (w.chain or waiting) for w in self._workers)

    def _send(self, worker: _Worker, waiting: list[_Chain]) -> Iterator[_Outcome]:
        """Send a worker its next task."""
        if not worker.chain and waiting:
            worker.chain = self._next_chain(worker, waiting)
        if not worker.chain:
            return
        if not worker.process.is_alive():  # it ended while it waited, which is no try of the task
            yield from self._replace(worker, "")
            return
        task = worker.chain[0]
        try:
            request = task.make()
        except CircuitStoreError as error:
            worker.chain.popleft()
            yield task.planned, error
            return
        worker.busy = True
        worker.classes.add(task.planned.item.target_class)
        with suppress(BrokenPipeError):  # it has ended, which is received
            worker.channel.send(request)

    def _next_chain(self, worker: _Worker, waiting: list[_Chain]) -> _Chain:
        """Take a chain from those that wait: of a class that the worker has read, or else that no other has."""
        left = Counter(chain[0].planned.item.target_class for chain in waiting)
        taken = {cls for other in self._workers if other is not worker for cls in other.classes}

        def rank(chain: _Chain) -> tuple[bool, bool, int]:
            cls = chain[0].planned.item.target_class
            return cls not in worker.classes, cls in taken, -left[cls]

        chain = min(waiting, key=rank)
        waiting.remove(chain)
        return chain

    def _receive(self, worker: _Worker) -> Iterator[_Outcome]:
        """Read one message of a worker."""
        try:
            message: Message = worker.channel.recv()
        except (EOFError, OSError):
            message = Ended("")
        match message:
            case Planning(ids):
                self._check_plan(worker, ids)
                worker.ready = True
            case Step(done, total):
                worker.chain[0].report(done, total)
            case Reply(value):
                worker.busy = False
                yield worker.chain.popleft().planned, value
            case Failed(text):
                worker.busy = False
                yield worker.chain.popleft().planned, CircuitStoreError(text)
            case Ended(text):
                yield from self._replace(worker, text)

    def _check_plan(self, worker: _Worker, ids: tuple[str, ...]) -> None:
        if ids != self._ids:
            others = f"{len(set(ids) - set(self._ids))} of {len(ids)}"
            raise CircuitStoreError(
                f"the worker for {worker.run.device} plans other items ({others}), "
                "because it sees other weights or images; wait until nothing changes them, and run the same command "
                "again"
            )

    def _replace(self, worker: _Worker, text: str) -> Iterator[_Outcome]:
        """Start a worker for one that has ended, and give it the same tasks; one that was tried twice fails.

        Raises:
            CircuitStoreError: the worker had not planned the run, so another one would not either.
        """
        worker.channel.close()
        worker.process.join(GRACE_S)
        why = text or f"its process ended with exit status {worker.process.exitcode}" + (
            "; perhaps the memory ran out" if worker.process.exitcode == -signal.SIGKILL else ""
        )
        if not worker.ready:
            raise CircuitStoreError(f"the worker for {worker.run.device} could not start: {why}")
        if worker.busy:
            task = worker.chain[0]
            task.tries += 1
            if task.tries == TRIES:
                worker.chain.popleft()
                yield task.planned, CircuitStoreError(f"its worker on {worker.run.device} ended {TRIES} times: {why}")
            else:
                log.warning("%s: %s; the worker is started again", worker.run.device, why)
        with deferred():
            self._workers[self._workers.index(worker)] = self._started(worker.run, worker.chain)

    def _started(self, run: Run, chain: _Chain | None = None) -> _Worker:
        context = _context()
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, run), name=f"circuitstore {run.device}", daemon=True)
        with deferred():
            process.start()
            theirs.close()
        return _Worker(run, process, ours, deque() if chain is None else chain)


def _context() -> SpawnContext | ForkServerContext:
    """Return how processes start: forks of a server that has imported this package, or new ones if there is no fork.

    A fork of the driver itself could not use CUDA.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([work.__module__])
    return context


def _parts(outcome: Answered | CircuitStoreError) -> Parts:
    if isinstance(outcome, Exception):
        raise outcome
    yield from outcome  # pyright: ignore[reportGeneralTypeIssues, reportOptionalIterable]
