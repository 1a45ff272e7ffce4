"""`circuitstore index` killed at any moment, again and again: the store ends up as that of a run left in peace."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import pytest

from ..kills import Trial

KILLS = 6


@pytest.mark.parametrize("engine", ["ladybug", "neo4j"])
def test_killed_at_random_moments(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A store that is complete between two kills is checked, and another one started."""
    server = request.getfixturevalue("neo4j_server") if engine == "neo4j" else None
    if server is not None:
        server.empty()
    dice, killed, number = random.Random(engine), 0, 0
    with closing(Trial(tmp_path, server and server.url)) as trial:
        while killed < KILLS:
            number += 1
            if server is not None:
                server.empty()
            killed += len(trial.killed(f"store-{number}", dice, KILLS - killed))
            assert trial.differences(f"store-{number}") == []
