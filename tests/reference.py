"""Reference scores: autograd on a plain forward with a gate on every edge, and one general run per edge."""

from __future__ import annotations

import numpy as np
import torch
from circuitstore.models import CLEAN, CURRENT, PatchedRuns, capture
from timm.models.deit import VisionTransformerDistilled
from torch import nn

VARIANTS = {
    "plain": {},
    "LayerScale": {"init_values": 0.1},
    "q and k norm": {"qk_norm": True},
    "no qkv bias": {"qkv_bias": False},
    "register tokens": {"reg_tokens": 2},
    "distillation token": {"factory": VisionTransformerDistilled},
    "norm_pre": {"pre_norm": True},
    "average pooling, fc_norm": {"global_pool": "avg"},
    "map pooling": {"global_pool": "map", "class_token": False},
    "RMSNorm": {"norm_layer": "rmsnorm"},
    "no norms at all": {"norm_layer": nn.Identity},
}
LABELS = [1, 3]


def blind(module):
    """Return the module without weights for the first channel."""
    with torch.no_grad():
        module.patch_embed.proj.weight[:, 0] = 0
    return module


def unseen(images):
    """Return the images, changed only in the channel that `blind` modules ignore."""
    changed = images.clone()
    changed[:, 0] += 1
    return changed


def logit(labels):
    return lambda logits: logits[torch.arange(len(labels)), labels]


def relative(found, expected, of=None):
    """Return the largest difference relative to the largest magnitude in `of`, by default the expected values.

    Pass as `of` the values whose difference was taken.
    """
    return np.abs(found - expected).max() / np.abs(expected if of is None else of).max()


def logits_of(model, *images):
    """Return the logits on all images: the values whose differences are effects."""
    return np.concatenate([model.logits(x).numpy() for x in images])


def points(steps, rule):
    """Return where gradients are taken, from 0 (corrupted) to 1 (clean)."""
    return [(k + {"left": 0, "midpoint": 0.5, "right": 1}[rule]) / steps for k in range(steps)]


class Gates:
    """∂m/∂gate of every edge, where `carried(e, value, gate)` returns what an edge carries."""

    def __init__(self, brute, x, y):
        self.brute, self.graph, self.x, self.y = brute, brute.graph, x, y
        (_, self.new), (_, self.old) = (brute.run(stream, lambda _, value: value) for stream in (x, y))
        self.new, self.old = ([sent.detach() for sent in run] for run in (self.new, self.old))
        self.moved = [new - old for new, old in zip(self.new, self.old, strict=True)]

    def gradient(self, stream, carried, at=0.0):
        gates = torch.full((len(stream), self.graph.n_edges), at, dtype=stream.dtype, requires_grad=True)
        logits, _ = self.brute.run(stream, lambda e, value: carried(e, value, gates[:, e, None, None]))
        return torch.autograd.grad(logit(LABELS)(logits).sum(), gates)[0].numpy()

    def conductance(self, steps):
        total, sender = 0.0, self.graph.edge_sender
        for k in range(steps):
            between = [torch.lerp(self.y, self.x, (k + part) / steps) for part in (0, 0.5, 1)]
            (_, before), (_, after) = (self.brute.run(between[i], lambda _, value: value) for i in (0, 2))
            moved = [(new - old).detach() for new, old in zip(after, before, strict=True)]
            total = total + self.gradient(between[1], lambda e, v, gate: v + gate * moved[sender[e]])  # noqa: B023
        return total

    def gate_ig(self, steps):
        old, sender = self.old, self.graph.edge_sender
        mixed = lambda e, v, gate: old[sender[e]] + gate * (v - old[sender[e]])  # noqa: E731
        return sum(self.gradient(self.x, mixed, at) for at in points(steps, "midpoint")) / steps

    def groups(self, separate_heads):
        """Yield the senders that move together."""
        per_layer = (self.graph.n_senders - 1) // self.graph.n_layers
        yield [0]
        for first in range(1, self.graph.n_senders, per_layer):
            heads = list(range(first, first + per_layer - 1))
            yield from [[head] for head in heads] if separate_heads else [heads]
            yield [first + per_layer - 1]

    def with_moved(self, stream, group, point):
        """Return gradients with the group's outputs at a point; gates weigh every sender's difference."""

        def carried(e, value, gate):
            sender = self.graph.edge_sender[e]
            fixed = self.old[sender] + point * self.moved[sender]
            return (fixed if sender in group else value) + gate * self.moved[sender]

        return self.gradient(stream, carried)

    def own_node(self, steps, separate_heads=False, direction="noising"):
        total = np.zeros((len(self.x), self.graph.n_edges))
        for group in self.groups(separate_heads):
            own = np.isin(self.graph.edge_sender, group)
            for point in points(steps, "midpoint"):
                found = self.with_moved(self.x if direction == "noising" else self.y, group, point)
                total[:, own] += found[:, own] / steps
        return total

    def as_coded(self, steps):
        groups = list(self.groups(False))
        runs = [self.with_moved(self.x, group, point) for group in groups for point in points(steps, "right")]
        return sum(runs) / len(runs)

    def expected(self, method, steps):
        if method.startswith("eap-ig-activations") and not method.endswith("coded"):
            return self.own_node(steps, method.endswith("heads"))
        return {"conductance": self.conductance, "gate-ig": self.gate_ig}.get(method, self.as_coded)(steps)


def one_by_one(model, form, x, y, direction):
    """Return some edges, and their scores per image from one general run each."""
    graph, clean, corrupted = model.graph(form), capture(model, x), capture(model, y)
    scores, edges = [], np.random.default_rng(0).choice(graph.n_edges, 16, replace=False)
    for edge in edges:
        if direction == "noising":
            logits = PatchedRuns(model, clean.stream, corrupted).logits(graph, np.arange(graph.n_edges) != edge)
            scores.append(logit(LABELS)(clean.logits) - logit(LABELS)(logits))
        else:
            carries = np.full(graph.n_edges, CURRENT)
            carries[edge] = CLEAN
            logits = PatchedRuns(model, corrupted.stream, corrupted, clean).logits(graph, carries)
            scores.append(logit(LABELS)(logits) - logit(LABELS)(corrupted.logits))
    return edges, torch.stack(scores, dim=1).numpy()
