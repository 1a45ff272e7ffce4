"""Mutations of hostile and harmless texts on both engines; `fuzz.py` runs the same for longer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from circuitstore.store import create_store
from circuitstore.testing.factories import make_discovery, make_record
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from .asker import Asker
from .conftest import Library
from .mutations import mutated, passes


@st.composite
def mutations(draw: st.DrawFn) -> str:
    return mutated(lambda options: draw(st.sampled_from(list(options))))


@pytest.fixture(scope="module")
def asker(library: Library, graph_url: str | None) -> Iterator[Asker]:
    asker = Asker(library.store.location.folder, graph_url, "reader")
    yield asker
    asker.close()


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(mutations(), min_size=20, max_size=60))
def test_no_mutation_that_passes_the_guard_writes_crashes_or_hangs(asker: Asker, texts: list[str]) -> None:
    _, slowest, content = asker.run([text for text in texts if passes(text)])
    assert content == asker.first
    assert slowest < 20
    assert not list(Path("/tmp").glob("stolen*"))


def test_writes_and_crashes_are_detected(tmp_path: Path) -> None:
    """A write and a dead process are detected."""
    discovery = make_discovery()
    with create_store(tmp_path / "data") as store, store.writer() as writer:
        writer.put(make_record(discovery), run="run")
    asker = Asker(tmp_path / "data", None, "reader")
    with create_store(tmp_path / "data") as store, store.writer() as writer:
        writer.put(make_record(discovery, 30), run="run")
    assert asker.run(["MATCH (c:Circuit) RETURN c.id"])[2] != asker.first
    asker.process.kill()
    asker.process.wait()
    assert asker.run(["RETURN 1"]) == "crashes"
    assert asker.run(["RETURN 1"])[0] == {"answered": 1}
    asker.close()
