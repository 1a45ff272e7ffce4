"""Answers are written while the next item is computed; the store is that of a run that writes in between."""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from circuitstore.bars import Bar
from circuitstore.circuits import CircuitRecord, Discovery, Response
from circuitstore.errors import StoreError
from circuitstore.evaluation import Execution, Journal
from circuitstore.ingest import index, make_plan, parse_spec
from circuitstore.ingest.choice import Choice
from circuitstore.ingest.executor import Parts
from circuitstore.ingest.planned import Planned
from circuitstore.ingest.storing import Storing
from circuitstore.ingest.work import StoredParts, Workbench
from circuitstore.store import Writer, create_store, open_store
from circuitstore.store.kinds import Stored
from circuitstore.testing.factories import make_discovery, make_item, make_record

from ..kills import content
from ..waiting import LONG_S

SPEC = """
name = "small"
model = "digits"
[images]
source = "digits"
per_class = 4
examples = 0
only = ["three"]
[[condition]]
kind = "natural"
[[condition]]
kind = "typographic"
text = "other class"
[[recipe]]
method = "eap"
[[extract]]
retention = 0.8
"""
"""Two items; the second reuses the size of a circuit of the first."""

THREE = """
name = "three"
model = "digits"
[images]
source = "digits"
per_class = 4
only = ["one", "two", "three"]
[[condition]]
kind = "natural"
[[recipe]]
method = "eap"
[[extract]]
edges = 20
"""
"""Three independent items."""


def in_between(folder: Path) -> None:
    """The run by hand: every result is written and read back before the next is computed."""
    plan = make_plan(parse_spec(SPEC))
    bench, sizes = Workbench(plan, Choice(plan)), {}
    with create_store(folder) as store, store.writer() as writer:
        wanted = [(p.item.id, e) for p in plan.items for e in p.extractions]
        writer.start_run("small", SPEC, [p.item for p in plan.items], wanted)
        for planned in plan.items:
            (found,) = bench.answer(replace(planned, extractions=()), StoredParts())
            assert isinstance(found, Discovery)
            writer.put(found, run="small")
            by = planned.sized_by
            known = StoredParts(
                store.discovery(planned.item.id), sizes=dict.fromkeys(planned.extractions, by and sizes[by.id])
            )
            responses: list[Response] = []
            for part in bench.answer(planned, known):
                if isinstance(part, Response):
                    responses.append(part)
                    continue
                assert isinstance(part, CircuitRecord)
                sizes[planned.item.id] = part.circuit.size_requested
                writer.put(*responses, part, run="small")
                responses = []


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("in between")
    in_between(folder)
    with open_store(folder) as store:
        return content(store)


@pytest.fixture
def discovered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the ids of the items when their computation starts; they are still computed."""
    ids: list[str] = []
    answer = Workbench.answer

    def noted(self: Workbench, planned: Planned, known: StoredParts, execution: Execution | None = None) -> Parts:
        ids.append(planned.item.id)
        yield from answer(self, planned, known, execution)

    monkeypatch.setattr(Workbench, "answer", noted)
    return ids


def test_an_error_of_the_store_ends_the_run_and_the_next_one_resumes(tmp_path: Path, discovered: list[str]) -> None:
    """The archive's folder of discoveries cannot be created; the circuits' could be, and is not."""
    spec = parse_spec(THREE)
    create_store(tmp_path).close()
    astray = tmp_path / "archive" / "discoveries"
    astray.touch()
    with pytest.raises(StoreError, match="something else is in its place"):
        index(spec, location=tmp_path, progress=False)
    assert 1 <= len(discovered) <= 2  # the next one may have been begun meanwhile, no other
    with open_store(tmp_path) as store:
        assert len(store.circuits()) == 0 and not (tmp_path / "archive" / "circuits").exists()
        assert set(store.items()["state"]) <= {"wanted", "leased"}
    astray.unlink()
    result = index(spec, location=tmp_path, progress=False)
    assert (result.done, result.circuits, result.failed) == (3, 3, {})
    with open_store(tmp_path) as store:
        assert len(store.verify()) == 0


class Screen(StringIO):
    """A terminal at which Ctrl-C is pressed while the second item is being drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.pressed = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if "typographic" in text and not self.pressed.is_set():
            self.pressed.set()
            signal.raise_signal(signal.SIGINT)
        return super().write(text)


