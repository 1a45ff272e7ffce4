"""A small store with everything that the explorer shows, and the explorer on it, served for a real browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from circuitstore.circuits import (
    Axis,
    CircuitRecord,
    Discovery,
    ExampleImages,
    Extraction,
    Fit,
    FitUse,
    MethodUse,
    Readout,
    ReadoutRecord,
    WorkItem,
    readout_use,
)
from circuitstore.query import add_note
from circuitstore.store import create_store, open_store
from circuitstore.testing.factories import (
    make_discovery,
    make_examples,
    make_item,
    make_record,
    readout_item,
    with_responses,
)

SPEC = 'name = "toys"\nmodel = "toy"\n[images]\nsource = "digits"\nper_class = 8\n'
HOSTILE = '<img src=x onerror="alert(1)">'
"""Name of a class, which pages must show as text."""

NOTE = f"The word is read here: {HOSTILE}"

CLASSES = ("three", "eight", "مرحبا", HOSTILE)
CONDITIONS = ("natural", "typographic")
SHAPE = {"n_layers": 3, "n_heads": 2}
LAYERS, HEADS, TOKENS = Axis("layer", (0, 1, 2)), Axis("head", (0, 1)), Axis("token", tuple(range(7)))
"""Tokens: a prefix token, and two rows of three patches."""


def items() -> list[WorkItem]:
    """Return a question for each class and condition."""
    found = []
    for index, name in enumerate(CLASSES):
        for attack in CONDITIONS:
            item = make_item(0, class_index=index, attack=attack, **SHAPE)
            found.append(replace(item, target_class=replace(item.target_class, name=name)))
    return found


def make_store(folder: Path) -> None:
    """Create a store with circuits, responses, example images, read-outs that are maps, flagged images, and a note."""
    asked = items()
    answers: list[tuple[Discovery, CircuitRecord]] = []
    for item in asked:
        discovery = make_discovery(0, item=item)
        answers.append((discovery, make_record(discovery, 24)))
    readouts = [
        map_of(item, examples, kind, *axes)
        for item in asked
        for examples in [make_examples(item)]
        for kind, axes in (("occlusion", (TOKENS,)), ("attention-patterns", (LAYERS, HEADS, TOKENS)))
    ]
    with create_store(folder) as store, store.writer() as writer:
        wanted = [(record.discovery_id, Extraction.of("edges", {"n": 24})) for _, record in answers]
        writer.start_run("toys", SPEC, [*asked, *(r.item for r in readouts)], wanted)
        for discovery, record in answers:
            record, responses = with_responses(record)
            writer.put(discovery, *responses, record, make_examples(discovery.item), run="toys")
        for one in readouts:
            writer.put(one, run="toys")
        writer.put(scores_of(asked[1], make_examples(asked[1])), run="toys")
    with open_store(folder) as store:
        pair = sorted(record.id for _, record in answers[:2])
        add_note(store, NOTE, about=[f"circuit:{pair[0]}", f"pair:{'..'.join(pair)}", "component:m1"], author="ada")


def map_of(item: WorkItem, examples: ExampleImages, kind: str, *axes: Axis) -> ReadoutRecord:
    """Return a read-out of the example images, with the numbers of each."""
    asked = readout_item(item)
    asked = replace(asked, recipe=replace(asked.recipe, method=MethodUse.of(kind)))
    hashes = tuple(example.hash for example in examples.examples)
    every = (Axis("image", tuple(range(len(hashes)))), *axes)
    rng = np.random.default_rng([len(kind), item.target_class.class_index])
    values = rng.normal(size=[len(axis) for axis in every])
    found = Readout(readout_use(asked), every, values)
    return ReadoutRecord.of(asked, hashes, found, per_image=True, provenance={"patches": [2, 3]})


def scores_of(item: WorkItem, examples: ExampleImages) -> Fit:
    """Return the stored scores of a detector, which flags the first example image."""
    images = tuple(example.hash for example in examples.examples)
    true = np.full(len(images), item.target_class.class_index)
    arrays = {"scores": np.linspace(3.0, 1.0, len(images)), "predicted": true, "true": true}
    arrays |= {"edges": np.zeros((len(images), 1), int), "deviations": np.full((len(images), 1), 2.5)}
    facts = {
        "detector": "ab" * 32,
        "condition": item.condition.text,
        "threshold": 2.0,
        "files": [example.file for example in examples.examples],
        "edges": ["a0.h0->m1"],
        "classes": {str(item.target_class.class_index): item.target_class.name},
    }
    use = FitUse.of("edges-deviation")
    return Fit("scores", use, item.model, item.target_class.dataset, images, arrays, facts)
