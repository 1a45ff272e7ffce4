"""Compares circuits by class, condition or another field, with noise floors and chance levels.

Reads members and scores from the archive as matrices. Raises `NotComparable` if the circuits are not comparable; notes
report other differences. Edges are called gained or lost between two models, and between two conditions of an effect
study: the images, corruption and size are the same, the metric is the logit of the true class, and only the condition
differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from ..circuits import NATURAL, study_kind
from ..circuits.similarity import overlap_p_values
from ..errors import InputError
from ..results import Table
from ..store import Store
from .entries import Entry, load, same_recipe_and_images
from .floors import left_out_of_floors
from .groups import FIELDS, Group, groups
from .matrices import Clock, Compared, add_floors, compared_group, with_floors
from .measures import Measure, get_measure
from .similarity import Similarity, mean_of_known
from .swaps import SwapFloor, affordable_swaps, read_swap_floors

Swaps = Mapping[tuple[str, str], SwapFloor]
"""Swap floors by the ids of two circuits."""


def compare(
    store: Store,
    by: str = "class",
    *,
    run: str | None = None,
    measure: str = "jaccard",
    extraction: str | None = None,
    flagged: bool = False,
    progress: bool = False,
    **equals: Any,
) -> Table:
    """Compare all pairs of circuits that differ in one field only, the most similar first within a group.

    Compares the newest answer to each question and leaves out flagged circuits; notes say what is left out. Circuits of
    different forms, methods, metrics or directions are compared as sets of edges (`jaccard`, `node-jaccard`, `dice`);
    circuits of two forms are compared in the coarser form.

    Args:
        store: the store to read.
        by: one of `FIELDS`.
        run: only circuits of this run.
        measure: one of `measures.MEASURES`.
        extraction: only circuits of this extraction.
        flagged: whether to compare flagged circuits, too.
        progress: whether to show a bar on stderr during steps of more than two seconds.
        equals: further properties, each with the value or the list of values that circuits must have. A model is given
            by its name, its id or the first digits of its id; values with parameters may be abbreviated (`top`).

    Returns:
        A row per pair. Columns: the fields that vary between the groups; `a`, `b`, the measure, `noise_floor` (mean of
        the two circuits), `chance`, `edges_a`, `edges_b`, `common`, `p_chance` (probability that random sets of these
        numbers of edges have as many in common; missing across forms). By condition and by model also `gained` (edges
        of b that are not in a), `lost` (the reverse), `changed_floor` (edges that appear gained, and equally many
        lost, when only the images differ), and the swap floor: `swapped_floor` (edges that appear gained, and equally
        many lost, if a and b are swapped at random for each image), `swapped_high` (its 95 % quantile) and `p_swapped`
        (probability that so many edges change by swapping). Facts: means of `noise_floor` and `chance`, and the seconds
        `load_s`, `compute_s` and `floors_s`.

    Raises:
        InputError: the field, measure, run or property is unknown; several models have the given name; there are no two
            circuits to compare.
        NotComparable: circuits that differ in `by` are not comparable; the message names the fields.

    Examples:
        >>> table = compare(store, by="condition", metric="logit")
        >>> table.to_pandas()[["class", "a", "b", "gained", "lost"]]
             class        a                              b  gained  lost
        0  class-0  natural  typographic(text=other class)       6    15
        1  class-1  natural  typographic(text=other class)       6     5
        2  class-2  natural  typographic(text=other class)       5    18
        3  class-3  natural  typographic(text=other class)       9    14
    """
    chosen = get_measure(measure)
    clock = Clock(progress)
