"""How alike circuits are: class by class, condition by condition, beside noise floor and chance level.

Reads the archive as matrices. What means different things is refused by field; what differs otherwise is
told in the notes. Gained and lost edges are told in effect studies alone: same images, corruption and size,
metric the true class's logit, and only the condition differs.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from ..circuits.similarity import check_ranked
from ..errors import InputError
from ..results import Exits, Table, write_parquet
from ..store import Store
from .floors import Floor, read_floors, spread
from .groups import FIELDS, NATURAL, TWIN, Entry, Group, groups, images_of, load
from .measures import Circuits, Matrix, Measure, common_edges, get_measure


@dataclass(frozen=True, eq=False)
class Similarity(Exits):
    """How alike the circuits of one group are: a square of all pairs.

    Attributes:
        labels: what the rows and columns are: classes, conditions …
        values: the measure of each pair.
        chance: what chance gives for circuits of the pair's sizes; NaN where it is not known.
        floors: noise floor of each circuit; NaN where it is not known.
        facts: `measure`, the common values of the group, mean `noise_floor` and `chance`, seconds.
        notes: warnings.
    """

    labels: tuple[str, ...]
    values: Matrix
    chance: Matrix
    floors: np.ndarray
    facts: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def to_pandas(self) -> pd.DataFrame:
        """The square, labelled on both sides."""
        return pd.DataFrame(self.values, index=list(self.labels), columns=list(self.labels))

    def to_parquet(self, path: str | Path) -> None:
        write_parquet(self.to_pandas(), path, index=True)

    def _repr_html_(self) -> str:
        return Table(self.to_pandas().reset_index(names=""), self.notes)._repr_html_()


def compare(
    store: Store,
    by: str = "class",
    *,
    run: str | None = None,
    measure: str = "jaccard",
    extraction: str | None = None,
    **equals: Any,
) -> Table:
    """All pairs of circuits that differ in one field alone; within a group the most alike first.

    Args:
        by: `class`, `condition`, `model`, `corruption`, `extraction`, or another of `FIELDS`.
        run: circuits of this run only.
        measure: one of `measures.MEASURES`.
        extraction: circuits extracted this way only.
        equals: further properties of circuits and the value (or list of values) that they must have.

    Returns:
        Columns: the fields that vary between the groups; `a`, `b`, the measure, `noise_floor` (mean of the two
        circuits'), `chance`, `edges_a`, `edges_b`, `common`; by condition also `gained` and `lost` (edges that
        b has and a has not, and the reverse) and `changed_floor` (as many seem gained, and lost, where only the
        images differ). Facts: mean `noise_floor` and `chance`, and seconds: `load_s`, `compute_s`, `floors_s`.

    Raises:
        InputError: unknown field, measure, run or property; no two circuits to compare.
        NotComparable: circuits that differ in `by` mean different things; names the fields.
    """
    chosen = get_measure(measure)
    clock = _Clock()
    found = _read(store, by, run, extraction, equals, clock)
    compared = [_compare(store, group, chosen, halved, clock) for group, halved in _with_floors(found)]
    facts = {"measure": measure, **_means(compared), **clock.seconds}
    notes = dict.fromkeys(note for group in found for note in group.notes)
    return Table(_table(compared, by), (*notes, *_floor_notes(compared)), facts)


def similarity_matrix(
    store: Store,
    by: str = "class",
    *,
    run: str | None = None,
    measure: str = "jaccard",
    extraction: str | None = None,
    **equals: Any,
) -> Similarity:
    """The square of all pairs, for heat maps. Arguments and errors as for `compare`.

    Raises:
        InputError: the circuits fall into several groups; names the fields to choose by.
    """
    chosen = get_measure(measure)
    clock = _Clock()
    found = _read(store, by, run, extraction, equals, clock)
    if len(found) > 1:
        varying = {f: sorted({g.common[f] for g in found}) for f in found[0].common}
        told = "; ".join(f"{f} = {' | '.join(v)}" for f, v in varying.items() if len(v) > 1)
        raise InputError(f"one square holds circuits that differ in {by} alone; choose by {told or 'model'}")
    ((only, halved),) = _with_floors(found)
    group = _compare(store, only, chosen, halved, clock)
    facts = {"measure": measure, **only.common, **_means([group]), **clock.seconds}
    notes = (*only.notes, *_floor_notes([group]))
    return Similarity(only.labels, group.values, group.chance, group.floors, facts, notes)


class _Clock:
    """Seconds spent, by what for: loading is told apart from computing."""

    def __init__(self) -> None:
        self.seconds = {"load_s": 0.0, "compute_s": 0.0, "floors_s": 0.0}
        self._last = time.perf_counter()

    def to(self, what: str) -> None:
        """Book the time since the last call."""
        now = time.perf_counter()
        self.seconds[what] += now - self._last
        self._last = now


def _read(
    store: Store,
    by: str,
    run: str | None,
    extraction: str | None,
    equals: Mapping[str, Any],
    clock: _Clock,
) -> list[Group]:
    wanted = dict(equals) if extraction is None else {**equals, "extraction": extraction}
    loaded = load(store, run, wanted)
    found = list(groups(loaded, by))
    clock.to("load_s")
    if not found:
        raise InputError(f"nothing to compare: no two of the {len(loaded)} circuits differ in {by} alone")
    return found


def _with_floors(found: Sequence[Group]) -> Iterator[tuple[Group, list[int]]]:
    """Each group with the circuits in it that get a noise floor: the time for these is that of all groups."""
    largest = max(group.entries[0].graph.n_edges for group in found)
    return zip(found, spread([len(group.entries) for group in found], largest), strict=True)


@dataclass(frozen=True, eq=False)
class _Compared:
    """A group with its figures; `floors` and `changed` are NaN where there is no noise floor.

    `common` has edges in both circuits, on its diagonal their sizes.
    """

    group: Group
    column: str
    values: Matrix
    chance: Matrix
    common: Int[np.ndarray, "circuit circuit"]
    floors: np.ndarray
    changed: np.ndarray

    @property
    def pair_floors(self) -> np.ndarray:
        """Mean of two circuits' noise floors, of the one that is known where the other is not."""
        both = np.stack(np.broadcast_arrays(self.floors[:, None], self.floors[None, :]))
        known = ~np.isnan(both)
        total = np.where(known, both, 0.0).sum(axis=0)
        return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def _compare(store: Store, group: Group, measure: Measure, halved: Collection[int], clock: _Clock) -> _Compared:
    circuits = _circuits(store, group.entries, measure)
    clock.to("load_s")
    values, common = measure.matrix(circuits), common_edges(circuits.members)
    sizes = circuits.sizes if measure.key == "overlap" else np.diag(common).tolist()
    chance = _chance(measure, sizes, circuits.graph.n_edges)
    clock.to("compute_s")
    floors = read_floors(store, group.entries, measure, halved)
    clock.to("floors_s")
    column = measure.key.replace("-", "_")
    return _Compared(group, column, values, chance, common, _figures(floors, "value"), _figures(floors, "changed"))


