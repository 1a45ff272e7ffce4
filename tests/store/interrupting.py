"""Ctrl-C at every place of a piece of code, one after the other, at which Python may raise KeyboardInterrupt."""

from __future__ import annotations

import dis
import signal
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

LOOKS = {dis.opmap[name] for name in ("CALL", "CALL_FUNCTION_EX", "RESUME", "JUMP_BACKWARD")}
"""Instructions after which the interpreter looks whether a signal has come."""


class Ended(Exception):
    """Ctrl-C did not end the code within the time allowed."""


class Interruption:
    """Ctrl-C at the place of this number, among those in files whose path has one of `parts` in it."""

    def __init__(self, at: int | None, parts: tuple[str, ...]) -> None:
        self.at, self.parts = at, parts
        self.places = 0
        self.where = ""
        self._before: dict[int, int] = {}  # by the frame's id, as a frame itself would keep alive what it holds
        self._codes: dict[CodeType, bytes] = {}

    def __call__(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        if not any(part in frame.f_code.co_filename for part in self.parts):
            return None
        self._before.pop(id(frame), None)
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _step(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
        if event != "opcode":
            return self._step
        before, self._before[id(frame)] = self._before.get(id(frame)), frame.f_lasti
        if frame.f_code not in self._codes:
            self._codes[frame.f_code] = frame.f_code.co_code
        if before is not None and self._codes[frame.f_code][before] in LOOKS:
            self._place(frame)
        return self._step

    def _place(self, frame: FrameType) -> None:
        self.places += 1
        if self.places - 1 == self.at:
            self.where = f"{frame.f_code.co_qualname}, line {frame.f_lineno} of {frame.f_code.co_filename}"
            handler = signal.getsignal(signal.SIGINT)
            assert callable(handler)
            handler(signal.SIGINT, frame)


def interrupted(
    act: Callable[[], object], at: int | None, parts: tuple[str, ...], within_s: float = 20.0
) -> tuple[Interruption, BaseException | None]:
    """Run a piece of code with Ctrl-C at one place (None: nowhere); where that was, and what the code raised."""

    def late(*_: object) -> None:
        raise Ended(f"not ended {within_s:g} s after Ctrl-C in {interruption.where}")

    interruption, traced, before = Interruption(at, parts), sys.gettrace(), signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, within_s)
    try:
        sys.settrace(interruption)
        act()
    except KeyboardInterrupt as error:
        return interruption, error
    finally:
        sys.settrace(traced)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return interruption, None


def everywhere(
    act: Callable[[], object], parts: tuple[str, ...], most: int
) -> Iterator[tuple[str, BaseException | None]]:
    """For at most so many places, evenly apart: where it was, and the KeyboardInterrupt with all that it holds."""
    act()  # what is done once only is done
    places = interrupted(act, None, parts)[0].places
    assert places > 0
    for at in range(0, places, -(-places // most)):
        interruption, error = interrupted(act, at, parts)
        if interruption.where:  # there may be fewer than before
            yield interruption.where, error
