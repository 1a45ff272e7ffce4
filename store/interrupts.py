"""Ctrl-C while the store is at work: it waits until what is begun has ended.

Python may raise KeyboardInterrupt between any two instructions of the main thread: where a lock was just taken, or a
transaction begun, and nobody is there yet to let go of it. That is so in every `__enter__` that is written in Python,
after every `yield` of `contextlib.contextmanager`, and in the libraries beneath. What was taken stays taken for as long
as the traceback lives, or for ever, and whoever wants it next, as the writer does when it closes, waits for it.

So whoever takes something does it within `deferred`, in which no handler of a signal raises.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import Any, Generic, ParamSpec, TypeVar

AGAIN_S = 0.1
"""How long a wait for a lock goes on without a look at what was raised meanwhile."""

P = ParamSpec("P")
T = TypeVar("T")

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""Those that programs let raise something; others end the process, or do nothing, at once."""

_depth = 0  # of `deferred`, in the main thread: no other runs handlers
_handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}  # those in whose place `_arrived` is
_raised: BaseException | None = None


class deferred:
    """What a signal's handler raises, such as KeyboardInterrupt, is raised when the outermost of these ends.

    The handlers themselves run at once, so that one that ends the process does. In threads other than the main one
    nothing is raised anyway, and this does nothing. In a process that is forked meanwhile it has ended.
    """

    _pid: int | None = None  # of the process in whose main thread it was entered

    def __enter__(self) -> None:
        global _depth, _raised
        if not _is_main():
            return
        if not _depth:
            _raised = None
            for number in SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler) and handler is not _arrived:
                    _handlers[number] = handler
                    signal.signal(number, _arrived)  # of the last one, SIGINT: from here on none is raised
        self._pid = os.getpid()
        _depth += 1

    def __exit__(self, *_: object) -> None:
        global _depth, _raised
        if self._pid != os.getpid():
            return
        _depth -= 1
        if _depth:
            return
        _put_back()
        raised, _raised = _raised, None
        if raised is not None:
            raise raised.with_traceback(None)  # else it would hold on to all that was at work when it arrived


def _put_back() -> None:
    for number, handler in _handlers.items():
        if signal.getsignal(number) is _arrived:  # it may have put another in its place
            signal.signal(number, handler)


def _forked() -> None:
    """The thread that forks is the main one of the child; what was begun goes on in the parent, and ends there."""
    global _depth, _raised
    _depth, _raised = 0, None
    _put_back()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_forked)


def _arrived(number: int, frame: FrameType | None) -> None:
    global _raised
    try:
        _handlers[number](number, frame)
    except BaseException as error:
        if not _depth:
            raise
        _raised = error


def _is_main() -> bool:
    return threading.get_ident() == threading.main_thread().ident


def safe_point() -> None:
    """Raise what waits, within `deferred`: for places where long work may be left, as by any other error."""
    global _raised
    if _depth and _raised is not None and _is_main():
        raised, _raised = _raised, None
        raise raised.with_traceback(None)


@contextlib.contextmanager
def holding(lock: threading.Lock | threading.RLock) -> Iterator[None]:
    """A lock, to be taken within `deferred`: the wait for it is a safe point."""
    while not lock.acquire(timeout=AGAIN_S):
        safe_point()
    try:
        yield
    finally:
        lock.release()


def await_(condition: threading.Condition, holds: Callable[[], object]) -> None:
    """Wait within `deferred`, and with the condition's lock, until something holds: the wait is a safe point."""
    while not holds():
        if not condition.wait(AGAIN_S):
            safe_point()


def unbroken(function: Callable[P, Iterator[T]]) -> Callable[P, AbstractContextManager[T]]:
    """`contextlib.contextmanager`, all of whose block is `deferred`: for what a thread takes for a moment."""
    made = contextlib.contextmanager(function)

    @functools.wraps(function)
    def enter(*args: P.args, **named: P.kwargs) -> AbstractContextManager[T]:
        return _Unbroken(made(*args, **named))

    return enter


class _Unbroken(Generic[T]):
    """A context manager that is entered, and left, within `deferred`."""

    def __init__(self, inner: AbstractContextManager[T]) -> None:
        self._inner, self._deferred = inner, deferred()

    def __enter__(self) -> T:
        self._deferred.__enter__()
        try:
            return self._inner.__enter__()
        except BaseException:
            self._deferred.__exit__()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        try:
            return self._inner.__exit__(kind, error, traceback)
        finally:
            self._deferred.__exit__()
