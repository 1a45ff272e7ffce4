"""Cross-class faithfulness: the circuit of each class of a study on the images of each class."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..query import CrossResults, Study


def cross_classes(study: Study, results: CrossResults) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each condition under which circuits were evaluated on images of other classes, with their faithfulness.

    Args:
        study: the circuits.
        results: what `cross_evaluate` returned. Only evaluations with the model, images, corruption and metric of the
            study are used.

    Yields:
        The canonical text of the condition, and a square frame: a row per circuit, a column per class of the images,
        NaN where a circuit was not evaluated, or faithfulness is undefined.
    """
    for condition in study.conditions:
        rows = study.rows(condition)
        names = study.circuits["class"].iloc[rows].to_numpy()
        entries = [study.entries[row] for row in rows.tolist()]
        values = np.array([[results.find(a, b)[0] for b in entries] for a in entries], float)
        values = values.reshape(len(names), len(names))
        if not np.isnan(values[~np.eye(len(names), dtype=bool)]).all():
            yield condition, pd.DataFrame(values, index=names, columns=names)


def nearest_on(matrix: pd.DataFrame) -> pd.Series:
    """Return the class whose circuit has the faithfulness nearest to 1 on the images of each class, by class."""
    distance = (1 - matrix).abs()
    return distance.loc[:, distance.notna().any()].idxmin()
