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
    found, notes = read_groups(store, by, chosen, run=run, flagged=flagged, equals=_with_extraction(equals, extraction))
    clock.to("load_s")
    compared = [
        add_floors(store, compared_group(store, group, chosen, clock), halved, clock)
        for group, halved in with_floors(found)
    ]
    swaps = _swap_floors(store, [pair for group in found for pair in _pairs(group) if is_change(*pair, by)], clock)
    facts = {"measure": measure, **_means(compared), **clock.seconds}
    notes = dict.fromkeys((*notes, *(note for group in found for note in group.notes), *floor_notes(compared)))
    return Table(_table(compared, by, swaps), tuple(notes), facts)


def similarity_matrix(
    store: Store,
    by: str = "class",
    *,
    run: str | None = None,
    measure: str = "jaccard",
    extraction: str | None = None,
    flagged: bool = False,
    progress: bool = False,
    **equals: Any,
) -> Similarity:
    """Return the similarities of all pairs as a square matrix, for heat maps.

    Takes the arguments of `compare` and raises the same errors.

    Raises:
        InputError: the circuits form several groups; the message names the fields to select by.

    Examples:
        >>> matrix = similarity_matrix(store, by="class", metric="logit", condition="natural")
        >>> matrix.to_pandas().round(2)
                 class-0  class-1  class-2  class-3
        class-0     1.00     0.42     0.39     0.33
        class-1     0.42     1.00     0.29     0.30
        class-2     0.39     0.29     1.00     0.42
        class-3     0.33     0.30     0.42     1.00
    """
    chosen = get_measure(measure)
    clock = Clock(progress)
    found, notes = read_groups(store, by, chosen, run=run, flagged=flagged, equals=_with_extraction(equals, extraction))
    clock.to("load_s")
    if len(found) > 1:
        varying = {f: sorted({g.common[f] for g in found}) for f in found[0].common}
        choices = "; ".join(f"{f} = {' | '.join(v)}" for f, v in varying.items() if len(v) > 1)
        raise InputError(f"a matrix holds circuits that differ in {by} only; select by {choices}")
    ((only, halved),) = with_floors(found)
    compared = add_floors(store, compared_group(store, only, chosen, clock), halved, clock)
    facts = {"measure": measure, **only.common, **_means([compared]), **clock.seconds}
    return replace(compared.similarity, facts=facts, notes=(*notes, *only.notes, *floor_notes([compared])))


def _with_extraction(equals: Mapping[str, Any], extraction: str | None) -> Mapping[str, Any]:
    return equals if extraction is None else {**equals, "extraction": extraction}


def read_groups(
    store: Store, by: str, measure: Measure, *, run: str | None, flagged: bool, equals: Mapping[str, Any]
) -> tuple[list[Group], tuple[str, ...]]:
    """Return the groups of circuits that differ in one field only, and notes on circuits that are left out.

    Takes the arguments of `compare` and raises the same errors.
    """
    loaded, notes = load(store, run, equals, flagged=flagged)
    found = list(groups(loaded, by, sets=measure.needs == "members"))
    if not found:
        reasons = (f"nothing to compare: no two of the {len(loaded)} circuits differ in {by} only", *notes)
        raise InputError("; ".join(reasons))
    return found, notes


def _means(compared: Sequence[Compared]) -> dict[str, Any]:
    """Compute means over all groups, and count pairs and circuits."""
    floors = np.concatenate([c.similarity.floors.diagonal() for c in compared])
    chance = np.concatenate([c.similarity.chance[np.triu_indices(len(c.group.labels), 1)] for c in compared])
    means = {"noise_floor": mean_of_known(floors), "chance": mean_of_known(chance)}
    return {**means, "pairs": len(chance), "circuits": len(floors)}


def floor_notes(compared: Sequence[Compared]) -> Iterator[str]:
    """Yield notes on which circuits have a noise floor, and on what it leaves out."""
    known = sum(int((~np.isnan(c.similarity.floors.diagonal())).sum()) for c in compared)
    entries = [entry for c in compared for entry in c.group.entries]
    if not known:
        yield "the noise floor is unknown: scores per image were not kept"
        return
    if known < len(entries):
        yield f"the noise floor covers {known} of {len(entries)} circuits"
    yield from left_out_of_floors([entry.item for entry in entries])


def _pairs(group: Group) -> list[tuple[Entry, Entry]]:
    return list(combinations(group.entries, 2))


def _swap_floors(store: Store, pairs: Sequence[tuple[Entry, Entry]], clock: Clock) -> Swaps:
    """Return the swap floors of as many pairs as time allows."""
    if not pairs:
        return {}
    floors = read_swap_floors(store, pairs, clock.bar(affordable_swaps(pairs), "swap floors"))
    clock.to("floors_s")
    return {(a.id, b.id): floors[i] for i, (a, b) in enumerate(pairs) if i in floors}


def _table(compared: Sequence[Compared], by: str, swaps: Swaps) -> pd.DataFrame:
    varying = [f for f in FIELDS if f != by and len({g.group.common[f] for g in compared}) > 1]
    context = [f for f in FIELDS if f in varying or (f, by) in (("condition", "class"), ("class", "condition"))]
    frames = [_rows(g, [f for f in context if f != by], by, swaps) for g in compared]
    return pd.concat(frames, ignore_index=True)


def _rows(compared: Compared, context: Sequence[str], by: str, swaps: Swaps) -> pd.DataFrame:
    group = compared.group
    a, b = np.triu_indices(len(group.labels), 1)
    edges_a, edges_b, common = compared.edges[a, b], compared.edges[b, a], compared.common[a, b]
    columns: dict[str, Any] = {"edges_a": edges_a, "edges_b": edges_b, "common": common}
    columns["p_chance"] = (
        np.nan if compared.n_edges is None else overlap_p_values(common, edges_a, edges_b, compared.n_edges)
    )
    if by in ("condition", "model"):
        pairs = _pairs(group)
        known = np.array([is_change(x, y, by) for x, y in pairs])
        columns["gained"] = pd.arrays.IntegerArray((edges_b - common).astype(np.int64), ~known)
        columns["lost"] = pd.arrays.IntegerArray((edges_a - common).astype(np.int64), ~known)
        columns["changed_floor"] = np.where(known, compared.changed[a], np.nan)
        floors = [swaps.get((x.id, y.id)) for x, y in pairs]
        for name, figure in (("swapped_floor", "mean"), ("swapped_high", "high"), ("p_swapped", "p")):
            columns[name] = [np.nan if floor is None else getattr(floor, figure) for floor in floors]
    frame = compared.similarity.pairs.assign(**columns)
    for place, name in enumerate(context):
        frame.insert(place, name, group.common[name])
    return frame.sort_values(compared.similarity.measure.column, ascending=False, kind="stable")


def is_change(a: Entry, b: Entry, by: str) -> bool:
    """Return whether edges of two circuits are called gained and lost."""
    return same_recipe_and_images(a, b) and (by == "model" or (by == "condition" and _is_effect(a, b)))


def _is_effect(natural: Entry, attacked: Entry) -> bool:
    """Return whether two circuits that differ only in the condition show the effect of an attack."""
    x, y = natural.item, attacked.item
    return (
        x.condition.kind == NATURAL
        and y.condition.kind != NATURAL
        and study_kind(x.recipe) == "effect"
        and natural.size_requested == attacked.size_requested
    )
