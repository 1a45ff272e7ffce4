"""Ctrl-C at every place of a piece of code, one after the other, at which Python may raise KeyboardInterrupt."""

from __future__ import annotations

import dis
import gc
import signal
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from ..waiting import LONG_S

LOOKS = {dis.opmap[name] for name in ("CALL", "CALL_FUNCTION_EX", "RESUME", "JUMP_BACKWARD")}
"""Instructions after which the interpreter looks whether a signal has come."""


class Ended(Exception):
    """The time allowed is over."""


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
    act: Callable[[], object], at: int | None, parts: tuple[str, ...], within_s: float = LONG_S
) -> tuple[Interruption, KeyboardInterrupt | None]:
    """Run code with Ctrl-C at one place (None: nowhere); that place, and what it raised, None if it went on or hung."""

    def late(*_: object) -> None:
        raise Ended

    interruption, traced, before = Interruption(at, parts), sys.gettrace(), signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, within_s)
    try:
        sys.settrace(interruption)
        act()
    except KeyboardInterrupt as error:
        return interruption, error
    except Ended:
        return interruption, None
    finally:
        sys.settrace(traced)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return interruption, None


def is_free(act: Callable[[], object]) -> bool:
    """Whether another thread can do something now, or must wait for ever."""
    other = threading.Thread(target=act, daemon=True)
    other.start()
    other.join(LONG_S / 10)
    return not other.is_alive()


def unsound(
    act: Callable[[], object], parts: tuple[str, ...], most: int, is_sound: Callable[[], bool], *, held: bool = True
) -> list[str]:
    """Places, of at most so many evenly apart, at which Ctrl-C does not end the code, or things are not sound then.

    Args:
        held: ask while the traceback is alive, with all that its frames hold.
    """
    act()  # what is done once only is done
    places = interrupted(act, None, parts)[0].places
    assert places > 0
    found = []
    for at in range(0, places, -(-places // most)):
        interruption, error = interrupted(act, at, parts)
        ended = error is not None
        if not held:
            error = None
        if interruption.where and not (ended and is_sound()):  # there may be fewer places than before
            found.append(interruption.where)
            error = None
            gc.collect()  # lest the next one waits for it
    return found
