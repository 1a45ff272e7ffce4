"""Ctrl-C at any place leaves no lock and no transaction behind: the writer closes, and the next one begins."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from circuitstore.store import Writer, create_store, interrupts
from circuitstore.store import sqlite as catalogs
from circuitstore.store.interrupts import deferred, holding, safe_point, unbroken
from circuitstore.store.lease import LEASE_S, now_ms

from ..waiting import LONG_S
from .conftest import World
from .interrupting import is_free, unsound

OURS = (str(Path(interrupts.__file__).parent), "contextlib.py")


@pytest.fixture
def writer(folder: Path, world: World) -> Iterator[Writer]:
    with create_store(folder) as store, store.writer() as opened:
        world.start(opened)
        yield opened


@pytest.fixture
def presses() -> Iterator[Callable[[], None]]:
    """Sends this process Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_is_raised_when_what_is_begun_has_ended(presses: Callable[[], None]) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):
        with deferred():
            with deferred():
                presses()
                done.append("inner")
            done.append("outer")
        done.append("never")
    assert done == ["inner", "outer"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_long_work_may_be_left_at_safe_points(presses: Callable[[], None]) -> None:
    safe_point()
    done = []
    with pytest.raises(KeyboardInterrupt), deferred():
        safe_point()
        presses()
        done.append("on")
        safe_point()
        done.append("never")
    assert done == ["on"]
    with deferred():  # it was raised once
        pass


def test_a_handler_runs_at_once_and_may_put_another_in_its_place(presses: Callable[[], None]) -> None:
    def first(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, first)
    with pytest.raises(KeyboardInterrupt), deferred():
        presses()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        presses()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_threads_are_not_held_up_by_what_the_main_thread_defers(presses: Callable[[], None]) -> None:
    inside, outside = threading.Event(), threading.Event()

    def work() -> None:
        with deferred():
            inside.set()
            outside.wait(LONG_S)

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(LONG_S)
    with pytest.raises(KeyboardInterrupt):
        presses()
    outside.set()
    thread.join()


def test_waiting_for_a_lock_may_be_left(presses: Callable[[], None]) -> None:
    lock, taken, done = threading.Lock(), threading.Event(), threading.Event()

    def work() -> None:
        with holding(lock):
            taken.set()
            done.wait(LONG_S)

    thread = threading.Thread(target=work)
    thread.start()
    assert taken.wait(LONG_S)
    with pytest.raises(KeyboardInterrupt), deferred():
        presses()
        with holding(lock):
            pass
    assert lock.locked()
    done.set()
    thread.join()
    assert not lock.locked()


def test_a_process_that_another_thread_forks_meanwhile_defers_nothing(presses: Callable[[], None]) -> None:
    """As a loader of images does that is started in a thread."""
    children = []

    def work() -> None:
        with suppress(KeyboardInterrupt), deferred():
            child = os.fork()
            if child:
                children.append(child)
                return
        try:
            with suppress(KeyboardInterrupt), deferred():
                presses()
                presses()
            presses()
        except KeyboardInterrupt:
            os._exit(7)
        finally:
            os._exit(1)

    with pytest.raises(KeyboardInterrupt), deferred():
        presses()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 7


def test_ctrl_c_anywhere_around_a_lock_leaves_it_free() -> None:
    lock = threading.Lock()

    @unbroken
    def taken() -> Iterator[None]:
        with lock:
            yield

    def work() -> None:
        with taken():
            assert lock.locked()

    places = ("interrupts.py", "contextlib.py", "test_interrupts.py")
    assert unsound(work, places, 1000, lambda: not lock.locked() and _passes_on()) == []


def _passes_on() -> bool:
    """Whether Ctrl-C is raised at once, and the handler that it had before is back after the next `deferred`."""
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with deferred():
        pass
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_anywhere_in_a_transaction_leaves_the_catalog_to_others(writer: Writer, world: World) -> None:
    """Also while the traceback is alive, as in a notebook, and while a command closes what it had open."""
    file = writer.catalog.file
    assert file is not None
    id = world.items[0].id
    assert unsound(lambda: writer.lease_item(id), OURS, 60, lambda: not _busy(file)) == []


def _busy(file: Path) -> bool:
    """Whether somebody writes a catalog, and goes on to; the lease is renewed in between."""
    with closing(sqlite3.connect(file, timeout=LONG_S / 10, isolation_level=None)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        return False


def test_ctrl_c_anywhere_in_the_graph_leaves_it_to_other_threads(writer: Writer) -> None:
    def claim() -> None:
        writer.graph.claim(writer.owner, now_ms() + int(1000 * LEASE_S))

    assert unsound(claim, (*OURS, "/ladybug/"), 60, lambda: is_free(claim)) == []


def test_ctrl_c_anywhere_leaves_no_writer_behind(folder: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the writer's opening to its end; the same command then resumes."""
    monkeypatch.setattr(catalogs, "BUSY_S", LONG_S / 10)
    store = create_store(folder)

    def work() -> None:
        with store.writer() as writer:
            world.start(writer)
            writer.put(world.discoveries[0], run="run")
            writer.put(world.records[0], run="run")

    def is_gone() -> bool:
        return "circuitstore-writer" not in [thread.name for thread in threading.enumerate()]

    assert unsound(work, OURS, 12, is_gone, held=False) == []
    work()
