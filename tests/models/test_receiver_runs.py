"""Runs with a shifted input to one receiver against a brute-force forward, for one image and for several."""

import pytest
import torch
from circuitstore.circuits import FORMS
from circuitstore.models import ReceiverRuns, capture

from .test_patched_runs import assert_close


@pytest.mark.parametrize("changes", [{}, {"global_pool": "avg"}], ids=["class token", "average"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [1, 3])
def test_every_receiver_reads_its_shift(toy_vit, images, brute_force, form, n, changes):
    model = toy_vit(depth=2, **changes)
    graph, base = model.graph(form), capture(model, images(model, n))
    runs, brute = ReceiverRuns(model, graph, base), brute_force(model.module, graph)
    generator = torch.Generator().manual_seed(0)
    shifts = torch.randn(2, *base.stream.shape, generator=generator, dtype=torch.float64)
    for receiver in range(graph.n_receivers):
        edge = graph.offsets[receiver]  # the first that the receiver reads
        expected = [
            brute.run(base.stream, lambda e, value: value + shift if e == edge else value)[0]  # noqa: B023
            for shift in shifts
        ]
        assert_close(runs.logits(receiver, shifts), torch.stack(expected))
