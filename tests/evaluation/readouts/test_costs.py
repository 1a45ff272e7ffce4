"""The passes that a kind of read-out declares, compared with the counted ones of every MLP, by images."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from circuitstore.circuits import Circuit, Neurons, random_circuit
from circuitstore.evaluation import READOUTS, Execution, ImagePairs, measure
from circuitstore.models import n_neurons

SHORT = {
    "integrated-gradients": {"steps": 3},
    "rise": {"masks": 7},
    "smoothgrad": {"samples": 2},
    "circuit-footprint": {"circuit": "random", "steps": 3},
    "path-effects": {"circuit": "first", "draws": 2},
}
PATCHED = ("stream-patching", "head-patching", "head-pairs")
"""Kinds that continue runs from where they patch, in the last block only at the tokens that are read."""


@pytest.mark.filterwarnings("ignore::circuitstore.errors.CircuitStoreWarning")
@pytest.mark.parametrize("key", READOUTS)
def test_the_cost_equals_the_counted_passes(toy_vit, images, key):
    model, counts = toy_vit(), Counter()
    pairs = measure(model, ImagePairs.of(model, images(model, 4, 1), images(model, 4, 2), [0, 1, 3, 2]), "logit")

    def count(_, args, out):
        share = args[0].numel() / (model.n_tokens * model.d_model * model.n_layers * len(pairs))
        counts["forward"] += share
        if out.requires_grad:
            out.register_hook(lambda _: counts.update(backward=share))

    width = n_neurons(model)
    first = Circuit(Neurons(model.n_layers, width), np.arange(model.n_layers * width) % width == 0)
    circuits = {None: None, "circuit": random_circuit(model.graph("split"), 9, seed=1), "path": first}
    kind = READOUTS[key]
    use = kind.use(**SHORT.get(key, {}))
    hooks = [block.mlp.register_forward_hook(count) for block in model.blocks]
    try:
        kind.read(model, pairs, use, Execution(batch_size=8), circuits[kind.about])
    finally:
        for hook in hooks:
            hook.remove()
    forwards, backwards = kind.passes(model, **dict(use.params))
    if key in PATCHED:
        assert forwards / 2 < counts["forward"] <= forwards and not counts["backward"]
    else:
        assert (counts["forward"], counts["backward"]) == pytest.approx((forwards, backwards))
