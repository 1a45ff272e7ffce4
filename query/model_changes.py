"""What differs between the circuits of two models for one question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from ..circuits import Circuit, EdgeChanges, expected_profile_overlap
from .counterparts import Counterparts
from .entries import same_recipe_and_images
from .floors import Floor
from .groups import FIELDS
from .measures import Measure, Sample
from .similarity import mean_of_known

UNKNOWN = float("nan")


@dataclass(frozen=True, eq=False)
class ModelChange:
    """The circuits of two models for one class, condition and recipe.

    Attributes:
        pair: the circuits as the catalog lists them.
        a: the label of the base model.
        b: the label of the other model.
        measure: their similarity, of edges if the models have the same graph, else of profiles.
        circuits: the circuits, first that of the base model.
        floors: their noise floors; None where unknown.
        test: the test of every edge; None if it is not possible.
        control: the same test between the base model and the control; None without a control.
        cross: faithfulness and retention of the base model's circuit in the other model; NaN if unknown.
    """

    pair: Counterparts
    a: str
    b: str
    measure: Measure
    circuits: tuple[Circuit, Circuit]
    floors: tuple[Floor | None, Floor | None] = (None, None)
    test: EdgeChanges | None = None
    control: EdgeChanges | None = None
    cross: tuple[float, float] = (UNKNOWN, UNKNOWN)

    @property
    def by_model(self) -> bool:
        """Whether only the model differs and edges have the same names, so that edges can be called gained and lost."""
        return self.pair.same_graph and same_recipe_and_images(self.pair.base, self.pair.other)

    @property
    def gained(self) -> Bool[np.ndarray, "edge"]:
        """Edges that only the other model's circuit has; of models with the same graph."""
        before, after = self.circuits
        return after.members & ~before.members

    @property
    def lost(self) -> Bool[np.ndarray, "edge"]:
        """Edges that only the base model's circuit has; of models with the same graph."""
        before, after = self.circuits
        return before.members & ~after.members

    @property
    def changed(self) -> Bool[np.ndarray, "edge"] | None:
        """Edges whose score changed, by the test."""
        return None if self.test is None else self.test.changed()

    @property
    def beyond_control(self) -> Bool[np.ndarray, "edge"] | None:
        """Changed edges that change more than 99 % of the edges do between the base model and the control."""
        if self.test is None or self.control is None:
            return None
        return self.test.changed() & (np.abs(self.test.difference) > self.control.limit)

    @property
    def not_in_control(self) -> Bool[np.ndarray, "edge"] | None:
        """Changed edges that are not changed between the base model and the control."""
        if self.test is None or self.control is None:
            return None
        return self.test.changed() & ~self.control.changed()

    def row(self) -> dict[str, Any]:
        """Return the row of the table, without the fields that both circuits have in common."""
        before, after = self.pair.base, self.pair.other
        figures = {
            name: (before.row[column], after.row[column] - before.row[column])
            for name, column in (
                ("faithfulness", "faithfulness"),
                ("retention", "retention"),
                ("accuracy", "accuracy_full"),
            )
        }
        return {
            "a": self.a,
            "b": self.b,
            "compared": self.measure.key,
            **self._similarity(),
            **self._edges(),
            **self._tests(),
            **{k: v for name, (own, change) in figures.items() for k, v in ((name, own), (f"{name}_change", change))},
            "faithfulness_cross": self.cross[0],
            "retention_cross": self.cross[1],
            "circuit_a": before.id,
            "circuit_b": after.id,
        }

    def _similarity(self) -> dict[str, float]:
        first, second = self.circuits
        if self.measure.chance is None:
            chance = expected_profile_overlap(first, second)
        else:
            chance = self.measure.chance(first.n_edges, second.n_edges, first.universe.n_edges)
        floors = np.array([floor.value for floor in self.floors if floor is not None])
        value = self.measure.pair(Sample(first), Sample(second))
        return {"similarity": value, "noise_floor": _known(mean_of_known(floors)), "chance": chance}

    def _edges(self) -> dict[str, Any]:
        names = ("kept", "gained", "lost", "changed_floor", "beyond_floor")
        if not self.by_model:
            return dict.fromkeys(names)
        gained, lost = int(self.gained.sum()), int(self.lost.sum())
        floor = UNKNOWN if self.floors[0] is None else self.floors[0].n_changed
        kept = self.circuits[0].n_edges - lost
        return dict(zip(names, (kept, gained, lost, floor, (gained + lost) / 2 - floor), strict=True))

    def _tests(self) -> dict[str, Any]:
        found = {"changed": self.changed, "beyond_control": self.beyond_control, "not_in_control": self.not_in_control}
        counts = {name: None if edges is None else int(edges.sum()) for name, edges in found.items()}
        return {**counts, "images": None if self.test is None else min(self.test.images)}


def _known(value: float | None) -> float:
    return UNKNOWN if value is None else value


COUNTS = ("kept", "gained", "lost", "changed", "beyond_control", "not_in_control", "images")
"""Columns of whole numbers, which may be missing."""


def change_rows(changes: Sequence[ModelChange]) -> pd.DataFrame:
    """Return a row per change, with the fields in which the changes differ, their class and their condition."""
    common = [change.pair.common for change in changes]
    shown = [f for f in FIELDS if f != "model" and (f in ("class", "condition") or len({c[f] for c in common}) > 1)]
    rows = [{**{f: change.pair.common[f] for f in shown}, **change.row()} for change in changes]
    frame = pd.DataFrame(rows)
    numbers = frame.columns[frame.columns.get_loc("similarity") :].difference([*COUNTS, "circuit_a", "circuit_b"])
    return frame.astype(dict.fromkeys(COUNTS, "Int64") | dict.fromkeys(numbers, "float64"))
