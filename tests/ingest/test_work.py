"""The answer to an item depends only on the item and its stored parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from circuitstore.circuits import CircuitRecord, Discovery, Response, bootstrap_frequency
from circuitstore.ingest import Plan, make_plan, parse_spec
from circuitstore.ingest.choice import Choice
from circuitstore.ingest.executor import LocalExecutor
from circuitstore.ingest.work import StoredParts, Workbench

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
[[recipe]]
method = "eap"
form = "head"
[[extract]]
retention = 0.8
[[extract]]
edges = 30
"""


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(parse_spec(SPEC))


@pytest.fixture
def bench(plan: Plan) -> Workbench:
    return Workbench(plan, Choice(plan))


def parts(found: object) -> tuple[Discovery, list[CircuitRecord]]:
    """Return the discovery and the circuits of an answer, without the responses."""
    discovery, *others = found
    assert all(isinstance(part, Response | CircuitRecord) for part in others)
    return discovery, [part for part in others if isinstance(part, CircuitRecord)]


def test_the_same_item_has_the_same_answer(plan: Plan, bench: Workbench) -> None:
    first, records = parts(bench.answer(plan.items[0], StoredParts()))
    again, others = parts(Workbench(plan, Choice(plan)).answer(plan.items[0], StoredParts()))
    assert first.sha256 == again.sha256
    assert [r.sha256 for r in records] == [r.sha256 for r in others]
    assert [r.extraction for r in records] == list(plan.items[0].extractions)


def test_stored_parts_are_not_computed_again(plan: Plan, bench: Workbench) -> None:
    planned = plan.items[0]
    discovery, records = parts(bench.answer(planned, StoredParts()))
    *responses, only = bench.answer(planned, StoredParts(discovery, frozenset(planned.extractions[:1])))
    assert isinstance(only, CircuitRecord) and only.sha256 == records[1].sha256
    assert {response.id for response in responses} == set(only.responses.values())
    assert list(bench.answer(planned, StoredParts(discovery, frozenset(planned.extractions)))) == []


def test_a_size_found_under_another_condition_is_reused(plan: Plan, bench: Workbench) -> None:
    natural, attacked = plan.items
    assert attacked.sized_by == natural.item
    sized = attacked.extractions[0]
    _, records = parts(bench.answer(attacked, StoredParts(sizes={sized: 17})))
    assert [r.circuit.size_requested for r in records] == [17, 30]


def test_circuits_are_extracted_from_the_stored_discovery(plan: Plan, bench: Workbench) -> None:
    discovery, records = parts(bench.answer(plan.items[0], StoredParts()))
    assert discovery.scores is not None and discovery.scores.per_image is not None
    assert discovery.scores.per_image.dtype == np.float32
    frequency = bootstrap_frequency(discovery.scores.per_image, 30, seed=plan.items[0].item.recipe.seed)
    assert np.array_equal(records[1].frequency, frequency)


def test_an_executor_looks_nothing_up_before_an_item_starts(plan: Plan, bench: Workbench) -> None:
    asked: list[str] = []

    def known(planned: object) -> StoredParts:
        asked.append(planned.item.id)  # type: ignore[attr-defined]
        return StoredParts()

    running = LocalExecutor(plan).run(plan.items, known, lambda planned: bench.execution)
    planned, found = next(running)
    assert planned is plan.items[0] and asked == []
    _, records = parts(found)
    assert len(records) == 2 and asked == [plan.items[0].item.id]
    assert [p.item.id for p, _ in running] == [plan.items[1].item.id]


def test_an_item_without_images_fails_by_itself(plan: Plan, bench: Workbench) -> None:
    empty = replace(plan.items[0], extractions=())
    bench.choice.of_item(empty.item)
    missing = replace(empty.item, selection=replace(empty.item.selection, rule="nothing"))
    with pytest.raises(Exception, match="nothing"):
        list(bench.answer(replace(empty, item=missing), StoredParts()))