def _circuits(store: Store, entries: Sequence[Entry], measure: Measure) -> Circuits:
    """The arrays of one group; those of all circuits at once may not fit into memory.

    Raises:
        InputError: scores are needed that the method does not give, or an order that they have not.
    """
    scores = None
    if measure.needs != "members":
        first, _ = store.archive.circuit(entries[0].id)
        if first.score is None:
            raise InputError(
                f"method {first.item.recipe.method.text} selects edges and gives no scores; "
                "choose a measure of edges: jaccard, node-jaccard or dice"
            )
        if measure.needs == "ranks":
            for entry in {e.item.recipe.method: e for e in entries}.values():
                discovery, _ = store.archive.discovery(entry.discovery_id, per_image=False)
                check_ranked(measure.key, discovery.scores is not None and discovery.scores.shares)
        scores = store.scores([e.discovery_id for e in entries])
    sizes = [int(e.row["n_edges"]) if e.size_requested is None else e.size_requested for e in entries]
    return Circuits(entries[0].graph, store.members([e.id for e in entries]), sizes, scores)


def _figures(floors: Sequence[Floor | None], name: str) -> np.ndarray:
    return np.array([np.nan if f is None else getattr(f, name) for f in floors])


def _chance(measure: Measure, sizes: Sequence[int], n_edges: int) -> Matrix:
    """Each pair of sizes is reckoned once."""
    if measure.chance is None:
        return np.full((len(sizes), len(sizes)), np.nan)
    unique, at = np.unique(sizes, return_inverse=True)
    table = np.array([[measure.chance(int(a), int(b), n_edges) for b in unique] for a in unique])
    return table[np.ix_(at, at)]


