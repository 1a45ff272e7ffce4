"""The similarity of all pairs of some circuits, with noise floors and chance levels."""

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
    """A square matrix with the similarity of all pairs of some circuits.

    Attributes:
        labels: the names of rows and columns: classes, conditions …
        measure: the measure of similarity.
        values: the measure of each pair.
        chance: the chance level for circuits of the sizes of each pair; NaN where it is unknown.
        floors: the noise floor of each pair, and on the diagonal of each circuit; NaN where it is unknown.
        facts: what the circuits have in common, means over all pairs, seconds.
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
        """The mean noise floor of the circuits; None if none is known."""
        return mean_of_known(self.floors.diagonal())

    @property
    def chance_level(self) -> float | None:
        """The mean chance level of the pairs; None if none is known."""
        return mean_of_known(self.chance[np.triu_indices(len(self.labels), 1)])

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Each pair once, in the order of the matrix; columns `a`, `b`, the measure, `noise_floor` and `chance`."""
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
        """The pairs sorted by similarity above chance, (measure − chance) / (1 − chance), the highest first.

        Without this correction large circuits come first, because they share most edges by chance.
        """
        above = (self.pairs[self.measure.column] - self.pairs["chance"]) / np.maximum(1 - self.pairs["chance"], 1e-9)
        return self.pairs.iloc[np.argsort(-above.to_numpy(), kind="stable")].reset_index(drop=True)

    def to_pandas(self) -> pd.DataFrame:
        """Return the matrix, with labels on rows and columns."""
        return pd.DataFrame(self.values, index=list(self.labels), columns=list(self.labels))

    def to_parquet(self, path: str | Path) -> None:
        write_whole(path, parquet(self.to_pandas(), index=True))

    def _repr_html_(self) -> str:
        return Table(self.to_pandas().reset_index(names=""), self.notes)._repr_html_()


def floors_of_pairs(own: Float[np.ndarray, "circuit"], coarseness: Sequence[int] | None = None) -> Matrix:
    """Return the noise floor of each pair: the mean of the two circuits' noise floors, or the one that is known.

    Args:
        own: the noise floor of each circuit; NaN where it is unknown.
        coarseness: of the form of each circuit, if forms differ. Two circuits are compared in the coarser form, with
            the noise floor of the circuit of that form.
    """
    both = np.stack(np.broadcast_arrays(own[:, None], own[None, :]))
    form = np.zeros(len(own)) if coarseness is None else np.array(coarseness)
    finer = np.stack([form[:, None] < form[None, :], form[:, None] > form[None, :]])
    known = ~np.isnan(both) & ~finer
    total = np.where(known, both, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def mean_of_known(values: Float[np.ndarray, "value"]) -> float | None:
    """Return the mean of the values that are not NaN, or None if all are."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
