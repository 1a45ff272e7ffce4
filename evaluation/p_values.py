"""Tests of hypotheses about a circuit (Shi et al. 2024, NeurIPS, "Hypothesis testing the circuit hypothesis").

Each function takes the figures that a study measured and gives a p-value: how likely figures as extreme are if the
null hypothesis held. Metrics are per image and continuous (logits): ties, as 0 or 1 scores have, make the equivalence
test meaningless and are refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy import stats
from scipy.spatial.distance import pdist, squareform

from ..errors import InputError

RIVALS = 100
"""Random circuits, or random added edges, that a circuit or an edge is held against."""
PERMUTATIONS = 1000
"""Of the independence test."""
SHARE = 0.9
"""Share of the rivals that must be beaten."""


def equivalence(
    circuit: Float[np.ndarray, "image"], model: Float[np.ndarray, "image"], *, epsilon: float = 0.1
) -> float:
    """p-value of "circuit and model score higher equally often", |P(circuit > model) − ½| < ε.

    A small p-value says that they are *not* equivalent. With k of n images on which the circuit scores higher,
    `p = Σ_{j: |j/n − ½| ≥ |k/n − ½|} C(n, j) (½+ε)^j (½−ε)^(n−j)`.

    Args:
        circuit: metric of the circuit alone, per image.
        model: metric of the full model on the same images.

    Raises:
        InputError: no images, not one figure per image, ε out of range, or images on which both are equal.
    """
    difference = _paired(circuit, model)
    if not 0 < epsilon < 0.5:
        raise InputError(f"epsilon: expected a number between 0 and 0.5, got {epsilon}")
    ties = np.flatnonzero(difference == 0)
    if len(ties):
        raise InputError(
            f"equivalence: circuit and model have the same metric on {len(ties)} of {len(difference)} images (first: "
            f"{ties[0]}), so which is higher means nothing; test a continuous metric, and a circuit that is not "
            "the whole graph"
        )
    return equivalence_of_count(int((difference > 0).sum()), len(difference), epsilon=epsilon)


def equivalence_of_count(higher: int, n: int, *, epsilon: float = 0.1) -> float:
    """`equivalence`, given on how many of `n` images the circuit scores higher."""
    counts = np.arange(n + 1)
    extreme = np.abs(counts - n / 2) >= abs(higher - n / 2)
    return float(min(1.0, stats.binom.pmf(counts[extreme], n, 0.5 + epsilon).sum()))


def independence(
    added: Float[np.ndarray, "image"],
    model: Float[np.ndarray, "image"],
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> float:
    """p-value of "what the edges outside the circuit add tells nothing of the model": HSIC with a permutation test.

    A small p-value says that the edges outside still carry what the model does. Gaussian kernels whose bandwidth is the
    median distance; the p-value is the share of permutations, the given order included, with an HSIC as large.

    Args:
        added: metric of all edges outside the circuit minus that of the empty circuit, per image. Shi et al. take the
            former only, which follows m(x'): where corrupted images are made from the clean ones, or classes are mixed,
            m(x') tells of m(x), and a circuit outside of which nothing works is rejected.
        model: metric of the full model on the same images.

    Raises:
        InputError: no images, or not one figure per image.
    """
    _paired(added, model)
    k, l = _centred(_kernel(added)), _kernel(model)  # noqa: E741
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(model)) for _ in range(permutations)]
    observed = float((k * l).sum())
    shuffled = np.array([(k * l[np.ix_(order, order)]).sum() for order in orders])
    return float((1 + (shuffled >= observed - 1e-12 * abs(observed)).sum()) / (1 + permutations))


def sufficiency(
    circuit_loss: float, random_losses: Sequence[float] | Float[np.ndarray, "rival"], *, rounding: float = 0.0
) -> float:
    """p-value of "the circuit does better than random ones of its size no more often than 9 times in 10".

    A small p-value says that it is sufficient beyond chance: with 100 rivals from 96 wins on (p = .024). A rival that
    does as well is no win (the authors' code counts it as one): a circuit that does nothing ties with all others that
    do nothing.

    Args:
        circuit_loss: how far the circuit is from the model.
        random_losses: the same of random circuits of its size.
        rounding: losses that differ by no more are equal.
    """
    return beats_random(int((circuit_loss < np.asarray(random_losses) - rounding).sum()), len(random_losses))


def partial_necessity(
    complement_loss: float, random_losses: Sequence[float] | Float[np.ndarray, "rival"], *, rounding: float = 0.0
) -> float:
    """`sufficiency` of leaving out: whether that harms more than leaving random circuits out.

    p-value of "leaving the circuit out harms more than leaving a random one out no more often than 9 times in 10". Harm
    that is only as large does not count: nothing is needed where nothing harms.

    Args:
        complement_loss: how far the model without the circuit's edges is from the model.
        random_losses: the same without random circuits of its size.
        rounding: losses that differ by no more are equal.
    """
    return beats_random(int((complement_loss > np.asarray(random_losses) + rounding).sum()), len(random_losses))


def beats_random(wins: int, n: int) -> float:
    """P(at least `wins` of `n`) where each is won with probability 0.9."""
    return float(stats.binom.sf(wins - 1, n, SHARE))


def minimality(
    effects: Float[np.ndarray, "edge"], random_effects: Float[np.ndarray, "rival"]
) -> Float[np.ndarray, "edge"]:
    """p-value, per edge of the circuit, of "leaving it out matters more than 9 in 10 random edges added to it".

    A small p-value says that the edge is *not* needed: with 100 rivals at 84 wins or fewer (p = .040). Corrected for
    the number of edges (Bonferroni).

    Args:
        effects: change of the metric (magnitude) when each edge is left out of the circuit.
        random_effects: the same of random edges, added to the circuit and left out again.
    """
    wins: Int[np.ndarray, "edge"] = (effects[:, None] > random_effects[None, :]).sum(axis=1)
    return np.minimum(1.0, stats.binom.cdf(wins, len(random_effects), SHARE) * len(effects))


def _paired(first: np.ndarray, second: np.ndarray) -> Float[np.ndarray, "image"]:
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise InputError(f"expected one figure per image of each, got shapes {first.shape} and {second.shape}")
    return first - second


def _kernel(values: Float[np.ndarray, "image"]) -> Float[np.ndarray, "image image"]:
    distance = squareform(pdist(values[:, None]))
    between = distance[np.triu_indices(len(values), 1)]
    width = float(np.median(between)) if len(between) else 0.0
    return np.exp(-(distance**2) / (2 * (width or 1.0) ** 2))


def _centred(kernel: Float[np.ndarray, "image image"]) -> Float[np.ndarray, "image image"]:
    return kernel - kernel.mean(axis=0) - kernel.mean(axis=1)[:, None] + kernel.mean()
