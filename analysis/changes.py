"""The edges that the circuits of an effect study gain and lose under a condition, by class and by edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int

from ..circuits import NATURAL
from ..query import Floor, Study, SwapFloor
from ..query.similarity import mean_of_known


@dataclass(frozen=True, eq=False)
class Changes:
    """Changes of the circuits of an effect study from the natural condition to another one.

    Attributes:
        condition: the canonical text of the other condition.
        label: its short name.
        by_class: columns `class, edges_natural, edges` (sizes), `kept, gained, lost, floor, swapped_floor,
            swapped_high, jaccard, jaccard_floor`. `floor` is the number of edges that appear gained (and equally many
            lost) between halves of the natural images; `swapped_floor` and `swapped_high` are the mean and the 95 %
            quantile of those that appear gained if the two conditions of each image are swapped at random.
        by_edge: columns `edge, gained_in, lost_in` (numbers of classes), `floor` (number of classes between halves of
            the natural images), `score_natural, score` (means over classes). Only edges that changed, those that
            changed in most classes first.
    """

    condition: str
    label: str
    by_class: pd.DataFrame
    by_edge: pd.DataFrame

    @property
    def floor(self) -> float | None:
        """The mean over classes of the edges that appear gained when only the images differ."""
        return mean_of_known(self.by_class["floor"].to_numpy(float))


def changes(
    study: Study, condition: str, floors: Mapping[int, Floor], swaps: Mapping[int, SwapFloor]
) -> Changes | None:
    """Return gained and lost edges, or None if no class has a circuit under both conditions.

    Args:
        study: the study.
        condition: the canonical text of the other condition.
        floors: the known noise floors, by row.
        swaps: the known swap floors from natural to another condition, by row of the latter.
    """
    names, (before, after) = study.aligned(NATURAL, condition)
    if not names:
        return None
    was, now = study.members[before], study.members[after]
    known = [floors.get(row) for row in before.tolist()]
    swapped = [swaps.get(row) for row in after.tolist()]
    kept = (was & now).sum(axis=1)
    by_class = pd.DataFrame(
        {
            "class": names,
            "edges_natural": was.sum(axis=1),
            "edges": now.sum(axis=1),
            "kept": kept,
            "gained": (now & ~was).sum(axis=1),
            "lost": (was & ~now).sum(axis=1),
            "floor": [np.nan if f is None else f.n_changed for f in known],
            "swapped_floor": [np.nan if s is None else s.mean for s in swapped],
            "swapped_high": [np.nan if s is None else s.high for s in swapped],
            "jaccard": kept / np.maximum((was | now).sum(axis=1), 1),
            "jaccard_floor": [np.nan if f is None else f.value for f in known],
        }
    )
    return Changes(condition, study.short(condition), by_class, _by_edge(study, before, after, known))


def _by_edge(
    study: Study, before: Int[np.ndarray, "class"], after: Int[np.ndarray, "class"], floors: Sequence[Floor | None]
) -> pd.DataFrame:
    was, now = study.members[before], study.members[after]
    known = [f.changed for f in floors if f is not None and f.changed is not None]
    floor = np.mean(known, axis=0) * len(before) if known else np.full(study.universe.n_edges, np.nan)
    frame = pd.DataFrame(
        {
            "edge": study.universe.edge_names,
            "gained_in": (now & ~was).sum(axis=0),
            "lost_in": (was & ~now).sum(axis=0),
            "floor": floor,
            "score_natural": np.nan if study.scores is None else study.scores[before].mean(axis=0),
            "score": np.nan if study.scores is None else study.scores[after].mean(axis=0),
        }
    )
    frame = frame[(frame["gained_in"] > 0) | (frame["lost_in"] > 0)]
    n_classes = frame[["gained_in", "lost_in"]].max(axis=1)
    return frame.assign(_n=n_classes).sort_values("_n", ascending=False, kind="stable").drop(columns="_n")
