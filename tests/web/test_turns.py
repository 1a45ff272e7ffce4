"""Queries of readers: two at a time, and stopped when the reader leaves."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from circuitstore.store import interrupts
from circuitstore.web.turns import AT_ONCE, Left, Turns


class Reader:
    """A request whose reader may leave."""

    def __init__(self) -> None:
        self.has_left = False

    async def is_disconnected(self) -> bool:
        return self.has_left


def wait_for_stop() -> str:
    """Wait as a query of a graph does, until it is stopped."""
    while True:
        interrupts.safe_point()
        time.sleep(0.01)


def test_at_most_two_queries_run_at_a_time() -> None:
    now, most, lock = 0, 0, threading.Lock()

    def query() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1

    async def ask() -> None:
        turns = Turns()
        await asyncio.gather(*(turns.run(Reader(), query) for _ in range(6)))

    asyncio.run(ask())
    assert (most, now) == (AT_ONCE, 0)


def test_a_query_ends_when_its_reader_leaves_and_the_next_one_gets_its_turn() -> None:
    async def ask() -> str:
        turns, readers = Turns(), [Reader() for _ in range(AT_ONCE)]
        endless = [asyncio.ensure_future(turns.run(reader, wait_for_stop)) for reader in readers]
        waiting = asyncio.ensure_future(turns.run(Reader(), lambda: "answer"))
        await asyncio.sleep(0.3)
        assert not waiting.done() and not any(query.done() for query in endless)
        readers[0].has_left = True
        with pytest.raises(Left):
            await endless[0]
        found = await waiting
        endless[1].cancel()  # the server ends
        with pytest.raises(asyncio.CancelledError):
            await endless[1]
        return found

    assert asyncio.run(ask()) == "answer"


def test_a_reader_who_leaves_while_waiting_takes_no_turn() -> None:
    async def ask() -> list[int]:
        turns, busy, gone = Turns(), [Reader() for _ in range(AT_ONCE)], Reader()
        endless = [asyncio.ensure_future(turns.run(reader, wait_for_stop)) for reader in busy]
        await asyncio.sleep(0.05)
        gone.has_left = True
        with pytest.raises(Left):
            await turns.run(gone, lambda: pytest.fail("it ran"))
        for reader in busy:
            reader.has_left = True
        await asyncio.gather(*endless, return_exceptions=True)
        return await asyncio.gather(*(turns.run(Reader(), lambda i=i: i) for i in range(2 * AT_ONCE)))

    assert asyncio.run(ask()) == list(range(2 * AT_ONCE))


def test_errors_of_a_query_reach_the_reader() -> None:
    def query() -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        asyncio.run(Turns().run(Reader(), query))
