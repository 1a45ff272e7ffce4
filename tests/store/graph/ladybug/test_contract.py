import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ladybug
import pytest
from circuitstore.testing.graph_contract import GraphContract
from circuitstore.testing.graph_machine import graph_machine
from circuitstore.testing.graph_place import GraphPlace
from hypothesis import settings


def place_in(folder: Path) -> GraphPlace:
    return GraphPlace(f"ladybug://{folder}/graph.lbdb")


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
    faults_of_clear = ("graph.create.before", "graph.create.between")
    faults_of_set_similar = ("graph.similar.before", "graph.similar.after")
    faults_of_set_notes = ("graph.notes.before", "graph.notes.after")

    @pytest.fixture
    def place(self, tmp_path):
        return place_in(tmp_path)

    @pytest.fixture
    def foreign(self, tmp_path):
        with ladybug.Database(tmp_path / "graph.lbdb", max_db_size=1 << 36) as theirs, ladybug.Connection(theirs) as c:
            c.execute("CREATE NODE TABLE Person(name STRING, PRIMARY KEY (name))")
        return place_in(tmp_path)


@contextmanager
def new_place() -> Iterator[GraphPlace]:
    with tempfile.TemporaryDirectory() as folder:
        yield place_in(Path(folder))


TestLadybugMachine = graph_machine(new_place).TestCase
TestLadybugMachine.settings = settings(max_examples=7, stateful_step_count=12, deadline=None)
