"""A universe other than the computation graph: some neurons of each MLP.

It is not in the registry unless a package adds it, with the entry point `circuitstore.testing.picked_neurons:PICKED`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..circuits import Component, Edges, ModelInfo, Param, Universe, UniverseKind, UniverseUse
from ..circuits.kinds import REQUIRED
from ..errors import InputError


@dataclass(frozen=True)
class PickedNeurons(Universe):
    """PickedNeurons of MLPs, with an edge from each to every neuron of the next MLP.

    Attributes:
        chosen: indices of the neurons of each MLP.
    """

    chosen: tuple[tuple[int, ...], ...]

    @property
    def text(self) -> str:
        """The neurons of each MLP, such as `neurons 5 9 | 17 | 3`."""
        return f"neurons {' | '.join(' '.join(map(str, of)) for of in self.chosen)}"

    def make_components(self) -> tuple[Component, ...]:
        """Return `m0.n5` …, in the order of MLPs."""
        return tuple(
            Component(f"m{layer}.n{neuron}", "neuron", layer, neuron=neuron)
            for layer, of in enumerate(self.chosen)
            for neuron in of
        )

    def make_edges(self) -> Edges:
        """Return the edges by receiver, then by sender."""
        layers = np.split(np.arange(len(self.components)), np.cumsum([len(of) for of in self.chosen])[:-1])
        sender = [np.tile(above, len(below)) for above, below in pairwise(layers)]
        receiver = [np.repeat(below, len(above)) for above, below in pairwise(layers)]
        return Edges(np.concatenate(sender), np.concatenate(receiver), ("",) * sum(map(len, sender)))


def _canonical(value: object) -> str:
    """Return the neurons of each MLP, sorted."""
    if not isinstance(value, str):
        raise ValueError(value)
    return " | ".join(" ".join(map(str, sorted(of))) for of in _read(value))


def _read(chosen: str) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, of.split())) for of in chosen.split("|"))


def _make(model: ModelInfo, chosen: str) -> PickedNeurons:
    layers = _read(chosen)
    if len(layers) != model.n_layers:
        raise InputError(f"chosen: expected neurons of {model.n_layers} MLPs, got those of {len(layers)}: {chosen!r}")
    return PickedNeurons(layers)


PICKED = UniverseKind(
    key="picked",
    name="some neurons of each MLP",
    params={"chosen": Param(REQUIRED, "the neurons of each MLP, such as '5 9 | 17 | 3'", _canonical)},
    make=_make,
)


def picked(chosen: str) -> UniverseUse:
    """Return the universe of some neurons, as recipes name it."""
    return UniverseUse.of(PICKED.key, {"chosen": _canonical(chosen)}, PICKED.version)
