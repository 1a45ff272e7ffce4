"""Faithfulness of circuits, and of random circuits of the same size."""

from __future__ import annotations

import pandas as pd

from ..circuits import Evaluation

_ABOUT = ("word", "target", "against", "flag")
"""Columns that are left out if no circuit has a value."""

_FIGURES = (
    *("metric_full", "metric_empty", "metric_circuit", "faithfulness", "faithfulness_random"),
    *("accuracy_full", "accuracy_circuit", "accuracy_empty", "retention"),
)


def faithfulness(circuits: pd.DataFrame) -> pd.DataFrame:
    """Return one row per circuit with size, metrics, faithfulness, that of random circuits, accuracies and retention.

    The columns are those of the catalog, and `nearer_than_random`: whether faithfulness is nearer to 1 than the mean of
    the random circuits, missing if either is missing. Faithfulness above 1 is as far from the model as the same
    distance below 1.
    """
    about = [name for name in _ABOUT if any(circuits[name].fillna(""))]
    table = circuits.loc[:, ["class", "condition", *about, "n_edges", "n_eval", *_FIGURES]]
    table = table.astype(dict.fromkeys(_FIGURES, float)).astype({"n_edges": int, "n_eval": int})
    own, random = ((1 - table[name]).abs() for name in ("faithfulness", "faithfulness_random"))
    nearer = (own < random).astype("boolean").mask(own.isna() | random.isna())
    table.insert(table.columns.get_loc("accuracy_full"), "nearer_than_random", nearer)
    return table


def random_faithfulness(evaluation: Evaluation) -> list[float]:
    """Return the faithfulness of each size-matched random circuit; empty if faithfulness is undefined."""
    if evaluation.faithfulness is None:
        return []
    gap = evaluation.metric_full - evaluation.metric_empty
    return [(m - evaluation.metric_empty) / gap for m in evaluation.metric_random]
