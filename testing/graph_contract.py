"""What every graph backend must pass: subclass `GraphContract`, give the fixture `place`, run pytest.

    class TestMine(GraphContract):
        @pytest.fixture
        def place(self, tmp_path):
            return GraphPlace(f"mine://{tmp_path}/graph")

The place is a database of its own, empty at the start of each test. Further promises are tested where the subclass
gives what that needs: `faults_of_put`, `faults_of_remove`, `faults_of_clear` and the fixture `foreign`. A test that a
backend cannot pass is overridden by a skip that says why.
"""

from __future__ import annotations

import pytest

from .graph_owning import Owning
from .graph_place import GraphPlace
from .graph_reading import Reading
from .graph_writing import Writing


class GraphContract(Owning, Writing, Reading):
    """The tests; each says in its name what a backend promises, and `store.graph.contract` in prose."""

    @pytest.fixture
    def place(self) -> GraphPlace:
        raise NotImplementedError("a subclass of GraphContract gives the fixture `place`")

    @pytest.fixture
    def foreign(self) -> GraphPlace:
        """A database that holds something else than circuits."""
        pytest.skip("the subclass gives no fixture `foreign`")
