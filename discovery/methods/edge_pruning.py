"""Edge pruning: hard-concrete gates on edges and senders, trained to a target number of edges.

A gate is `z = clamp(s (ζ − γ) + γ, 0, 1)`, `s = σ((log u − log(1 − u) + log α) / β)`, with u uniform in (0, 1), γ =
−0.1, ζ = 1.1, β = 2/3. It is exactly 0 or 1 with positive probability. The mask of an edge is its own gate times that
of its sender (`input` has none). With S the share of edges that the masks close, the objective is

    mean over images |m(M) − m(mask)| / gap  +  λ₁ (S − t) + λ₂ (S − t)² ,   gap = mean |m(M) − m(∅)|

minimised over the gates and maximised over λ₁ and λ₂. The target t increases linearly from 0 to 1 − `keep` over the
first five sixths of the steps. Then the `keep` share of edges with the largest noiseless mask, `σ(0.8 log α / β)` of
both gates, is selected. This mask is the score, in [0, 1] and unsigned.

Constants are from the code of Bhaskar et al. 2024. Differences: they use the KL divergence as loss (here: metric `kl`),
without the division; they give senders a separate target, while S counts both gates here; they start at log α = 10,
here it is 3, so fewer steps are enough; they choose the threshold that reproduces the mean mask, which approximates the
target, while the target is met exactly here.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...circuits import ComputationGraph, EdgeScores
from ...circuits.kinds import number, whole
from ..gated_images import GatedImages
from ..masks import TRAINED, MaskTraining, Params
from ..method import Method, MethodOutput, Task

LEFT, RIGHT, TEMPERATURE, SHARPNESS = -0.1, 1.1, 2 / 3, 0.8
START = 3.0
WARM_UP = 5 / 6
"""Share of the steps over which the target increases."""


def sample(log_alpha: Float[Tensor, "gate"], noise: Float[Tensor, "image gate"]) -> Float[Tensor, "image gate"]:
    """Return hard-concrete gates from uniform numbers."""
    s = ((noise.logit() + log_alpha) / TEMPERATURE).sigmoid()
    return (s * (RIGHT - LEFT) + LEFT).clamp(0, 1)


def open_probability(log_alpha: Float[Tensor, "gate"]) -> Float[Tensor, "gate"]:
    """Return P(z > 0)."""
    return (log_alpha - TEMPERATURE * math.log(-LEFT / RIGHT)).sigmoid()


def noiseless(log_alpha: Float[Tensor, "gate"]) -> Float[Tensor, "gate"]:
    """Return the value of a trained gate without noise."""
    return (SHARPNESS * log_alpha / TEMPERATURE).sigmoid()


class _Gates:
    """Gates of edges, then of all senders but `input`, and the masks that they form."""

    def __init__(self, graph: ComputationGraph, keep: float, steps: int) -> None:
        self.n_edges, self.n_gates = graph.n_edges, graph.n_edges + graph.n_senders - 1
        self.sender = torch.from_numpy(graph.edge_sender)
        self.keep, self.warm_up = keep, max(1, round(WARM_UP * steps))

    def masks(self, gates: Float[Tensor, "*image gate"]) -> Float[Tensor, "*image edge"]:
        edges, senders = gates[..., : self.n_edges], gates[..., self.n_edges :]
        always = torch.ones_like(senders[..., :1])
        return edges * torch.cat([always, senders], dim=-1)[..., self.sender.to(gates.device)]

    def drawn(self, params: Params, noise: Float[Tensor, "image gate"]) -> Float[Tensor, "image edge"]:
        return self.masks(sample(params["log_alpha"], noise))

    def price(self, params: Params, masks: Float[Tensor, "image edge"], step: int) -> Tensor:
        target = (1 - self.keep) * min(1.0, step / self.warm_up)
        over = 1 - masks.mean() - target
        return params["linear"] * over + params["square"] * over.square()


def _edge_pruning(task: Task, *, keep: int | float, steps: int, rate: int | float) -> MethodOutput:
    images, graph = GatedImages(task), task.graph
    gates = _Gates(graph, keep, steps)
    start = {"log_alpha": torch.full((gates.n_gates,), START), "linear": torch.zeros(()), "square": torch.zeros(())}
    training = MaskTraining(task, images, start, rate=rate, ascend=("linear", "square"))
    training.run(steps, gates.n_gates, gates.drawn, gates.price)
    log_alpha = training.params["log_alpha"].detach()
    mask = gates.masks(noiseless(log_alpha)).cpu().numpy()
    kept = max(1, round(keep * graph.n_edges))
    members = np.zeros(graph.n_edges, bool)
    members[np.argsort(-mask, kind="stable")[:kept]] = True
    trace = {
        "losses": training.losses,
        "expected_edges": float(gates.masks(open_probability(log_alpha)).sum()),
        "edges": kept,
        "edges_pruned": int(graph.prune(members).sum()),
    }
    return MethodOutput(graph, EdgeScores(graph, mask, additive=False, signed=False), members, trace)


EDGE_PRUNING = Method(
    key="edge-pruning",
    name="Edge pruning: hard-concrete gates trained to a number of edges",
    source="Bhaskar, Wettig, Friedman & Chen 2024, arXiv 2406.16778",
    function=_edge_pruning,
    passes=lambda graph, keep, steps, rate: (2 + steps, steps),
    params={
        "keep": number(0.05, "a share of edges in (0, 1]", lambda v: 0 < v <= 1),
        "steps": whole(400),
        "rate": number(0.1, "a number above 0", lambda v: v > 0),
    },
    signed=False,
    additive=False,
    selects=True,
    lacks=TRAINED,
)
