"""Verification of a circuit by the agreement of predictions: on which images it has the model's top class."""

from __future__ import annotations

import numpy as np

from ...circuits import Axis, Circuit, Readout, ReadoutUse
from ...models import ViT
from ..evaluate import outcomes
from ..execution import DEFAULT, Execution
from ..pairs import ImagePairs
from .batched import image_axis


def agreement(model: ViT, pairs: ImagePairs, circuit: Circuit, *, execution: Execution = DEFAULT) -> Readout:
    """Compare the predictions of a circuit with the model's, image by image.

    The complement, all other edges of the graph, and the empty circuit are compared in the same way: a circuit explains
    the predictions if it agrees and they do not.

    Args:
        circuit: the circuit.
        execution: batch size and progress; progress counts runs of all images.

    Returns:
        `[image, run]`: 1 if the run has the model's top class, else 0; the runs are `circuit`, `complement`, `empty`.

    Raises:
        InputError: a circuit of another graph than the model's, or pairs that do not fit.

    Examples:
        >>> agreement(model, pairs, circuit).mean().to_pandas()
                  run  value       std
        0     circuit ...
        1  complement ...
        2       empty ...
    """
    complement = Circuit(circuit.universe, ~circuit.members)
    full, empty, *parts = outcomes(model, pairs, [circuit, complement], execution=execution)
    same = [(run.predicted == full.predicted).double().numpy() for run in (*parts, empty)]
    axes = (image_axis(len(pairs)), Axis("run", ("circuit", "complement", "empty")))
    return Readout(ReadoutUse.of("agreement"), axes, np.stack(same, axis=1), unit="share of equal predictions")
