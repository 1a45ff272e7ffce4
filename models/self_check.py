"""The self-check of every load: the model is exactly the sum of its senders, as its receivers read them.

It runs in float32 on two random images, through the general code of a patched run. All edges open must give the clean
logits, all edges closed the corrupted ones, and a random mask between two equal images the plain model's. q, k and v
must follow from the folded projection of the stream.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, NotRepresentable
from .patched_runs import Activations, PatchedRuns, capture
from .vit import ViT

TOLERANCE = 1e-4


def check_model(model: ViT) -> None:
    """Check that senders and receivers reproduce the model.

    Raises:
        InputError: the logits are not finite.
        NotRepresentable: a check fails; the message says which and by how much.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, *model.image_size, generator=generator)
    plain = model.logits(images)
    check_finite(model.name, plain)
    clean, corrupted = capture(model, images), capture(model, images.flip(0))
    graph = model.graph("split")
    some = np.random.default_rng(0).random(graph.n_edges) < 0.5
    _compare(model, "blocks between embedding and read-out", clean.logits, plain)
    runs = PatchedRuns(model, clean.stream, corrupted)
    opened = runs.logits(graph, np.ones(graph.n_edges, bool))
    _compare(model, "all edges open: clean logits", opened, plain)
    closed = runs.logits(graph, np.zeros(graph.n_edges, bool))
    _compare(model, "all edges closed: corrupted logits", closed, model.logits(images.flip(0)))
    same = PatchedRuns(model, clean.stream, clean).logits(graph, some)
    _compare(model, "random mask, equal images: plain logits", same, plain)
    _check_folding(model, clean)


def check_finite(name: str, logits: Tensor) -> None:
    """Check that logits are finite.

    Raises:
        InputError: logits are NaN or infinite.
    """
    if not bool(torch.isfinite(logits).all()):
        kind = "NaN" if bool(logits.isnan().any()) else "infinite"
        raise InputError(
            f"{name}: its logits are {kind}: the weights are finite but overflow in "
            f"{str(logits.dtype).removeprefix('torch.')}; is this the right checkpoint, and complete?"
        )


def _check_folding(model: ViT, run: Activations) -> None:
    for layer, reading in enumerate(model.readings):
        normal, _ = reading.normalise(run.attention_in[layer])
        _compare(
            model,
            f"q, k, v of block {layer} from the normalised stream",
            normal @ reading.weight.flatten(0, 1).T + reading.bias.flatten(),
            run.ports[layer],
        )


def _compare(model: ViT, what: str, found: Tensor, expected: Tensor) -> None:
    error = float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
    if not error <= TOLERANCE:
        raise NotRepresentable(
            f"{model.name}: its senders and receivers do not reproduce it: {what}: relative error {error:.1e}, at most "
            f"{TOLERANCE:g} is expected; a part of the model changes the stream in a way that is not represented"
        )
