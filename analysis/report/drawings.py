"""Drawings of the page: circuits, changes and carriers as graphs, as many as there is room for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from markupsafe import Markup

from ...circuits import Circuit
from ..changes import Changes
from ..study_overview import StudyOverview
from ..wording import format_number
from .numbers import numbers_of_drawing
from .tables import csv_url

MAX_CLASSES = 12
"""Maximum number of classes of a study that are drawn."""

MAX_EDGES = 80
"""Maximum number of edges in a drawing."""


@dataclass(frozen=True)
class Drawing:
    """A drawing with its title and caption, and its numbers as the `data:` URL of a CSV file."""

    id: str
    svg: Markup
    csv: str
    title: str
    caption: str


@dataclass(frozen=True)
class ClassDrawings:
    """Drawings of the circuits of one class under all conditions."""

    name: str
    pictures: Sequence[Drawing]


@dataclass
class Pictures:
    """Draws until a number of bytes is spent, so that the page of a large store stays small.

    Attributes:
        prefix: the beginning of the ids of the drawings.
        budget: the number of bytes.
        spent: the bytes that the drawings take.
        drawn: the number of drawings.
    """

    prefix: str
    budget: int
    spent: int = field(default=0, init=False)
    drawn: int = field(default=0, init=False)

    def draw(
        self,
        circuit: Circuit,
        values: Float[np.ndarray, "edge"] | None = None,
        *,
        title: str,
        caption: str,
        shared: Bool[np.ndarray, "edge"] | None = None,
        **style: Any,
    ) -> Drawing | None:
        """Return the drawing, or None if there is no room for it or the circuit's universe has no drawing."""
        if not circuit.universe.has_drawing:
            return None
        svg = circuit.draw(values, label=title, max_edges=MAX_EDGES, shared=shared, **style).svg
        csv = csv_url(numbers_of_drawing(circuit, values, MAX_EDGES, shared))
        size = len(svg) + len(csv)
        if self.spent + size > self.budget:
            return None
        self.spent += size
        self.drawn += 1
        return Drawing(f"{self.prefix}-drawing-{self.drawn}", Markup(svg), csv, title, caption)


def draw_changes(shown: StudyOverview, change: Changes, pictures: Pictures) -> Drawing | None:
    """Draw edges by the number of classes that gain them minus the number that lose them."""
    universe = shown.study.universe
    net, table = np.zeros(universe.n_edges), change.by_edge
    beyond = table.loc[table[["gained_in", "lost_in"]].max(axis=1) > table["floor"].fillna(0)]
    net[[universe.edge_index[name] for name in beyond["edge"]]] = beyond["gained_in"] - beyond["lost_in"]
    threshold = 2 if len(change.by_class) > 3 else 1
    circuit = Circuit(universe, np.abs(net) >= threshold)
    if not circuit.n_edges:
        return None
    caption = (
        "Edges for which the numbers of classes that gain and that lose them differ by at least "
        f"{threshold}, and that change in more classes than between halves of the natural images."
    )
    key = "classes that gain the edge (blue) minus classes that lose it (orange)"
    return pictures.draw(circuit, net, title=f"Edges gained and lost under {change.label}", caption=caption, key=key)


def draw_carriers(shown: StudyOverview, condition: str, table: pd.DataFrame, pictures: Pictures) -> Drawing | None:
    """Draw the edges that are in at least half of the classes' circuits, by mean score."""
    universe, circuits = shown.study.universe, len(shown.study.rows(condition))
    common = table[table["circuits"] * 2 >= circuits]
    members = np.zeros(universe.n_edges, bool)
    members[[universe.edge_index[name] for name in common["edge"]]] = True
    values = None
    if "score" in common:
        values = np.zeros(universe.n_edges)
        values[members] = common.set_index("edge")["score"].loc[list(Circuit(universe, members).edges)]
    title = f"Edges that carry {shown.study.short(condition)} in at least half of the classes"
    caption = "Width and colour show the mean score over classes."
    return pictures.draw(Circuit(universe, members), values, title=title, caption=caption) if members.any() else None


def draw_classes(shown: StudyOverview, pictures: Pictures) -> Iterator[ClassDrawings]:
    """Draw the circuits of the first classes, with one scale for all conditions of a class."""
    circuits = shown.study.circuits
    unflagged = set(circuits["class"])
    for name in [name for name in shown.study.classes if name in unflagged][:MAX_CLASSES]:
        rows = [row for row in shown.records if circuits["class"].iloc[row] == name]
        found = [_draw_row(shown, row, _scale(shown, rows), pictures) for row in rows]
        drawn = [d for d in found if d is not None]
        if not drawn:
            return
        yield ClassDrawings(name, drawn)


def _scale(shown: StudyOverview, rows: Sequence[int]) -> float | None:
    scores = shown.study.scores
    if scores is None:
        return None
    largest = [np.abs(scores[row][shown.study.members[row]]).max(initial=0) for row in rows]
    return float(max(largest, default=0)) or None


def _draw_row(shown: StudyOverview, row: int, scale: float | None, pictures: Pictures) -> Drawing | None:
    record = shown.records[row]
    item, e = record.item, record.evaluation
    title = f"{item.target_class.name}, {shown.study.short(item.condition.text)}"
    caption = f"Faithfulness {format_number(e.faithfulness if e else None)}"
    if e:
        caption += (
            f" (random circuits {format_number(e.faithfulness_random)}), accuracy of the circuit "
            f"{e.accuracy_circuit:.2f}, of the whole model {e.accuracy_full:.2f}"
        )
    caption += f"; circuit {record.id[:12]}."
    return pictures.draw(record.circuit, title=title, caption=caption, scale=scale)
