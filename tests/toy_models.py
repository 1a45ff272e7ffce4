"""Stores with the circuits of a base model, a fine-tuning of it, and a control, whose scores differ as planned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from circuitstore.circuits import CircuitRecord, Discovery, EdgeScores, WorkItem, digest
from circuitstore.store import Store, open_store
from circuitstore.testing.factories import make_discovery, make_item, make_record

from .toy_studies import SHAPE, Answers, fill

IMAGES = 18
PLANTED = ("a0.h1->m0", "input->a0.h1<k>", "m2->logits")
"""Edges whose scores the fine-tuning changes much."""

SHIFT = 6.0


def of_model(item: WorkItem, name: str) -> WorkItem:
    return replace(item, model=replace(item.model, name=name, id=digest(["model", name])))


def base_discovery(class_index: int, images: int = IMAGES, **what) -> Discovery:
    item = make_item(class_index=class_index, **{**SHAPE, **what})
    return make_discovery(n_images=images, item=of_model(item, "base"))


def tuned(base: Discovery, name: str, edges: Sequence[str] = ()) -> Discovery:
    """Return the discovery of another model on the same images: all scores a little other, those of some edges much."""
    scores = base.scores
    assert scores is not None and scores.per_image is not None
    rng = np.random.default_rng([len(name), base.item.target_class.class_index])
    moved = 0.1 * rng.normal(size=scores.universe.n_edges) + 0.2 * rng.normal(size=scores.per_image.shape)
    moved[:, [scores.universe.edge_index[edge] for edge in edges]] += SHIFT
    changed = EdgeScores.from_images(scores.universe, (scores.per_image + moved).astype(np.float32)).rounded()
    return replace(base, item=of_model(base.item, name), scores=changed)


def three_models(classes: int = 3, attacks: Sequence[str] = ("natural",)) -> Answers:
    """Return a base model, `tuned`, which changes the planted edges, and `control`, which does not."""
    bases = [base_discovery(c, attack=attack) for c in range(classes) for attack in attacks]
    found = [d for b in bases for d in (b, tuned(b, "tuned", PLANTED), tuned(b, "control"))]
    return Answers(found, [make_record(d, 24) for d in found])


def fill_models(folder: Path, answers: Answers | None = None) -> None:
    fill(folder, answers or three_models(), "models")


def record_of(answers: Answers, model: str, class_index: int = 0, attack: str = "natural") -> CircuitRecord:
    (record,) = answers.of(model=model, class_index=class_index, attack=attack)
    return record


@pytest.fixture(scope="session")
def model_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Three classes of a base model, a fine-tuning and a control, natural only."""
    folder = tmp_path_factory.mktemp("models")
    fill_models(folder)
    with open_store(folder) as opened:
        yield opened
