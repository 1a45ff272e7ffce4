"""Perturbation: how much the logits of the model, of a circuit and of its complement change under noise.

    ‖f(x + s ε) − f(x)‖ / ‖f(x)‖

ε is normal in pixels of [0, 1] and depends on the image, the sample and the seed only; it is the same at all strengths
s. For small s the change is linear in s. Edges outside a circuit carry the values of the corrupted image, which has no
noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...circuits import Axis, Circuit, Readout
from ...circuits.kinds import is_number, is_whole, whole
from ...errors import InputError
from ...models import PatchedRuns, ViT, runs_model
from ..evaluate import check_graph
from ..execution import DEFAULT, Execution
from ..measured import MeasuredPairs, check_pairs
from ..pairs import ImagePairs
from ..reference import reference
from .batched import image_axis, read_pairs
from .draws import image_rngs
from .kind import ReadoutKind
from .pixel_gradients import scaled

Images = Float[Tensor, "image channel height width"]
Logits = Callable[[Images], Float[Tensor, "image class"]]
Strengths = Sequence[int | float]

STRENGTHS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


@runs_model
def perturbation(
    model: ViT,
    pairs: ImagePairs,
    circuit: Circuit | None = None,
    *,
    strengths: Strengths = STRENGTHS,
    samples: int = 4,
    seed: int = 0,
    execution: Execution = DEFAULT,
) -> Readout:
    """Measure how much logits change under noise on the pixels.

    Args:
        circuit: a circuit, to measure it and its complement (all other edges of the graph) in addition to the model.
        strengths: standard deviations of the noise, in pixels of [0, 1].
        samples: number of draws of the noise for each image.
        seed: seed of the noise.
        execution: batch size and progress; progress counts images.

    Returns:
        Relative changes `[image, run, strength, sample]`, with the runs `model`, `circuit` and `complement`.

    Raises:
        InputError: strengths that are not different numbers of at least 0, no samples, pairs that do not fit, or a
            circuit of another graph.

    Examples:
        >>> found = perturbation(model, pairs, circuit, strengths=[0.0, 0.1])
        >>> found.axis("run").labels, float(found.select(strength="0").values.max())
        (('model', 'circuit', 'complement'), 0.0)
    """
    check_pairs(model, pairs)
    _check(strengths, samples)
    if circuit is not None:
        check_graph(model, circuit)

    def changes(batch: ImagePairs) -> Float[Tensor, "image run strength sample"]:
        noise = _noise(model, batch, samples, seed)
        found = [_changes(logits, model, batch.clean, noise, strengths) for logits in _runs(model, batch, circuit)]
        return torch.stack(found, dim=1)

    axes = (
        Axis("run", ("model",) if circuit is None else ("model", "circuit", "complement")),
        Axis("strength", tuple(f"{strength:g}" for strength in strengths)),
        Axis("sample", tuple(range(samples))),
    )
    use = PERTURBATION.use(samples=samples, seed=seed)
    values = read_pairs(model, pairs, changes, execution)
    return Readout(use, (image_axis(len(pairs)), *axes), values, unit="relative change of the logits")


def _check(strengths: Strengths, samples: int) -> None:
    if not strengths or not all(is_number(s) and s >= 0 for s in strengths):
        raise InputError(f"strengths: expected numbers of at least 0, got {list(strengths)!r}")
    if not is_whole(samples) or samples < 1:
        raise InputError(f"samples: expected a whole number of at least 1, got {samples!r}")


def _noise(model: ViT, batch: ImagePairs, samples: int, seed: int) -> Float[Tensor, "sample image 3 height width"]:
    """Return the noise in normalised pixels at strength 1."""
    shape = (samples, *batch.clean.shape[1:])
    drawn = np.stack([rng.standard_normal(shape) for rng in image_rngs(batch, seed, "perturbation")], axis=1)
    std = scaled(model, tuple(model.preprocess.std))
    return torch.from_numpy(drawn).to(std) / std


def _runs(model: ViT, batch: ImagePairs, circuit: Circuit | None) -> Iterator[Logits]:
    """Yield functions from images to logits: of the model, and of a circuit and its complement."""
    yield model.logits
    if circuit is not None:
        corrupted = reference(model, batch)
        for members in (circuit.members, ~circuit.members):
            yield lambda images, members=members: PatchedRuns(model, model.embed(images), corrupted).logits(
                circuit.graph, members
            )


def _changes(
    logits: Logits, model: ViT, clean: Images, noise: Float[Tensor, "sample image ..."], strengths: Strengths
) -> Float[Tensor, "image strength sample"]:
    clean, norms = clean.to(noise), []
    base = logits(clean).to(model.exact_dtype)
    for strength in strengths:
        moved = [logits(clean + strength * one).to(model.exact_dtype) - base for one in noise]
        norms.append(torch.stack(moved, dim=1).norm(dim=2))
    return torch.stack(norms, dim=1) / base.norm(dim=1)[:, None, None]


def _of_model(model: ViT, pairs: MeasuredPairs, *, execution: Execution, samples: int, seed: int) -> Readout:
    return perturbation(model, pairs, samples=samples, seed=seed, execution=execution)


PERTURBATION = ReadoutKind(
    key="perturbation",
    name="Relative change of the logits under noise of several strengths on the pixels",
    function=_of_model,
    passes=lambda model, samples, seed: (1 + samples * len(STRENGTHS), 0),
    numbers=lambda model, samples, seed: samples * len(STRENGTHS),
    params={"samples": whole(4), "seed": whole(0, 0)},
)
