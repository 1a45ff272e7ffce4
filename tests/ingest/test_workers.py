"""Several processes answer the items of a run; whatever ends them, the store is that of one process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from circuitstore.circuits import ExampleImages
from circuitstore.errors import CircuitStoreError, InputError
from circuitstore.evaluation import Execution
from circuitstore.ingest import Plan, Spec, index, make_plan, parse_spec
from circuitstore.ingest.executor import LocalExecutor
from circuitstore.ingest.planned import chains, part_of
from circuitstore.ingest.work import StoredParts
from circuitstore.ingest.workers import Workers
from circuitstore.store import open_store

from ..kills import Trial, content

RUN = """
name = "several"
model = "digits"
device = ["cpu", "cpu"]
[images]
source = "digits"
per_class = 8
only = ["three", "seven"]
[[condition]]
kind = "natural"
[[condition]]
kind = "fgsm"
eps = "8/255"
[[recipe]]
method = "eap"
[[recipe]]
method = "eap-ig"
steps = 2
[[extract]]
retention = 0.8
[[extract]]
edges = 20
[[readout]]
kind = "circuit-footprint"
steps = 1
"""
"""Sizes of natural circuits, a read-out about circuits, and images that the model attacks."""
LONG_S = 600.0
"""Maximum number of seconds to wait for what must happen; a guard against hangs."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def spec() -> Spec:
    return parse_spec(RUN)


@pytest.fixture(scope="module")
def plan(spec: Spec) -> Plan:
    return make_plan(spec)


@pytest.fixture(scope="module")
def serial(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What a run in one process stores."""
    folder = tmp_path_factory.mktemp("serial")
    index(spec.on("cpu"), location=folder, progress=False)
    return stored(folder)


def stored(folder: Path) -> dict[str, object]:
    with open_store(folder) as store:
        assert len(store.verify()) == 0
        return content(store)


def end_all(number: int = signal.SIGKILL) -> int:
    """End all workers, and return how many there were."""
    workers = multiprocessing.active_children()
    for worker in workers:
        os.kill(worker.pid or 0, number)
        worker.join(LONG_S)
    return len(workers)


def test_the_store_is_that_of_one_process(spec: Spec, serial: dict[str, object], tmp_path: Path) -> None:
    """Although all workers are killed before the first item and once more during one."""
    ended = [0, 0]

    def end_them(survey: object) -> None:
        ended[0] = end_all()
        threading.Thread(target=end_again, daemon=True).start()

    def end_again() -> None:
        end = time.monotonic() + LONG_S
        while not list(tmp_path.glob("archive/discoveries/*")) and time.monotonic() < end:
            time.sleep(0.01)
        ended[1] = end_all()

    result = index(spec, location=tmp_path, progress=False, on_survey=end_them)
    assert ended[0] == 2 and ended[1] >= 1
    assert list(result.failed.values()) == [] and result.done == len(make_plan(spec).items)
    assert stored(tmp_path) == serial
    assert multiprocessing.active_children() == []
    assert index(spec, location=tmp_path, progress=False).done == 0


@pytest.mark.skipif(not Path("/proc").exists(), reason="no /proc on this system")
def test_no_process_outlives_a_killed_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIRCUITSTORE_TESTED_IN", str(tmp_path))
    with closing(Trial(tmp_path, None, RUN.replace('["cpu", "cpu"]', '"cpu"'))) as trial:
        (tmp_path / "quick.toml").write_text(RUN)
        began = processes_of(tmp_path)
        status = trial.index("store", 0.0, once=lambda: len(processes_of(tmp_path)) > len(began) + 2)
        assert status == -9, trial.log.read_text()
        end = time.monotonic() + LONG_S
        while (left := processes_of(tmp_path)) != began and time.monotonic() < end:
            time.sleep(0.05)
        assert left == began
        assert trial.index("store") == 0, trial.log.read_text()
        assert trial.differences("store") == []


def processes_of(folder: Path) -> set[str]:
    """Return the processes that have the folder in their environment."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"CIRCUITSTORE_TESTED_IN={folder}".encode() in (process / "environ").read_bytes():
                found.add(process.name)
    return found


class Ends:
    """Ends the process that reads it from a pipe."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (3,)


def test_an_item_that_ends_two_workers_fails(plan: Plan) -> None:
    bad = plan.items[0]

    def known(planned: object) -> StoredParts:
        return StoredParts(sizes={None: Ends()} if planned is bad else {})

    with Workers(plan, ("cpu",)) as executor:
        failed, done = {}, []
        for planned, parts in executor.run(plan.items[:2], known, lambda planned: Execution()):
            try:
                done.append((planned, list(parts)))
            except CircuitStoreError as error:
                failed[planned.item.id] = str(error)
        (example,) = executor.examples([plan.items[1].item])
    assert list(failed) == [bad.item.id]
    assert "ended 2 times" in failed[bad.item.id] and "exit status 3" in failed[bad.item.id]
    assert [planned for planned, _ in done] == [plan.items[1]] and isinstance(example, ExampleImages)


def test_a_worker_says_why_it_cannot_plan(plan: Plan) -> None:
    items = [plan.items[0].item]
    with Workers(plan, ("cuda:99",)) as executor, pytest.raises(CircuitStoreError, match=r"cuda:99.*could not start"):
        list(executor.survey(items))
    other = make_plan(plan.spec.only_part(1, 2))
    with Workers(other, ("cpu",)) as executor:
        executor._ids = ("another item", *executor._ids[1:])
        with pytest.raises(CircuitStoreError, match=r"plans other items \(1 of "):
            list(executor.survey([other.items[0].item]))


def test_a_survey_is_that_of_one_process(plan: Plan) -> None:
    items = [planned.item for planned in plan.items]
    with Workers(plan, ("cpu",)) as executor:
        assert list(executor.survey(items)) == list(LocalExecutor(plan).survey(items))


def test_chains_hold_what_depends_on_each_other(plan: Plan) -> None:
    found = chains(plan.items)
    assert sorted(p.item.id for chain in found for p in chain) == sorted(p.item.id for p in plan.items)
    for chain in found:
        ids = [p.item.id for p in chain]
        for i, planned in enumerate(chain):
            needs = [planned.sized_by, planned.about and planned.about[0]]
            assert all(item.id in ids[:i] for item in needs if item is not None)
        assert len({(p.item.target_class, p.item.selection.group) for p in chain}) == 1
    assert len(found) == 4  # two classes, two recipes


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_parts_divide_the_items(plan: Plan, n: int) -> None:
    parts = [part_of(plan.items, k, n) for k in range(1, n + 1)]
    assert [p for part in parts for p in part] == list(plan.items) or n > 2
    assert sorted(p.item.id for part in parts for p in part) == sorted(p.item.id for p in plan.items)
    for part in parts:
        assert sum(map(len, chains(part))) == len(part)
        assert len(chains(part)) in {4 // n, 4 // n + 1}


def test_devices_and_parts_are_checked(spec: Spec) -> None:
    for wrong in ("gpu", "cuda:", "cpu,cpu", ""):
        with pytest.raises(InputError, match="expected names such as cpu, cuda or cuda:1"):
            spec.on(wrong)
    for k, n in ((0, 4), (5, 4), (1, 0)):
        with pytest.raises(InputError, match="expected K/N"):
            spec.only_part(k, n)
    with pytest.raises(InputError, match="device"):
        parse_spec(RUN.replace('["cpu", "cpu"]', "[]"))
    with pytest.raises(InputError, match="cannot be sent to other processes"):
        Workers(make_plan(spec), ("cpu",), lambda source, ref: "a")
