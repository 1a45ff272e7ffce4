"""A backend found by its entry point passes the contract and serves a store."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import ladybug
import pytest
from circuitstore.errors import InputError
from circuitstore.store import create_store, rebuild_store
from circuitstore.store.graph import GROUP, open_graph
from circuitstore.testing.graph_contract import GraphContract
from circuitstore.testing.graph_machine import graph_machine
from circuitstore.testing.graph_place import STORE, GraphPlace
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from . import memory

PAGE = Path(__file__).parents[3] / "docs" / "backends.md"
ENTRY = f"[{GROUP}]\nmemory = {memory.__name__}:MemoryGraph\n"


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Create what installing the backend's package would create."""
    folder = tmp_path_factory.mktemp("site-packages")
    package = folder / "memory_backend-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: memory-backend\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(ENTRY)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setitem(sys.modules, memory.__name__, memory)
        yield


@contextmanager
def new_place() -> Iterator[GraphPlace]:
    yield GraphPlace("memory://graph")
    if database := memory.databases.pop("memory://graph", None):
        database.close()


class TestMemory(GraphContract):
    @pytest.fixture
    def place(self) -> Iterator[GraphPlace]:
        with new_place() as place:
            yield place

    @pytest.fixture
    def foreign(self, place: GraphPlace) -> GraphPlace:
        theirs = memory.databases[place.url] = memory.empty()
        with ladybug.Connection(theirs) as connection:
            connection.execute("CREATE NODE TABLE Person(name STRING, PRIMARY KEY (name))")
        return place

    @pytest.mark.skip("a database in memory ends with its process")
    def test_circuits_survive_a_kill_after_put(self) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]

    @pytest.mark.skip("a database in memory belongs to one process")
    def test_a_fork_can_open_it_again(self) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]


def test_it_agrees_with_a_dictionary() -> None:
    few = settings(max_examples=5, stateful_step_count=10, deadline=None)
    run_state_machine_as_test(graph_machine(new_place), settings=few)


def test_a_store_uses_it(tmp_path: Path, world: Any) -> None:
    with new_place() as place:
        with create_store(tmp_path, graph=place.url) as store, store.writer() as writer:
            world.fill(writer)
        rebuild_store(tmp_path, graph=place.url).to_pandas()
        with create_store(tmp_path, graph=place.url) as store:
            assert len(store.query("MATCH (c:Circuit) RETURN c.id")) == len(world.records)
            assert len(store.verify()) == 0


def test_an_unknown_scheme_raises_with_suggestions() -> None:
    with pytest.raises(InputError, match=r"unknown graph database 'memry'; did you mean 'memory'"):
        open_graph("memry://graph", store_id=STORE)


def test_the_page_names_existing_functions() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert f'entry-points."{GROUP}"' in text
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example, PAGE.name, "exec"), names)
    assert issubclass(names["TestMine"], GraphContract)
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE)
    names_of = [(module, name) for module, what in rows for name in re.findall(r"`(\w+)`", what)]
    assert len(names_of) > 8
    assert [t for t in names_of if not hasattr(import_module(f"circuitstore.store.graph.{t[0]}"), t[1])] == []