def test_answers_computed_before_ctrl_c_are_stored(
    tmp_path: Path, expected: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C comes while the bar is drawn and the first item is being stored; the bar counts it at the end."""
    screen, put = Screen(), Writer.put

    def held_up(self: Writer, *values: Stored, run: str) -> None:
        assert screen.pressed.wait(LONG_S)
        put(self, *values, run=run)

    monkeypatch.setattr(Writer, "put", held_up)
    monkeypatch.setattr(sys, "stderr", screen)
    with pytest.raises(KeyboardInterrupt):
        index(parse_spec(SPEC), location=tmp_path)
    assert "1/2" in screen.getvalue().rsplit("\r", 1)[-1]
    with open_store(tmp_path) as store:
        assert len(store.circuits()) == len(store.graph.present()) == 1
    result = index(parse_spec(SPEC), location=tmp_path, progress=False)
    assert (result.done, result.skipped, result.circuits, result.failed) == (1, 1, 1, {})
    with open_store(tmp_path) as store:  # edge by edge what the archive has, and all of it what was expected
        assert len(store.verify()) == 0 and not store.archive.leftovers() and content(store) == expected


def test_a_ctrl_c_before_the_first_item_leaves_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = threading.Thread.start, []

    def pressed(self: threading.Thread) -> None:
        start(self)
        started.append(self)
        signal.raise_signal(signal.SIGINT)

    with create_store(tmp_path) as store, store.writer() as writer:
        monkeypatch.setattr(threading.Thread, "start", pressed)
        with pytest.raises(KeyboardInterrupt), Storing(writer, "run"):
            pytest.fail("it was entered")
        monkeypatch.undo()
        (thread,) = started
        thread.join(LONG_S)
        assert not thread.is_alive()


def test_a_run_continues_when_stderr_is_closed() -> None:
    """The bars of other threads can still be drawn."""
    read, write = os.pipe()
    end = os.fdopen(write, "w", buffering=1)
    with Bar(total=3, file=end, mininterval=0) as bar:
        bar.reach(1)
        assert not bar.disable
        os.close(read)
        bar.reach(2)
        assert bar.disable
        bar.set_description("third")
    with suppress(BrokenPipeError):
        end.close()
    other = StringIO()
    with ThreadPoolExecutor(1) as pool, Bar(total=1, file=other, mininterval=0) as bar:
        pool.submit(bar.reach, 1).result(60)
    assert "1/1" in other.getvalue()


def test_an_error_of_an_item_fails_only_this_item(tmp_path: Path) -> None:
    """The second circuit of an item cannot be written; the first is stored, and the third is skipped."""
    bad, good = (make_discovery(i, item=make_item(i, n_layers=2, n_heads=2)) for i in range(2))
    first, second, third = (make_record(bad, n) for n in (6, 8, 12))
    no_number = replace(second, full_in=np.full_like(second.full_in, np.nan))
    with create_store(tmp_path) as store:
        with store.writer() as writer:
            writer.start_run("run", "", [bad.item, good.item])
            with Storing(writer, "run") as storing:
                for discovery, records in ((bad, (first, no_number, third)), (good, ())):
                    storing.begin()
                    storing.lease(discovery.item)
                    storing.discovery(discovery, Journal())
                    for record in records:
                        storing.circuit(record)
                    storing.end(discovery.item)
        assert "JSON" in storing.failed[bad.id] and len(storing.failed) == 1
        assert (storing.done, storing.circuits, storing.ended) == (1, 1, 2)
        assert list(store.archive.ids("circuit")) == [first.id]
        states = store.items().set_index("id")
        assert states["state"].to_dict() == {bad.id: "failed", good.id: "done"}
        assert states.loc[bad.id, "error"] == storing.failed[bad.id]
