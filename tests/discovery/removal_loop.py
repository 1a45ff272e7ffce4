"""Sequential patching as a loop that removes one edge at a time and recomputes everything."""

from __future__ import annotations

import numpy as np
import torch
from circuitstore.evaluation import METRICS, ImagePairs
from circuitstore.evaluation.metrics import MetricInput

from ..reference import LABELS


def loop(brute, streams, graph, metric, removes, *, first_first=False):
    """Return members, effects in flat edge order, and the margin of the closest decision."""
    members, effects = np.ones(graph.n_edges, bool), np.zeros(graph.n_edges)
    current, margin = metric(brute.masked(*streams, members)).mean(), np.inf
    for receiver in reversed(range(graph.n_receivers)):
        edges = np.flatnonzero(graph.edge_receiver == receiver)
        for edge in edges if first_first else edges[::-1]:
            members[edge] = False
            value = metric(brute.masked(*streams, members)).mean()
            effects[edge] = current - value
            goes, distance = removes(float(current - value))
            margin = min(margin, distance)
            if goes:
                current = value
            else:
                members[edge] = True
    return members, effects, margin


def absolute(threshold):
    return lambda loss: (abs(loss) < threshold, abs(abs(loss) - threshold))


def signed(threshold):
    return lambda loss: (loss < threshold, abs(loss - threshold))


def values(metric, clean_logits, targets=None):
    read = MetricInput(torch.tensor(LABELS), targets, clean_logits)
    return lambda logits: METRICS[metric].values(logits, read)


def held(found, expected):
    members, effects, margin = expected
    assert margin > 1e-9, "a decision on the edge proves nothing"
    assert (found.members == members).all()
    assert np.abs(found.scores.mean - effects).max() < 1e-10
    assert 0.05 < members.mean() < 0.95


def question(model, images, metric="logit", form="attention", share=0.05):
    """Return pairs, streams, graph, metric and a threshold, as a share of the metric's gap."""
    x, y = images(model, 2, 1), images(model, 2, 2)
    read = values(metric, model.logits(x))
    gap = abs(float((read(model.logits(x)) - read(model.logits(y))).mean()))
    streams = model.embed(x), model.embed(y)
    return ImagePairs.of(model, x, y, LABELS), streams, model.graph(form), read, share * gap
