"""Faithfulness of circuits and of random circuits of the same size, also in units of the natural gap."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..circuits import NATURAL, Evaluation

_ABOUT = ("word", "target", "against", "flag")
"""Columns that are left out if no circuit has a value."""

_FIGURES = (
    *("metric_full", "metric_empty", "metric_circuit", "faithfulness", "faithfulness_random"),
    *("accuracy_full", "accuracy_circuit", "accuracy_empty", "retention"),
)


def faithfulness(circuits: pd.DataFrame) -> pd.DataFrame:
    """Return one row per circuit with size, metrics, faithfulness, that of random circuits, accuracies and retention.

    The columns are those of the catalog; `gap` and `gap_circuit` of `natural_gaps`, if a condition other than natural
    has them; and `nearer_than_random`: whether faithfulness is nearer to 1 than the mean of the random circuits,
    missing if either is missing. Faithfulness above 1 is as far from the model as the same distance below 1.
    """
    about = [name for name in _ABOUT if any(circuits[name].fillna(""))]
    table = circuits.loc[:, ["class", "condition", *about, "n_edges", "n_eval", *_FIGURES]]
    table = table.astype(dict.fromkeys(_FIGURES, float)).astype({"n_edges": int, "n_eval": int})
    own, random = ((1 - table[name]).abs() for name in ("faithfulness", "faithfulness_random"))
    nearer = (own < random).astype("boolean").mask(own.isna() | random.isna())
    table.insert(table.columns.get_loc("accuracy_full"), "nearer_than_random", nearer)
    gaps = natural_gaps(circuits)
    if gaps.loc[circuits["attack"] != NATURAL].notna().any(axis=None):
        for name, values in gaps.items():
            table.insert(table.columns.get_loc("nearer_than_random"), name, values)
    return table


def natural_gaps(circuits: pd.DataFrame) -> pd.DataFrame:
    """Return how much of the natural gap the model and each circuit keep.

    The natural gap of a class is the metric of the model on natural images − that with every edge corrupted. Under an
    attack, the gap of the model nearly vanishes, and the quotient that defines faithfulness with it.

    Args:
        circuits: circuits of one study, with the columns of the catalog.

    Returns:
        Columns `gap` and `gap_circuit`: metric of the model, and of the circuit, − metric with every edge corrupted, in
        units of the natural gap of the class; NaN if this is unknown, or too small for a faithfulness.
    """
    natural = circuits.loc[(circuits["attack"] == NATURAL) & circuits["faithfulness"].notna()]
    units = dict(zip(natural["class"], natural["metric_full"] - natural["metric_empty"], strict=True))
    unit = np.array([units.get(name, np.nan) for name in circuits["class"]], float)
    full, circuit, empty = (circuits[f"metric_{of}"].astype(float) for of in ("full", "circuit", "empty"))
    return pd.DataFrame({"gap": (full - empty) / unit, "gap_circuit": (circuit - empty) / unit})


def random_faithfulness(evaluation: Evaluation) -> list[float]:
    """Return the faithfulness of each size-matched random circuit; empty if faithfulness is undefined."""
    if evaluation.faithfulness is None:
        return []
    gap = evaluation.metric_full - evaluation.metric_empty
    return [(m - evaluation.metric_empty) / gap for m in evaluation.metric_random]
