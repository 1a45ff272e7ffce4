"""What is found is written while the next item is computed, and the store is that of a run that writes in between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from circuitstore.circuits import Discovery, WorkItem
from circuitstore.discovery import Journal
from circuitstore.errors import StoreError
from circuitstore.ingest import index, make_plan, parse_spec
from circuitstore.ingest.storing import Storing
from circuitstore.ingest.work import Workbench
from circuitstore.store import Store, create_store, open_store
from circuitstore.testing.factories import make_discovery, make_item, make_record

from ..kills import content

SPEC = """
name = "small"
model = "digits"
[images]
source = "digits"
per_class = 8
only = ["three"]
[[condition]]
kind = "natural"
[[condition]]
kind = "typographic"
text = "other class"
[[recipe]]
method = "eap"
[[extract]]
retention = 0.8
[[extract]]
edges = 20
"""
"""Two items, of which the second takes the size of a circuit from the first."""


def in_between(folder: Path) -> None:
    """The run by hand: every result is written, and read back, before anything else is computed."""
    plan = make_plan(parse_spec(SPEC))
    bench, sizes = Workbench(plan), {}
    with create_store(folder) as store, store.writer() as writer:
        wanted = [(p.item.id, e) for p in plan.items for e in p.extractions]
        writer.start_run("small", SPEC, [p.item for p in plan.items], wanted)
        for planned in plan.items:
            writer.put_discovery(bench.discover(planned.item), "small")
            discovery = store.discovery(planned.item.id)
            for how in planned.extractions:
                by = planned.sized_by if how.kind == "retention" else None
                record = bench.circuit(discovery, how, by and sizes[by.id])
                if how.kind == "retention":
                    sizes[planned.item.id] = record.circuit.size_requested
                writer.put_circuit(record, "small")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("in between")
    in_between(folder)
    with open_store(folder) as store:
        return content(store)


def is_sound(store: Store, expected: dict[str, object]) -> bool:
    """Whether the graph is the archive's, edge by edge, and all of it what was expected."""
    return len(store.verify()) == 0 and not store.archive.leftovers() and content(store) == expected


@pytest.fixture
def discovered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the items that are computed, as it is begun; they are computed all the same."""
    ids: list[str] = []
    discover = Workbench.discover

    def noted(self: Workbench, item: WorkItem, *rest: object) -> Discovery:
        ids.append(item.id)
        return discover(self, item, *rest)

    monkeypatch.setattr(Workbench, "discover", noted)
    return ids


def test_an_error_of_the_store_ends_the_run_and_the_next_one_goes_on(
    tmp_path: Path, expected: dict[str, object], discovered: list[str]
) -> None:
    """The archive's folder of discoveries cannot be made; the circuits' could, and is not."""
    create_store(tmp_path).close()
    astray = tmp_path / "archive" / "discoveries"
    astray.touch()
    with pytest.raises(StoreError, match="something else is in its place"):
        index(parse_spec(SPEC), location=tmp_path, progress=False)
    assert 1 <= len(discovered) <= 2
    with open_store(tmp_path) as store:
        assert len(store.circuits()) == 0 and not (tmp_path / "archive" / "circuits").exists()
        assert set(store.items()["state"]) <= {"wanted", "leased"}
    astray.unlink()
    result = index(parse_spec(SPEC), location=tmp_path, progress=False)
    assert (result.done, result.circuits, result.failed) == (2, 4, {})
    with open_store(tmp_path) as store:
        assert is_sound(store, expected)


def test_what_was_found_before_ctrl_c_is_stored(
    tmp_path: Path, expected: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes when the second item is begun, with the first one on its way."""
    discover, begun = Workbench.discover, 0

    def interrupted(self: Workbench, item: WorkItem, *rest: object) -> Discovery:
        nonlocal begun
        begun += 1
        if begun == 2:
            raise KeyboardInterrupt
        return discover(self, item, *rest)

    monkeypatch.setattr(Workbench, "discover", interrupted)
    with pytest.raises(KeyboardInterrupt):
        index(parse_spec(SPEC), location=tmp_path, progress=False)
    with open_store(tmp_path) as store:
        assert len(store.circuits()) == len(store.graph.present()) == 2
    result = index(parse_spec(SPEC), location=tmp_path, progress=False)
    assert (result.done, result.skipped, result.circuits, result.failed) == (1, 1, 2, {})
    with open_store(tmp_path) as store:
        assert is_sound(store, expected)


def test_what_is_wrong_with_an_item_fails_it_alone(tmp_path: Path) -> None:
    """Its second circuit cannot be written; the first is stored, and the third is left out."""
    bad, good = (make_discovery(i, item=make_item(i, n_layers=2, n_heads=2)) for i in range(2))
    first, second, third = (make_record(bad, n) for n in (6, 8, 12))
    no_number = replace(second, full_in=np.full_like(second.full_in, np.nan))
    finished = []
    with create_store(tmp_path) as store:
        with store.writer() as writer:
            writer.start_run("run", "", [bad.item, good.item])
            with Storing(writer, "run", lambda: finished.append(1)) as storing:
                for discovery, records in ((bad, (first, no_number, third)), (good, ())):
                    storing.begin()
                    storing.lease(discovery.item)
                    storing.discovery(discovery, Journal())
                    for record in records:
                        storing.circuit(record)
                    storing.end(discovery.item)
        assert "JSON" in storing.failed[bad.id] and len(storing.failed) == 1
        assert (storing.done, storing.circuits, len(finished)) == (1, 1, 2)
        assert list(store.archive.ids("circuit")) == [first.id]
        states = store.items().set_index("id")
        assert states["state"].to_dict() == {bad.id: "failed", good.id: "done"}
        assert states.loc[bad.id, "error"] == storing.failed[bad.id]