def _means(compared: Sequence[_Compared]) -> dict[str, Any]:
    floors = np.concatenate([g.floors for g in compared])
    chance = np.concatenate([g.chance[np.triu_indices(len(g.chance), 1)] for g in compared])
    means = {"noise_floor": _mean(floors), "chance": _mean(chance)}
    return {**means, "pairs": len(chance), "circuits": len(floors)}


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _floor_notes(compared: Sequence[_Compared]) -> Iterator[str]:
    known = sum(int((~np.isnan(g.floors)).sum()) for g in compared)
    total = sum(len(g.floors) for g in compared)
    if not known:
        yield "the noise floor is not known: scores per image were not kept"
    elif known < total:
        yield f"the noise floor is that of {known} of {total} circuits"


def _table(compared: Sequence[_Compared], by: str) -> pd.DataFrame:
    varying = [f for f in FIELDS if f != by and len({g.group.common[f] for g in compared}) > 1]
    context = [f for f in FIELDS if f in varying or (f, by) in (("condition", "class"), ("class", "condition"))]
    frames = [_rows(g, [f for f in context if f != by], by) for g in compared]
    return pd.concat(frames, ignore_index=True)


def _rows(compared: _Compared, context: Sequence[str], by: str) -> pd.DataFrame:
    group = compared.group
    a, b = np.triu_indices(len(group.labels), 1)
    common = compared.common
    sizes, labels = np.diag(common), np.array(group.labels, dtype=object)
    columns: dict[str, Any] = {name: group.common[name] for name in context}
    columns |= {"a": labels[a], "b": labels[b], compared.column: compared.values[a, b]}
    columns |= {"noise_floor": compared.pair_floors[a, b], "chance": compared.chance[a, b]}
    columns |= {"edges_a": sizes[a], "edges_b": sizes[b], "common": common[a, b]}
    if by == "condition":
        told = np.array([_effect(group.entries[i], group.entries[j]) for i, j in zip(a, b, strict=True)])
        columns["gained"] = pd.arrays.IntegerArray((sizes[b] - common[a, b]).astype(np.int64), ~told)
        columns["lost"] = pd.arrays.IntegerArray((sizes[a] - common[a, b]).astype(np.int64), ~told)
        columns["changed_floor"] = np.where(told, compared.changed[a], np.nan)
    frame = pd.DataFrame(columns)
    return frame.sort_values(compared.column, ascending=False, kind="stable")


def _effect(natural: Entry, attacked: Entry) -> bool:
    """Whether nothing but the condition differs, so that edges are gained and lost."""
    x, y = natural.item, attacked.item
    return (
        x.condition.kind == NATURAL
        and y.condition.kind != NATURAL
        and x.recipe == y.recipe
        and images_of(x) == images_of(y)
        and x.recipe.metric.kind == "logit"
        and x.recipe.corruption.kind != TWIN
        and natural.size_requested == attacked.size_requested
    )
