"""The tests that every graph backend must pass: subclass `GraphContract`, define the fixture `place`, run pytest.

    class TestMine(GraphContract):
        @pytest.fixture
        def place(self, tmp_path):
            return GraphPlace(f"mine://{tmp_path}/graph")

The place is a separate database, empty at the start of each test. Some tests run only if the subclass defines what they
need: `faults_of_put`, `faults_of_remove`, `faults_of_clear`, `faults_of_set_similar`, `faults_of_set_notes` and the
fixture `foreign`.
Override a test that a backend cannot pass with a skip that gives the reason.
"""

from __future__ import annotations

import pytest

from .graph_notes import Notes
from .graph_owning import Owning
from .graph_place import GraphPlace
from .graph_reading import Reading
from .graph_similar import Similar
from .graph_writing import Writing


class GraphContract(Owning, Writing, Reading, Similar, Notes):
    """The tests; each is named after a requirement of the contract in `store.graph.contract`."""

    @pytest.fixture
    def place(self) -> GraphPlace:
        raise NotImplementedError("a subclass of GraphContract must define the fixture `place`")

    @pytest.fixture
    def foreign(self) -> GraphPlace:
        """A database with other data than circuits."""
        pytest.skip("the subclass does not define the fixture `foreign`")
