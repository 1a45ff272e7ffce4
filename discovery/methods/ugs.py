"""Uniform gradient sampling: one probability per edge, trained so that the open edges keep the metric.

θ_e = σ(φ_e). The mask of an image is `1 − clamp((u − θ)/w + ½, 0, 1)`, with u uniform in (0, 1) and w = θ(1 − θ)
detached from the gradient. Its mean is θ, and the expected gradient with respect to θ is ∫ ∂loss/∂gate over the gate
from 0 to 1, however close θ is to 0 or 1. The loss is

    mean over images |m(M) − m(mask)| / gap  +  penalty · Σ_e θ_e ,   gap = mean |m(M) − m(∅)|

so an edge remains if it is worth more than `penalty` of the gap. The score is θ, in [0, 1]: it ranks edges and is
unsigned. Li & Janson 2024 use the KL divergence as loss (here: metric `kl`), without the division, and learn the value
of a closed edge; here a closed edge carries the corrupted run's value, as in every circuit. The formula of the mask is
from their code; the initial value (σ(2) = 0.88), step size and number of steps are ours.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...circuits import EdgeScores
from ...circuits.kinds import number, whole
from ..gated_images import GatedImages
from ..masks import TRAINED, MaskTraining
from ..method import Method, MethodOutput, Task

START = 2.0


def sample(theta: Float[Tensor, "*#image edge"], noise: Float[Tensor, "image edge"]) -> Float[Tensor, "image edge"]:
    """Return masks in [0, 1] from probabilities and uniform numbers."""
    window = (theta * (1 - theta)).detach().clamp_min(1e-12)
    return 1 - ((noise - theta) / window + 0.5).clamp(0, 1)


def _ugs(task: Task, *, steps: int, penalty: int | float, rate: int | float) -> MethodOutput:
    images, n_edges = GatedImages(task), task.graph.n_edges
    training = MaskTraining(task, images, {"phi": torch.full((n_edges,), START)}, rate=rate)
    training.run(
        steps,
        n_edges,
        lambda params, noise: sample(params["phi"].sigmoid(), noise),
        lambda params, masks, step: penalty * params["phi"].sigmoid().sum(),
    )
    theta = training.params["phi"].detach().sigmoid().cpu().numpy()
    trace = {"losses": training.losses, "expected_edges": float(theta.sum())}
    return MethodOutput(task.graph, EdgeScores(task.graph, theta, additive=False, signed=False), trace=trace)


UGS = Method(
    key="ugs",
    name="Uniform gradient sampling: learned edge probabilities",
    source="Li & Janson 2024, arXiv 2409.09951",
    function=_ugs,
    passes=lambda graph, steps, penalty, rate: (2 + steps, steps),
    params={
        "steps": whole(300),
        "penalty": number(1e-3, "a nonnegative number, in gaps per edge", lambda v: v >= 0),
        "rate": number(0.1, "a number above 0", lambda v: v > 0),
    },
    signed=False,
    additive=False,
    lacks=TRAINED,
)
