"""The universe of neurons: neuron paths as circuits.

All pairs of neurons of neighbouring MLPs would be 104 million edges in a ViT-B. Here a neuron feeds the next MLP, which
contains the next neurons by structural links, so there is one edge per neuron, and neurons that a circuit has in
neighbouring MLPs are connected through the MLP between them:

    m3 contains m3.n170 -> m4 contains m4.n17 -> m5 …   the last ones feed logits
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from ..errors import InputError
from .kinds import REQUIRED, whole
from .recipe import ModelInfo, UniverseUse
from .universe import Component, Edges, Universe

NEURONS = "neurons"
"""Key of the universe."""

Paths = Int[np.ndarray, "image layer k"]


@dataclass(frozen=True)
class Neurons(Universe):
    """The neurons of a model's MLPs; the edge `m3.n170->m4` is neuron 170 of the MLP `m3`, as the next MLP reads it.

    Attributes:
        n_layers: number of MLPs.
        width: number of neurons of each.
    """

    n_layers: int
    width: int

    @property
    def text(self) -> str:
        """Its name in messages."""
        return f"{self.n_layers} × {self.width} neurons"

    @property
    def all_in_graph(self) -> bool:
        """Few of the neurons are in a circuit, so a graph database has only these as components."""
        return False

    def make_components(self) -> tuple[Component, ...]:
        """Return each MLP before its neurons, then `logits`."""
        layers = [
            (
                Component(f"m{layer}", "mlp", layer),
                *(Component(f"m{layer}.n{i}", "neuron", layer, neuron=i) for i in range(self.width)),
            )
            for layer in range(self.n_layers)
        ]
        return (*(component for of_layer in layers for component in of_layer), Component("logits", "logits"))

    def make_edges(self) -> Edges:
        """Return an edge per neuron, in the order of neurons."""
        layer, neuron = np.divmod(np.arange(self.n_layers * self.width), self.width)
        rows = self.width + 1  # of a layer's components
        return Edges(layer * rows + 1 + neuron, (layer + 1) * rows, ("",) * len(layer))

    @property
    def structural_links(self) -> tuple[tuple[str, str], ...]:
        """Pairs of an MLP and a neuron that it contains."""
        return tuple((f"m{layer}", f"m{layer}.n{i}") for layer in range(self.n_layers) for i in range(self.width))

    def on_path(self, paths: Paths) -> Bool[np.ndarray, "image edge"]:
        """Return which neurons are on the path of each image.

        Raises:
            InputError: paths of another number of layers, or a neuron that does not exist.
        """
        if paths.shape[1] != self.n_layers:
            raise InputError(f"paths: expected {self.n_layers} layers, got {paths.shape[1]}")
        if paths.size and not 0 <= paths.min() <= paths.max() < self.width:
            raise InputError(f"paths: expected neurons from 0 to {self.width - 1}, got {paths.min()} to {paths.max()}")
        found = np.zeros((len(paths), self.n_layers, self.width), bool)
        np.put_along_axis(found, paths, True, axis=2)
        return found.reshape(len(paths), self.n_edges)


def neurons(width: int) -> UniverseUse:
    """Return the universe of neurons, as recipes name it.

    Args:
        width: number of neurons of each MLP.

    Examples:
        >>> neurons(256).text
        'neurons(width=256)'
    """
    return UniverseUse.of(NEURONS, {"width": width})


def make_neurons(model: ModelInfo, width: int) -> Neurons:
    """Return the universe of a model's neurons."""
    return Neurons(model.n_layers, width)


PARAMS = {"width": whole(REQUIRED)}
"""Parameters of the universe."""
