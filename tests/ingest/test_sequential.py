"""A spec with a method that selects edges one by one: its circuits, and resuming after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from circuitstore.evaluation import Journal
from circuitstore.ingest import index, make_plan, parse_spec
from circuitstore.models import SequentialRuns
from circuitstore.store import open_store

SPEC = """
name = "one by one"
model = "digits"
[images]
source = "digits"
per_class = 12
only = ["three"]
[[condition]]
kind = "natural"
[[recipe]]
method = "vi-cd"
form = "attention"
sweeps = 2
[[extract]]
edges = 20
"""

PROGRAM = """
import sys, torch
torch.set_num_threads(1)
from circuitstore.evaluation import journal
from circuitstore.ingest import index, load_spec
journal.EVERY_S = 0.0
index(load_spec(sys.argv[1]), location=sys.argv[2], progress=False)
"""


@pytest.fixture
def runs_made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the number of removals that each call tries; the calls are still executed."""
    made: list[int] = []
    without = SequentialRuns.without

    def counted(self, receiver, senders, stay):
        made.append(len(senders))
        return without(self, receiver, senders, stay)

    monkeypatch.setattr(SequentialRuns, "without", counted)
    return made


def kill_in_the_middle(spec: Path, store: Path) -> dict[str, np.ndarray]:
    """Index, killed as soon as the journal has entries; return the journal."""
    command = [sys.executable, "-c", PROGRAM, str(spec), str(store)]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(store.glob("archive/unfinished/*.journal")):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, f"not killed while it was at work: {errors}"
    (kept,) = store.glob("archive/unfinished/*.journal")
    return Journal(kept, kept.stem).read()


@pytest.mark.slow
def test_a_run_killed_in_the_middle_of_a_class_is_resumed(tmp_path: Path, runs_made: list[int]) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(SPEC)
    whole = index(parse_spec(SPEC), location=tmp_path / "whole", progress=False)
    assert (whole.done, whole.circuits, whole.failed) == (1, 1, {})
    in_all = sum(runs_made)
    kept = kill_in_the_middle(spec, tmp_path / "killed")
    assert 0 < kept["counts"].sum() < 2 * len(kept["removed 0"])
    runs_made.clear()
    again = index(parse_spec(SPEC), location=tmp_path / "killed", progress=False)
    assert (again.done, again.failed) == (1, {})
    assert 0 < sum(runs_made) < in_all
    assert not list((tmp_path / "killed").glob("archive/unfinished/*.journal"))
    with open_store(tmp_path / "whole") as one, open_store(tmp_path / "killed") as other:
        (found,), (resumed,) = (store.circuits().to_dict("records") for store in (one, other))
        assert found["extraction"] == "found"
        assert (found["id"], found["sha256"]) == (resumed["id"], resumed["sha256"])
        discovery = one.discovery(found["discovery_id"])
        assert discovery.sha256 == other.discovery(resumed["discovery_id"]).sha256
        assert len(other.verify()) == 0
    trace = discovery.trace
    assert trace["edges_before_pruning"] == found["size_requested"] == discovery.members.sum()
    assert trace["edges_after_pruning"] == found["n_edges"] > 0
    assert [set(sweep) for sweep in trace["sweeps"]] == [{"threshold", "edges", "retention"}] * 2
    assert index(parse_spec(SPEC), location=tmp_path / "killed", progress=False).skipped == 1


@pytest.mark.slow
@pytest.mark.parametrize("content", [bytes(400), b"", b"another file"])
def test_an_item_with_an_unreadable_journal_starts_again(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    spec = parse_spec(SPEC.replace('"vi-cd"', '"ugs"').replace("sweeps", "steps").replace("attention", "block"))
    (planned,) = make_plan(spec).items
    path = tmp_path / "archive" / "unfinished" / f"{planned.item.id}.journal"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    done = index(spec, location=tmp_path, progress=False)
    assert (done.done, done.failed) == (1, {})
    assert not path.exists()
    assert ("starts from the beginning" in caplog.text) == bool(content)
