"""Queries in turn: a few at a time, each stopped when its reader leaves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from fastapi import Request

from ..store import stopped_by

T = TypeVar("T")

AT_ONCE = 2
"""Maximum number of queries that run at a time; further ones wait."""
LOOK_S = 0.2
"""Seconds between looks whether the reader is still there."""


class Left(Exception):
    """The reader has closed the connection, so there is no one to answer."""


class Turns:
    """Runs queries in threads, at most `AT_ONCE` at a time."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_ONCE)

    async def run(self, request: Request, query: Callable[[], T]) -> T:
        """Return the result of a query. If the reader leaves, or the server ends, the query is stopped.

        Raises:
            Left: the reader has left.
        """
        stop = threading.Event()

        def work() -> T:
            with stopped_by(stop):
                return query()

        turn = asyncio.ensure_future(self._free.acquire())
        try:
            await _while_there(request, turn)
        except BaseException:
            if not turn.cancel():  # it came just now
                self._free.release()
            raise
        running = asyncio.ensure_future(asyncio.to_thread(work))
        running.add_done_callback(self._ended)  # the turn lasts until the query has really ended
        try:
            return await _while_there(request, running)
        finally:
            stop.set()

    def _ended(self, query: asyncio.Future[T]) -> None:
        self._free.release()
        if not query.cancelled():
            query.exception()  # of a stopped query, which no one awaits


async def _while_there(request: Request, awaited: asyncio.Future[T]) -> T:
    """Return the result as soon as there is one."""
    while not awaited.done():
        await asyncio.wait([awaited], timeout=LOOK_S)
        if not awaited.done() and await request.is_disconnected():
            raise Left
    return awaited.result()
