"""How alike circuits are: one square of all pairs, beside noise floor and chance level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from ..results import Exportable, Table, parquet, write_whole
from .measures import Matrix, Measure


@dataclass(frozen=True, eq=False)
class Similarity(Exportable):
    """How alike some circuits are: a square of all pairs.

    Attributes:
        labels: what the rows and columns are: classes, conditions …
        measure: what `values` are of.
        values: the measure of each pair.
        chance: what chance gives for circuits of the pair's sizes; NaN where it is not known.
        floors: noise floor of each pair, on the diagonal that of each circuit; NaN where it is not known.
        facts: what the circuits have in common, figures of the whole square, seconds.
        notes: warnings.
    """

    labels: tuple[str, ...]
    measure: Measure
    values: Matrix
    chance: Matrix
    floors: Matrix
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def noise_floor(self) -> float | None:
        """Mean noise floor of the circuits; None where none is known."""
        return mean_of_known(self.floors.diagonal())

    @property
    def chance_level(self) -> float | None:
        """Mean chance level of the pairs; None where none is known."""
        return mean_of_known(self.chance[np.triu_indices(len(self.labels), 1)])

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Each pair once, in the order of the square; columns `a, b`, the measure, `noise_floor, chance`."""
        a, b = np.triu_indices(len(self.labels), 1)
        names = np.array(self.labels, dtype=object)
        return pd.DataFrame(
            {
                "a": names[a],
                "b": names[b],
                self.measure.column: self.values[a, b],
                "noise_floor": self.floors[a, b],
                "chance": self.chance[a, b],
            }
        )

    @cached_property
    def above_chance(self) -> pd.DataFrame:
        """The pairs, most alike first by what is above chance: (measure − chance) / (1 − chance).

        Two large circuits share most edges by chance.
        """
        above = (self.pairs[self.measure.column] - self.pairs["chance"]) / np.maximum(1 - self.pairs["chance"], 1e-9)
        return self.pairs.iloc[np.argsort(-above.to_numpy(), kind="stable")].reset_index(drop=True)

    def to_pandas(self) -> pd.DataFrame:
        """Return the square, labelled on both sides."""
        return pd.DataFrame(self.values, index=list(self.labels), columns=list(self.labels))

    def to_parquet(self, path: str | Path) -> None:
        write_whole(path, parquet(self.to_pandas(), index=True))

    def _repr_html_(self) -> str:
        return Table(self.to_pandas().reset_index(names=""), self.notes)._repr_html_()


def floors_of_pairs(own: Float[np.ndarray, "circuit"], coarseness: Sequence[int] | None = None) -> Matrix:
    """Return the noise floor of each pair: the mean of both circuits', or the one that is known.

    Args:
        own: noise floor of each circuit; NaN where it is not known.
        coarseness: of each circuit's form, where forms differ: two circuits are compared in the coarser form, so that
            the noise floor is that of the circuit of this form.
    """
    both = np.stack(np.broadcast_arrays(own[:, None], own[None, :]))
    form = np.zeros(len(own)) if coarseness is None else np.array(coarseness)
    finer = np.stack([form[:, None] < form[None, :], form[:, None] > form[None, :]])
    known = ~np.isnan(both) & ~finer
    total = np.where(known, both, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def mean_of_known(values: Float[np.ndarray, "value"]) -> float | None:
    """Return the mean of the values that are not NaN; None where all are."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
