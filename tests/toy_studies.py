"""Small stores with both studies, and studies made of records without a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from circuitstore.circuits import CircuitRecord, Contrast, Discovery, EdgeScores, WorkItem
from circuitstore.query.entries import Entry
from circuitstore.query.studies import COMMON, Study
from circuitstore.store import Store, create_store, open_store
from circuitstore.testing.factories import make_discovery, make_item, make_record

SPEC = 'name = "toys"\nmodel = "toy"\n[images]\nsource = "digits"\nper_class = 8\n'
HOSTILE = "</script><script>alert(1)</script>"

SHAPE = {"n_layers": 3, "n_heads": 2}


def effect_items(classes: int = 4, attacks: Sequence[str] = ("natural", "typographic"), **shape) -> list[WorkItem]:
    return [make_item(0, class_index=c, attack=a, **(shape or SHAPE)) for c in range(classes) for a in attacks]


def mechanism_items(classes: int = 4) -> list[WorkItem]:
    recipe = {"metric": "logit-diff", "corruption": "unattacked-twin"}
    return [make_item(0, class_index=c, attack="typographic", **recipe, **SHAPE) for c in range(classes)]


def renamed(item: WorkItem, name: str) -> WorkItem:
    return replace(item, target_class=replace(item.target_class, name=name))


def of_model(item: WorkItem, name: str, id: str) -> WorkItem:
    return replace(item, model=replace(item.model, name=name, id=id))


def contrasted(item: WorkItem, *against: str, word: str | None = None) -> WorkItem:
    """The item, whose images are contrasted with these classes, and bear the word of an attack."""
    return replace(item, contrast=Contrast(word=word, target=word, against=against))


def whole(record: CircuitRecord) -> CircuitRecord:
    """The record with the circuit of all edges, which is flagged."""
    graph = record.circuit.graph
    scores = EdgeScores(graph, np.arange(1, graph.n_edges + 1, dtype=np.float32))
    return replace(record, circuit=scores.top(1.0))


def with_faithfulness(record: CircuitRecord, own: float, random: float) -> CircuitRecord:
    """The record with a circuit, and random circuits, of this faithfulness."""
    evaluation = replace(
        record.evaluation,
        metric_full=1.0,
        metric_empty=0.0,
        metric_circuit=own,
        faithfulness=own,
        metric_random=(random,),
    )
    return replace(record, evaluation=evaluation)


@dataclass(frozen=True)
class Answers:
    """What was put into a store."""

    discoveries: list[Discovery]
    records: list[CircuitRecord]

    @classmethod
    def to(cls, items: Sequence[WorkItem], n: int = 30) -> Answers:
        found = [make_discovery(item=item) for item in items]
        return cls(found, [make_record(d, n) for d in found])

    def of(self, **equals) -> list[CircuitRecord]:
        """Records with the given properties."""
        return [r for r in self.records if all(r.properties()[k] == v for k, v in equals.items())]


def fill(folder: Path, answers: Answers, run: str = "toys", **place: str) -> None:
    with create_store(folder, **place) as store, store.writer() as writer:
        writer.start_run(
            run, SPEC, [d.item for d in answers.discoveries], [(r.discovery_id, r.extraction) for r in answers.records]
        )
        for discovery in answers.discoveries:
            writer.put(discovery, run=run)
        for record in answers.records:
            writer.put(record, run=run)


def study_of(records: Sequence[CircuitRecord]) -> Study:
    """The study of records that are natural first, then by class."""
    rows = pd.DataFrame(
        [r.properties() | {"discovery_id": r.discovery_id, "created_ms": i} for i, r in enumerate(records)]
    )
    entries = tuple(Entry(row, r.item, r.extraction) for row, r in zip(rows.to_dict("records"), records, strict=True))
    return Study(
        {f: str(rows[f].iloc[0]) for f in COMMON},
        records[0].item.recipe,
        rows,
        rows.iloc[:0],
        entries,
        records[0].circuit.graph,
        np.stack([r.circuit.members for r in records]),
        None if records[0].circuit.score is None else np.array([r.circuit.score for r in records]),
    )


@pytest.fixture(scope="session")
def toys() -> Answers:
    return Answers.to([*effect_items(), *mechanism_items()])


@pytest.fixture(scope="session")
def toy_store(toys: Answers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Four classes, natural and typographic, and the mechanism study."""
    folder = tmp_path_factory.mktemp("store")
    fill(folder, toys)
    with open_store(folder) as opened:
        yield opened


@pytest.fixture
def store_of(tmp_path: Path) -> Iterator[Callable[[Answers], Store]]:
    """A separate store with the given answers."""
    opened: list[Store] = []

    def make(answers: Answers) -> Store:
        fill(tmp_path / "store", answers)
        opened.append(open_store(tmp_path / "store"))
        return opened[-1]

    yield make
    for one in opened:
        one.close()
