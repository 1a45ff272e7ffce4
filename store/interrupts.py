"""Deferral of Ctrl-C until the current operation of the store has finished, and stopping it from another thread.

Python may raise KeyboardInterrupt between any two instructions of the main thread, for example just after a lock was
taken or a transaction begun, before any code that would release it runs. This can happen in every `__enter__` written
in Python, after every `yield` of `contextlib.contextmanager`, and in libraries. The lock then stays taken as long as
the traceback exists, or forever, and the next code that needs it, such as the closing writer, hangs.

So code that takes a resource does so within `deferred`, in which no signal handler raises.

Signals reach the main thread only. A program that answers requests in other threads stops an operation by an event,
which the operation checks at the same safe points; see `stopped_by`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from types import FrameType, TracebackType
from typing import Any, Generic, ParamSpec, TypeVar

from ..errors import Stopped

AGAIN_S = 0.1
"""Seconds between checks for deferred exceptions while waiting for a lock."""

P = ParamSpec("P")
T = TypeVar("T")

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""Signals whose handlers may raise; others end the process or do nothing, at once."""

_depth = 0  # nesting of `deferred` in the main thread; other threads run no handlers
_handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}  # handlers that `_arrived` replaces
_raised: BaseException | None = None
_stop: ContextVar[threading.Event | None] = ContextVar("stop", default=None)


class deferred:
    """A context manager that defers exceptions of signal handlers, such as KeyboardInterrupt, to its outermost end.

    The handlers themselves run at once, so that one that ends the process does. In threads other than the main one
    handlers do not raise, and this does nothing. In a forked process it has ended.
    """

    _pid: int | None = None  # process in whose main thread it was entered

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
                    signal.signal(number, _arrived)  # after SIGINT, the last one, nothing is raised
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
            raise raised.with_traceback(None)  # the traceback would keep the frames alive


def _put_back() -> None:
    for number, handler in _handlers.items():
        if signal.getsignal(number) is _arrived:  # unless the handler was replaced
            signal.signal(number, handler)


def _forked() -> None:
    """Reset the state in a forked child, whose operations continue only in the parent."""
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


@contextlib.contextmanager
def stopped_by(stop: threading.Event) -> Iterator[None]:
    """Let an event stop the queries of this thread in the block: on both engines within about a second.

    Only waiting for a graph, a lock or another process is stopped; a computation of this process continues to its end.

    Raises:
        Stopped: the event was set, before the block or in it.

    Examples:
        >>> import threading
        >>> stop = threading.Event()
        >>> stop.set()
        >>> with stopped_by(stop):
        ...     store.query("MATCH (c:Circuit) RETURN count(*) AS circuits")
        Traceback (most recent call last):
        circuitstore.errors.Stopped: the query was stopped before its end
    """
    token = _stop.set(stop)
    try:
        safe_point()
        yield
    finally:
        _stop.reset(token)


def safe_point() -> None:
    """Raise a deferred exception now, at a point where long work may be aborted as by any other error.

    Raises:
        Stopped: the event of `stopped_by` is set.
    """
    global _raised
    if (stop := _stop.get()) is not None and stop.is_set():
        raise Stopped("the query was stopped before its end")
    if _depth and _raised is not None and _is_main():
        raised, _raised = _raised, None
        raise raised.with_traceback(None)


@contextlib.contextmanager
def holding(lock: threading.Lock | threading.RLock) -> Iterator[None]:
    """Hold a lock that is taken within `deferred`; waiting for it is a safe point."""
    while not lock.acquire(timeout=AGAIN_S):
        safe_point()
    try:
        yield
    finally:
        lock.release()


def await_(condition: threading.Condition, holds: Callable[[], object]) -> None:
    """Wait within `deferred`, with the condition's lock, until `holds` is true; waiting is a safe point."""
    while not holds():
        if not condition.wait(AGAIN_S):
            safe_point()


def unbroken(function: Callable[P, Iterator[T]]) -> Callable[P, AbstractContextManager[T]]:
    """Decorate like `contextlib.contextmanager`, with the whole block `deferred`: for short operations."""
    manager = contextlib.contextmanager(function)

    @functools.wraps(function)
    def enter(*args: P.args, **named: P.kwargs) -> AbstractContextManager[T]:
        return _Unbroken(manager(*args, **named))

    return enter


class _Unbroken(Generic[T]):
    """A context manager whose block is within `deferred`."""

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
