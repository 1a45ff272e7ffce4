import pytest

pytest.register_assert_rewrite("circuitstore.testing.graph_contract", "circuitstore.testing.graph_machine")
