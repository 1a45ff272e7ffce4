"""p-values of the hypothesis tests of circuits (Shi et al. 2024, NeurIPS, "Hypothesis testing the circuit hypothesis").

Each function takes measured figures and returns the probability of figures at least as extreme under the null
hypothesis. Metrics are per image and continuous (logits). Ties, as in 0/1 scores, make the equivalence test
meaningless and raise an error.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy import special

from ..errors import InputError

DRAWS = 100
"""Number of random circuits, or random added edges, that a circuit or an edge is compared with."""
PERMUTATIONS = 1000
"""Permutations of the independence test."""
SHARE = 0.9
"""Share of the draws that must be beaten."""


def equivalence(
    circuit: Float[np.ndarray, "image"], model: Float[np.ndarray, "image"], *, epsilon: float = 0.1
) -> float:
    """Return the p-value of "circuit and model score higher equally often", |P(circuit > model) − ½| < ε.

    A small p-value means that they are *not* equivalent. If the circuit scores higher on k of n images,
    `p = Σ_{j: |j/n − ½| ≥ |k/n − ½|} C(n, j) (½+ε)^j (½−ε)^(n−j)`.

    Args:
        circuit: metric of the circuit, per image.
        model: metric of the full model on the same images.

    Raises:
        InputError: no images, not one figure per image, ε out of range, or images with equal figures.
    """
    difference = _paired(circuit, model)
    if not 0 < epsilon < 0.5:
        raise InputError(f"epsilon: expected a number between 0 and 0.5, got {epsilon}")
    ties = np.flatnonzero(difference == 0)
    if len(ties):
        raise InputError(
            f"equivalence: circuit and model have the same metric on {len(ties)} of {len(difference)} images (first: "
            f"{ties[0]}), so neither is higher; use a continuous metric, and a circuit that is not the whole graph"
        )
    return equivalence_of_count(int((difference > 0).sum()), len(difference), epsilon=epsilon)


def equivalence_of_count(higher: int, n: int, *, epsilon: float = 0.1) -> float:
    """Return the p-value of `equivalence`, given the number of the `n` images on which the circuit scores higher."""
    from scipy import stats

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
    """Return the p-value of "what the edges outside the circuit add is independent of the model".

    An HSIC permutation test. A small p-value means that the edges outside still carry what the model does. The kernels
    are Gaussian with the median distance as bandwidth. The p-value is the share of permutations, including the
    identity, with an HSIC at least as large.

    Args:
        added: metric of all edges outside the circuit minus that of the empty circuit, per image. Shi et al. use the
            former only, which follows m(x'). If corrupted images are made from the clean ones, or classes are mixed,
            m(x') depends on m(x), and a circuit would be rejected although nothing outside it works.
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
    circuit_loss: float, random_losses: Sequence[float] | Float[np.ndarray, "draw"], *, rounding: float = 0.0
) -> float:
    """Return the p-value of "the circuit beats random circuits of its size at most 9 times in 10".

    A small p-value means that the circuit is sufficient beyond chance; with 100 draws that takes at least 96 wins (p =
    .024). A tie is not a win, while the authors' code counts it as one: a circuit that does nothing ties with all other
    circuits that do nothing.

    Args:
        circuit_loss: distance of the circuit from the model.
        random_losses: distances of random circuits of its size from the model.
        rounding: losses that differ by at most this are equal.
    """
    return beats_random(int((circuit_loss < np.asarray(random_losses) - rounding).sum()), len(random_losses))


def partial_necessity(
    complement_loss: float, random_losses: Sequence[float] | Float[np.ndarray, "draw"], *, rounding: float = 0.0
) -> float:
    """Return the p-value of "removing the circuit harms more than removing a random circuit at most 9 times in 10".

    Equal harm does not count as a win: if nothing harms, nothing is necessary.

    Args:
        complement_loss: distance from the model when the circuit's edges are removed.
        random_losses: distances from the model when random circuits of its size are removed.
        rounding: losses that differ by at most this are equal.
    """
    return beats_random(int((complement_loss > np.asarray(random_losses) + rounding).sum()), len(random_losses))


def beats_random(wins: int, n: int) -> float:
    """Return P(at least `wins` of `n`) if each is won with probability 0.9."""
    return float(special.bdtrc(wins - 1, n, SHARE))


def minimality(
    effects: Float[np.ndarray, "edge"], random_effects: Float[np.ndarray, "draw"]
) -> Float[np.ndarray, "edge"]:
    """Return the p-value, per edge, of "removing it changes more than removing each of 9 in 10 random added edges".

    A small p-value means that the edge is *not* needed; with 100 draws that takes at most 84 wins (p = .040).
    Bonferroni corrected for the number of edges.

    Args:
        effects: magnitude of the change of the metric when each edge is removed from the circuit.
        random_effects: the same for random edges that were added to the circuit.
    """
    wins: Int[np.ndarray, "edge"] = (effects[:, None] > random_effects[None, :]).sum(axis=1)
    return np.minimum(1.0, special.bdtr(wins, len(random_effects), SHARE) * len(effects))


def _paired(first: np.ndarray, second: np.ndarray) -> Float[np.ndarray, "image"]:
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise InputError(f"expected one figure per image of each, got shapes {first.shape} and {second.shape}")
    return first - second


def _kernel(values: Float[np.ndarray, "image"]) -> Float[np.ndarray, "image image"]:
    distance = np.abs(values[:, None] - values)
    between = distance[np.triu_indices(len(values), 1)]
    width = float(np.median(between)) if len(between) else 0.0
    return np.exp(-(distance**2) / (2 * (width or 1.0) ** 2))


def _centred(kernel: Float[np.ndarray, "image image"]) -> Float[np.ndarray, "image image"]:
    return kernel - kernel.mean(axis=0) - kernel.mean(axis=1)[:, None] + kernel.mean()
