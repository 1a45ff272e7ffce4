"""The edges that carry a condition, such as an attack, in a mechanism study."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..query import Study


def carriers(study: Study, condition: str) -> pd.DataFrame:
    """Return the edges that are in the circuit of at least one class, sorted by mean score, the largest first.

    Columns: `edge`; `circuits` (the number of circuits that have it); `by_chance` (the expected number for uniform
    random circuits of these sizes); `score` (mean over classes); `error` (standard error over classes, NaN for one
    class); `positive` (the number of classes in which it scores above zero). Without scores, only the first three,
    sorted by `circuits`.
    """
    rows = study.rows(condition)
    members = study.members[rows]
    frame = pd.DataFrame(
        {
            "edge": study.universe.edge_names,
            "circuits": members.sum(axis=0),
            "by_chance": members.sum() / study.universe.n_edges,
        }
    )
    if study.scores is None:
        return frame.loc[frame["circuits"] > 0].sort_values("circuits", ascending=False, kind="stable")
    scores = study.scores[rows].astype(np.float64)
    spread = scores.std(axis=0, ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else np.nan
    frame = frame.assign(score=scores.mean(axis=0), error=spread, positive=(scores > 0).sum(axis=0))
    return frame.loc[frame["circuits"] > 0].sort_values("score", ascending=False, kind="stable")
