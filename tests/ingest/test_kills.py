"""`circuitstore index` killed at any moment, again and again: the store ends up as that of a run left in peace."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import pytest

from ..kills import Trial

KILLS = 6
LOOK_INSIDE = """
name = "quick"
model = "digits"
[images]
source = "digits"
per_class = 8
only = ["three"]
[[condition]]
kind = "natural"
[[recipe]]
method = "eap"
[[extract]]
edges = 30
[[readout]]
kind = "circuit-footprint"
steps = 1
[[readout]]
kind = "logit-lens"
per_image = true
[[neuron_paths]]
search = "activation"
"""
"""A circuit, neuron paths, and two read-outs, in the order in which they are computed but for the paths."""


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


@pytest.mark.slow
def test_killed_between_two_read_outs(tmp_path: Path) -> None:
    with closing(Trial(tmp_path, None, LOOK_INSIDE)) as trial:
        killed = trial.index("store", 0, once=lambda: bool(trial.answers("store", "readouts")))
        assert killed == -9, trial.log.read_text()
        assert trial.index("store") == 0, trial.log.read_text()
        assert len(trial.answers("store", "readouts")) == 2 and len(trial.answers("store", "circuits")) == 2
        assert trial.differences("store") == []
