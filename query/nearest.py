"""The circuits nearest to each circuit, stored in the graph as `SIMILAR` relationships."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ..errors import InputError
from ..results import Table
from ..store import Store
from ..store.cypher.schema import SIMILAR
from .entries import Entry, load
from .groups import Group
from .matrices import Clock, Compared, add_floors, compared_group, with_floors
from .measures import get_measure
from .similarity import Similarity, mean_of_known

MAX_PAIRS = 100_000
"""Maximum number of relationships, which are replaced in one transaction."""


def store_similar(
    store: Store,
    nearest: int = 10,
    *,
    run: str | None = None,
    measure: str = "jaccard",
    flagged: bool = False,
    wait_s: float = 0.0,
    progress: bool = False,
    **equals: Any,
) -> Table:
    """Find the circuits nearest to each circuit, and store them in the graph as `SIMILAR` relationships.

    Replaces the relationships of the measure. Compares all circuits with the same form, method, metric, direction and
    extraction, of models of the same shape, whatever their class, condition or corruption. Compares the newest answer
    to each question and leaves out flagged circuits; notes say what is left out.

    Args:
        store: the store to read and to write.
        nearest: number of circuits that each circuit leads to; 0 removes the relationships of the measure.
        run: only circuits of this run.
        measure: one of `measures.MEASURES`.
        flagged: whether to compare flagged circuits, too.
        wait_s: seconds to wait while another process writes.
        progress: whether to show a bar on stderr during steps of more than two seconds.
        equals: further properties that circuits must have, as in `compare`.

    Returns:
        A row per set of circuits that were compared with each other. Columns: `form`, `method` (its kind), `metric`,
        `direction`, `extraction`, `circuits`, `similar` (number of relationships), and the means of the measure,
        `noise_floor` and `chance` over these. Facts: the seconds of `compare`.

    Raises:
        InputError: the measure, run or property is unknown; the number is negative, or too large; there are no two
            circuits to compare.
        StoreBusy: another process writes.

    Examples:
        >>> table = store_similar(store, nearest=2, metric="logit")
        >>> table.to_pandas()[["metric", "circuits", "similar"]]
          metric  circuits  similar
        0  logit         8       16
        >>> store.query("MATCH (:Circuit)-[s:SIMILAR]->(:Circuit) RETURN count(*) AS similar").to_pandas()
           similar
        0       16
        >>> len(store_similar(store, nearest=0))
        0
    """
    chosen = get_measure(measure)
    if nearest < 0:
        raise InputError(f"nearest: expected a number of circuits, or 0 to remove their relationships, got {nearest}")
    if not nearest:
        with store.writer(wait_s) as writer:
            writer.set_similar(measure, SIMILAR.empty_table())
        return Table(pd.DataFrame())
    clock = Clock(progress)
    entries, notes = load(store, run, equals, flagged=flagged)
    sets = comparable_sets(entries)
    _check_size(nearest, sets, len(entries))
    clock.to("load_s")
    found = [
        add_floors(store, compared_group(store, one, chosen, clock), halved, clock) for one, halved in with_floors(sets)
    ]
    pairs = [nearest_pairs(compared.similarity, nearest) for compared in found]
    with store.writer(wait_s) as writer:
        writer.set_similar(measure, pa.concat_tables(pairs))
    rows = [_row(one, of) for one, of in zip(found, pairs, strict=True)]
    return Table(pd.DataFrame(rows), (*notes, *_left_out(entries, sets)), {"measure": measure, **clock.seconds})


def comparable_sets(entries: Sequence[Entry]) -> list[Group]:
    """Return the sets of at least two circuits that are comparable by their scores; the labels are ids."""
    found: dict[tuple[Hashable, ...], list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.id):
        recipe = entry.item.recipe
        same = (recipe.method.kind, recipe.signed, recipe.metric, recipe.direction, entry.row["extraction"])
        found.setdefault((entry.universe, *same), []).append(entry)
    return [
        Group(_common(some[0]), tuple(entry.id for entry in some), tuple(some))
        for some in found.values()
        if len(some) > 1
    ]


def _common(entry: Entry) -> dict[str, str]:
    """Return the properties that all circuits of a set have in common; parameters of the method may differ."""
    names = ("form", "method", "metric", "direction", "extraction")
    return {name: str(entry.row[name]) for name in names} | {"method": entry.item.recipe.method.kind}


def _check_size(nearest: int, sets: Sequence[Group], count: int) -> None:
    if not sets:
        raise InputError(f"nothing to compare: of {count} circuits no two are comparable")
    total = sum(len(one.entries) * min(nearest, len(one.entries) - 1) for one in sets)
    if total > MAX_PAIRS:
        raise InputError(
            f"nearest: {nearest} of each circuit are {total:,} relationships, more than {MAX_PAIRS:,}; choose a "
            "smaller number, or fewer circuits with --where"
        )


def nearest_pairs(similarity: Similarity, nearest: int) -> pa.Table:
    """Return the columns of `SIMILAR` for the nearest circuits of each circuit; of equal ones, the first in order."""
    ids, values = np.array(similarity.labels, dtype=object), similarity.values.copy()
    np.fill_diagonal(values, np.nan)
    second = np.argsort(-values, axis=1, kind="stable")[:, : min(nearest, len(ids) - 1)]
    first = np.broadcast_to(np.arange(len(ids))[:, None], second.shape)
    a, b = (at[~np.isnan(values[first, second])] for at in (first, second))
    columns = {"value": values[a, b], "chance": similarity.chance[a, b], "floor": similarity.floors[a, b]}
    frame = pd.DataFrame({"from": ids[a], "to": ids[b], "measure": similarity.measure.key, **columns})
    return pa.Table.from_pandas(frame, schema=SIMILAR, preserve_index=False)


def _row(compared: Compared, pairs: pa.Table) -> dict[str, Any]:
    means = {name: mean_of_known(pairs[name].to_numpy()) for name in ("value", "floor", "chance")}
    column = compared.similarity.measure.column
    return {
        **compared.group.common,
        "circuits": len(compared.group.entries),
        "similar": len(pairs),
        column: means["value"],
        "noise_floor": means["floor"],
        "chance": means["chance"],
    }


def _left_out(entries: Sequence[Entry], sets: Sequence[Group]) -> list[str]:
    single = len(entries) - sum(len(one.entries) for one in sets)
    return [f"{single} of {len(entries)} circuits are comparable with no other one"] if single else []
