"""A worker: the process of one device, which surveys and answers items that the driver sends.

Driver and worker exchange messages through a pipe. The worker plans the run itself, and the driver compares the plans.
It never opens the store.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path

import torch

from ..circuits import ExampleImages
from ..evaluation import Execution, Journal
from ..images import Grouping
from ..models import plain_torch
from .choice import Choice
from .examples import example_images
from .plan import make_plan
from .spec import Spec
from .storing import ITEMS_OWN
from .survey import Surveyed, survey_row
from .work import Part, StoredParts, Workbench

DEVICE_FAILED = (torch.AcceleratorError, torch.OutOfMemoryError)
"""Errors after which the state of a device is unknown."""


@dataclass(frozen=True)
class Run:
    """What a worker plans.

    Attributes:
        spec: the run.
        groups: how its images are divided into groups, if not by the spec.
        device: the device of the models.
        threads: number of threads on a CPU.
    """

    spec: Spec
    groups: Grouping | None
    device: str
    threads: int


@dataclass(frozen=True)
class Survey:
    """Asks for the row of the survey of an item, by its place in the plan."""

    place: int


@dataclass(frozen=True)
class Answer:
    """Asks for the missing parts of an item.

    Attributes:
        place: of the item in the plan.
        known: its stored parts.
        journal: the file of its progress.
    """

    place: int
    known: StoredParts
    journal: Path | None


@dataclass(frozen=True)
class Examples:
    """Asks for the example images of an item, by its place in the plan."""

    place: int


Request = Survey | Answer | Examples


@dataclass(frozen=True)
class Planning:
    """A worker is ready.

    Attributes:
        ids: the items of its plan.
    """

    ids: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """Progress within an item, in the method's unit."""

    done: int
    total: int


Answered = tuple[Part, ...] | Surveyed | ExampleImages | None
"""The result of a request: the parts of an item, a row of the survey, or example images."""


@dataclass(frozen=True)
class Reply:
    """A request is answered."""

    value: Answered


@dataclass(frozen=True)
class Failed:
    """A request failed, and the worker goes on."""

    message: str


@dataclass(frozen=True)
class Ended:
    """The worker ends, because of this error."""

    message: str


Message = Planning | Step | Reply | Failed | Ended


def work(channel: Connection, run: Run) -> None:
    """Answer requests until the driver sends None or ends; the main function of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the driver ends this one
    threading.Thread(target=_end_with_driver, daemon=True).start()
    torch.set_num_threads(run.threads)
    with plain_torch():
        try:
            _serve(channel, _Desk(run))
        except (EOFError, BrokenPipeError):  # the driver has ended
            return
        except Exception as error:
            channel.send(Ended(_text(error)))


def _serve(channel: Connection, desk: _Desk) -> None:
    channel.send(Planning(tuple(planned.item.id for planned in desk.plan.items)))
    while (request := channel.recv()) is not None:
        try:
            reply: Message = Reply(desk.reply(request, lambda done, total: channel.send(Step(done, total))))
        except DEVICE_FAILED:
            raise
        except ITEMS_OWN as error:
            reply = Failed(_text(error))
        channel.send(reply)


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__


def _end_with_driver() -> None:
    """End this process when the driver ends, even in the middle of a computation."""
    driver = parent_process()
    assert driver is not None
    wait([driver.sentinel])
    os._exit(1)


class _Desk:
    """The plan of a run, and what is computed of it in this process."""

    def __init__(self, run: Run) -> None:
        self.plan = make_plan(run.spec.model_copy(update={"device": run.device}), groups=run.groups)
        self._choice = Choice(self.plan)
        self._bench = Workbench(self.plan, self._choice)

    def reply(self, request: Request, progress: Callable[[int, int], None]) -> Answered:
        planned = self.plan.items[request.place]
        match request:
            case Survey():
                return survey_row(self._choice, planned.item)
            case Examples():
                return example_images(self._choice, planned.item)
            case Answer():
                self._choice.tally(planned.item)  # attacks images in the same batches as a survey of the class
                journal = Journal(request.journal, planned.item.id, own=True)
                execution = Execution(self.plan.spec.batch_size, progress, journal)
                return tuple(self._bench.answer(planned, request.known, execution))
