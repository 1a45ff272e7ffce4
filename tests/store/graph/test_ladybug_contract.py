import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from circuitstore.store.graph import open_graph
from circuitstore.store.graph.contract import GraphBackend
from circuitstore.testing.graph_contract import STORE, GraphContract
from circuitstore.testing.graph_machine import graph_machine
from hypothesis import settings


class LadybugPlace:
    def __init__(self, folder: Path) -> None:
        self.url = f"ladybug://{folder}/graph.lbdb"

    def open(self, *, store_id: str = STORE, read_only: bool = False) -> GraphBackend:
        return open_graph(self.url, store_id=store_id, read_only=read_only)


class TestLadybug(GraphContract):
    faults_of_put = (
        "graph.shared.before",
        "graph.shared.after",
        "graph.nodes.before",
        "graph.nodes.after",
        "graph.instance_of.after",
        "graph.feeds.after",
        "graph.contains.after",
        "graph.commit.before",
        "graph.commit.after",
    )
    faults_of_remove = ("graph.remove.before", "graph.remove.after")

    @pytest.fixture
    def place(self, tmp_path):
        return LadybugPlace(tmp_path)


@contextmanager
def new_place() -> Iterator[LadybugPlace]:
    with tempfile.TemporaryDirectory() as folder:
        yield LadybugPlace(Path(folder))


TestLadybugMachine = graph_machine(new_place).TestCase
TestLadybugMachine.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)
