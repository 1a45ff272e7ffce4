"""The store on each engine, compared with a dictionary under any order of operations."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from circuitstore.testing.mortal import Mortal, StorePlace
from circuitstore.testing.store_machine import StoreMachine, store_machine
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

FEW = settings(
    max_examples=10,
    stateful_step_count=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.parametrize("engine", ["ladybug", "neo4j"])
def test_compared_with_a_dictionary(engine: str, request: pytest.FixtureRequest) -> None:
    server = None if engine == "ladybug" else request.getfixturevalue("neo4j_server")

    @contextmanager
    def new_place() -> Iterator[StorePlace]:
        if server is not None:
            server.empty()
        with tempfile.TemporaryDirectory() as folder:
            yield StorePlace(Path(folder) / "data", server and server.url)

    with Mortal() as mortal:
        kill_each_task(store_machine(new_place, mortal)())
        run_state_machine_as_test(store_machine(new_place, mortal), settings=FEW)
    assert mortal.killed["put"] and mortal.killed["gc"] and mortal.killed["rebuild"]


def kill_each_task(machine: StoreMachine) -> None:
    """Kill a put, the repair after it, a rebuild and a collection, whatever the drawn examples kill."""
    machine.begin()
    machine.crash_while_putting("first", {0, 3}, "catalog.commit.before:2", "catalog.commit.before", False)
    machine.crash_at_upkeep(("rebuild", "graph.commit.before"), None)
    machine.retire("first")
    machine.crash_at_upkeep(("gc", "graph.remove.before"), None)
    machine.teardown()
