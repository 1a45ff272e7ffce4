"""What comes back from the archive, or from the graph, computes bit for bit what it did when it was put in."""

from pathlib import Path

import numpy as np
import pytest
import torch
from circuitstore.circuits import Circuit, CircuitRecord, Discovery, Extraction, greedy
from circuitstore.circuits.recipe import digest
from circuitstore.discovery import METHODS, discover
from circuitstore.evaluation import ImagePairs, evaluate
from circuitstore.models import PatchedRuns, capture
from circuitstore.store import create_store, open_store
from circuitstore.testing.factories import make_item

EDGES = "MATCH (:Circuit {id: $id})-[:HAS]->(:Node)-[f:FEEDS]->(:Node) RETURN f.edge AS edge"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "form", "params"),
    [("eap-ig", "split", {"steps": 2}), ("acdc", "attention", {"threshold": 0.05})],
)
@pytest.mark.filterwarnings("ignore::circuitstore.errors.CircuitStoreWarning")
def test_what_is_stored_computes_the_same(toy_vit, images, folder: Path, key, form, params):
    model = toy_vit(depth=2)
    pairs = ImagePairs.of(model, images(model, 4, 1), images(model, 4, 2), [0, 1, 2, 3])
    found = discover(model, pairs, METHODS.resolve(key, params), form=form)
    item = make_item(form=form, n_layers=2, n_heads=4)
    hashes = tuple(digest(["image", i]) for i in range(4))
    discovery = Discovery(item, found.scores.rounded(), hashes, found.members)
    circuit = greedy(discovery.scores, 30) if found.members is None else discovery.circuit
    extraction = Extraction.of("edges", {"n": 30}) if found.members is None else Extraction.of("found")
    report = ImagePairs.of(model, images(model, 6, 3), images(model, 6, 4), [0, 1, 2, 3, 4, 0])
    record = CircuitRecord(
        item=item,
        extraction=extraction,
        circuit=circuit,
        n_images=4,
        evaluation=evaluate(model, report, circuit),
    )
    with create_store(folder) as store, store.writer() as writer:
        writer.put(discovery, run="run")
        writer.put(record, run="run")

    runs = PatchedRuns(model, model.embed(report.clean), capture(model, report.corrupted))
    logits = runs.logits(circuit.graph, circuit.members)
    assert not torch.equal(logits, model.logits(report.clean))
    with open_store(folder) as store:
        there, scored = store.circuit(record.id), store.discovery(discovery.id)
        names = store.query(EDGES, {"id": record.id}).to_pandas()["edge"]
    again = greedy(scored.scores, 30) if scored.members is None else scored.circuit
    for back in (there.circuit, again, Circuit.from_edges(model.graph(form), names)):
        assert 0 < back.n_edges < back.graph.n_edges
        assert torch.equal(runs.logits(back.graph, back.members), logits)
        assert evaluate(model, report, back) == record.evaluation == there.evaluation
    assert np.array_equal(scored.scores.per_image, discovery.scores.per_image)
