"""The swap floors of an effect study: edges that change if the conditions of each image are swapped at random."""

from __future__ import annotations

from ..circuits import NATURAL
from ..query import Study, SwapFloor
from ..query.swaps import affordable_swaps, read_swap_floors
from ..store import Store


def read_swaps(store: Store, study: Study) -> dict[int, SwapFloor]:
    """Return the known swap floors of an effect study from natural to each other condition, by row of the latter.

    Scores per image, which take most memory, are read for one pair of circuits at a time.
    """
    if study.kind != "effect":
        return {}
    aligned = [study.aligned(NATURAL, condition)[1] for condition in study.other_conditions]
    rows = [pair for before, after in aligned for pair in zip(before.tolist(), after.tolist(), strict=True)]
    pairs = [(study.entries[before], study.entries[after]) for before, after in rows]
    floors = read_swap_floors(store, pairs, affordable_swaps(pairs))
    return {rows[i][1]: floor for i, floor in floors.items()}
