"""The store on each engine, compared with a dictionary under any order of operations."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from circuitstore.testing.mortal import Mortal, StorePlace
from circuitstore.testing.store_machine import store_machine
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
        run_state_machine_as_test(store_machine(new_place, mortal), settings=FEW)
    assert mortal.killed.total() > 1  # which tasks, depends on the examples drawn; test_faults.py kills each of them
