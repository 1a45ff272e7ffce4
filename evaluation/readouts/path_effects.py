"""Effects of a neuron path on an answer: the label's probability without its neurons, and with their values doubled.

    p(y | x, neurons × factor) − p(y | x)

Random neurons, as many of each layer, are the control. NeuronPath (Wang et al. 2025, arXiv 2503.09046) removes and
enhances the neurons of a path at the class token, by factors 0 and 2; see `edit_neurons`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Int

from ...circuits import Axis, Circuit, Neurons, Readout
from ...circuits.kinds import REQUIRED, Param, choice, whole
from ...circuits.recipe import Scalar
from ...errors import InputError
from ...models import Tokens, ViT, n_neurons, runs_model
from ...models.neuron_runs import Change, Values
from ..execution import DEFAULT, Execution
from ..neurons import NeuronEffects
from ..neurons.edits import changed_logits
from ..pairs import ImagePairs
from .batched import image_axis
from .kind import ReadoutKind

FACTORS = {"removed": 0, "enhanced": 2}
"""What the values of the neurons are multiplied by, by the label of the change."""


@runs_model
def path_effects(
    model: ViT, pairs: ImagePairs, path: Circuit, *, execution: Execution = DEFAULT, **params: Scalar
) -> Readout:
    """Measure what removal and enhancement of a neuron path do to the probability of the label, image by image.

    Args:
        path: the path of a class, a circuit over the neurons of the model.
        execution: batch size and progress; progress counts images, of one change after the other.
        **params: `tokens` says where the neurons are changed (`class`, `patches` or `all`); `draws` is the number of
            draws of random neurons, and `seed` their seed.

    Returns:
        Changes of the label's probability `[image, neurons, change]`: of the neurons of the `path` and of `random` ones
        (mean over the draws), `removed` and `enhanced`. Negative: the change lowers the probability.

    Raises:
        InputError: a circuit over other nodes, or of other numbers of neurons per layer; an unknown parameter or value;
            pairs that do not fit; a class token that the model does not have.

    Examples:
        >>> from circuitstore.circuits import Neurons
        >>> neurons = Neurons(model.n_layers, 256)
        >>> path = cs.Circuit.from_edges(neurons, ["m0.n1->m1", "m1.n2->m2", "m2.n3->m3", "m3.n4->logits"])
        >>> found = path_effects(model, pairs, path, draws=1)
        >>> found.axis("neurons").labels, found.axis("change").labels, len(found.axis("image").labels)
        (('path', 'random'), ('removed', 'enhanced'), 8)
    """
    use = PATH_EFFECTS.use(**{"circuit": path.extraction, **params})
    values: dict[str, Any] = dict(use.params)
    return _path_effects(model, pairs, execution=execution, members=path, **values)


def _path_effects(
    model: ViT,
    pairs: ImagePairs,
    *,
    execution: Execution,
    members: Circuit,
    circuit: str,
    tokens: Tokens,
    draws: int,
    seed: int,
) -> Readout:
    path = path_neurons(model, members)
    rng, width = np.random.default_rng(seed), n_neurons(model)
    drawn = [
        np.stack([rng.choice(np.setdiff1d(np.arange(width), own), len(own), replace=False) for own in path])
        for _ in range(draws)
    ]
    changes = [_scaled(neurons, factor) for neurons in (path, *drawn) for factor in FACTORS.values()]
    before, *after = changed_logits(model, pairs.clean, tokens, [None, *changes], execution)
    labels = pairs.labels.cpu().numpy()
    effects = (NeuronEffects("", labels, before, logits) for logits in after)
    found = np.stack([e.probability_after - e.probability_before for e in effects], axis=1)
    found = found.reshape(len(pairs), 1 + draws, len(FACTORS))
    values = np.stack([found[:, 0], found[:, 1:].mean(axis=1)], axis=1)
    axes = (image_axis(len(pairs)), Axis("neurons", ("path", "random")), Axis("change", tuple(FACTORS)))
    use = PATH_EFFECTS.use(circuit=circuit, tokens=tokens, draws=draws, seed=seed)
    return Readout(use, axes, values, unit="change of the label's probability")


def path_neurons(model: ViT, path: Circuit) -> Int[np.ndarray, "layer k"]:
    """Return the neurons of each layer of a path.

    Raises:
        InputError: a circuit over other nodes than the neurons of the model, or of other numbers per layer.
    """
    expected = Neurons(model.n_layers, n_neurons(model))
    if path.universe != expected:
        raise InputError(f"path: expected a circuit over the {expected.text} of {model.name}, got {path.universe.text}")
    members = path.members.reshape(expected.n_layers, expected.width)
    counts = members.sum(axis=1)
    if counts.min() != counts.max() or not 0 < counts[0] <= expected.width // 2:
        raise InputError(
            f"path: expected the same number of neurons in each layer, from 1 to {expected.width // 2}, got "
            f"{', '.join(map(str, counts))}"
        )
    return np.stack([np.flatnonzero(layer) for layer in members])


def _scaled(neurons: Int[np.ndarray, "layer k"], factor: int) -> Callable[[slice], Change]:
    """Return the change, the same for all images, that multiplies the values of neurons."""

    def change(layer: int, values: Values) -> Values:
        scaled = values.clone()
        scaled[:, :, neurons[layer]] *= factor
        return scaled

    return lambda images: change


PATH_EFFECTS = ReadoutKind(
    key="path-effects",
    name="What removal and enhancement of a class's neuron path do to the probability of the label",
    source="Wang et al. 2025, arXiv 2503.09046 (NeuronPath)",
    function=_path_effects,
    passes=lambda model, circuit, tokens, draws, seed: (1 + 2 * (1 + draws), 0),
    numbers=lambda model, **params: 4,
    params={
        "circuit": Param.accepting(REQUIRED, "the name of a path", lambda value: isinstance(value, str)),
        "tokens": choice("class", "patches", "all"),
        "draws": whole(5),
        "seed": whole(0, 0),
    },
    about="path",
)
