"""How alike circuits are: class by class, condition by condition, beside noise floor and chance level.

Reads the archive as matrices. What means different things is refused by field; what differs otherwise is reported in
the notes. Gained and lost edges are those between two models, or in an effect study between two conditions: same
images, corruption and size, metric the true class's logit, and only the condition differs.
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
from ..results import Exits, Table, parquet, write_whole
from ..store import Store
from .floors import Floor, left_out_of_floors, read_floors, spread
from .forms import across_forms, coarseness
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
        write_whole(path, parquet(self.to_pandas(), index=True))

    def _repr_html_(self) -> str:
        return Table(self.to_pandas().reset_index(names=""), self.notes)._repr_html_()


def compare(
    store: Store,
    by: str = "class",
    *,
    run: str | None = None,
    measure: str = "jaccard",
    extraction: str | None = None,
    flagged: bool = False,
    **equals: Any,
) -> Table:
    """All pairs of circuits that differ in one field only; within a group the most alike first.

    The newest answer to each question is compared, without circuits that are flagged; notes say what is left out.
    Circuits of different forms, methods, metrics or directions are compared as sets of edges (`jaccard`,
    `node-jaccard`, `dice`), those of different forms in the coarser one.

    Args:
        by: one of `FIELDS`.
        run: circuits of this run only.
        measure: one of `measures.MEASURES`.
        extraction: circuits extracted this way only.
        flagged: whether flagged circuits are compared, too.
        equals: further properties of circuits and the value (or list of values) that they must have. Models are given
            by name, id or its first digits; values with parameters may be abbreviated (`top`).

    Returns:
        Columns: the fields that vary between the groups; `a`, `b`, the measure, `noise_floor` (mean of the two
        circuits'), `chance`, `edges_a`, `edges_b`, `common`; by condition and by model also `gained` and `lost` (edges
        that b has and a has not, and the reverse) and `changed_floor` (as many seem gained, and lost, where only the
        images differ). Facts: mean `noise_floor` and `chance`, and seconds: `load_s`, `compute_s`, `floors_s`.

    Raises:
        InputError: unknown field, measure, run or property; a name of several models; no two circuits to compare.
        NotComparable: circuits that differ in `by` mean different things; names the fields.
    """
    chosen = get_measure(measure)
    clock = _Clock()
    found, notes = _read(store, by, run, chosen, flagged, _with_extraction(equals, extraction), clock)
    compared = [_compare(store, group, chosen, halved, clock) for group, halved in _with_floors(found)]
    facts = {"measure": measure, **_means(compared), **clock.seconds}
    notes = dict.fromkeys((*notes, *(note for group in found for note in group.notes), *_floor_notes(compared, by)))
    return Table(_table(compared, by), tuple(notes), facts)


def similarity_matrix(
    store: Store,
    by: str = "class",
    *,
    run: str | None = None,
    measure: str = "jaccard",
    extraction: str | None = None,
    flagged: bool = False,
    **equals: Any,
) -> Similarity:
    """The square of all pairs, for heat maps. Arguments and errors as for `compare`.

    Raises:
        InputError: the circuits fall into several groups; names the fields to choose by.
    """
    chosen = get_measure(measure)
    clock = _Clock()
    found, notes = _read(store, by, run, chosen, flagged, _with_extraction(equals, extraction), clock)
    if len(found) > 1:
        varying = {f: sorted({g.common[f] for g in found}) for f in found[0].common}
        told = "; ".join(f"{f} = {' | '.join(v)}" for f, v in varying.items() if len(v) > 1)
        raise InputError(f"one square holds circuits that differ in {by} only; choose by {told}")
    ((only, halved),) = _with_floors(found)
    group = _compare(store, only, chosen, halved, clock)
    facts = {"measure": measure, **only.common, **_means([group]), **clock.seconds}
    notes = (*notes, *only.notes, *_floor_notes([group], by))
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


def _with_extraction(equals: Mapping[str, Any], extraction: str | None) -> Mapping[str, Any]:
    return equals if extraction is None else {**equals, "extraction": extraction}


def _read(
    store: Store, by: str, run: str | None, measure: Measure, flagged: bool, equals: Mapping[str, Any], clock: _Clock
) -> tuple[list[Group], tuple[str, ...]]:
    loaded, notes = load(store, run, equals, flagged=flagged)
    found = list(groups(loaded, by, sets=measure.needs == "members"))
    clock.to("load_s")
    if not found:
        told = "; ".join((f"nothing to compare: no two of the {len(loaded)} circuits differ in {by} only", *notes))
        raise InputError(told)
    return found, notes


def _with_floors(found: Sequence[Group]) -> Iterator[tuple[Group, list[int]]]:
    """Each group with the circuits in it that get a noise floor: the time for these is that of all groups."""
    largest = max(group.entries[0].graph.n_edges for group in found)
    return zip(found, spread([len(group.entries) for group in found], largest), strict=True)


@dataclass(frozen=True, eq=False)
class _Compared:
    """A group with its figures; `floors` and `changed` are NaN where there is no noise floor.

    `edges` has the edges of the first circuit of each pair, `common` those that both have.
    """

    group: Group
    column: str
    values: Matrix
    chance: Matrix
    edges: Int[np.ndarray, "circuit circuit"]
    common: Int[np.ndarray, "circuit circuit"]
    floors: np.ndarray
    changed: np.ndarray

    @property
    def pair_floors(self) -> np.ndarray:
        """Mean of two circuits' noise floors, of the one that is known where the other is not.

        Of circuits of different forms that of the coarser one, in whose form they are compared.
        """
        both = np.stack(np.broadcast_arrays(self.floors[:, None], self.floors[None, :]))
        form = np.array([coarseness(entry.graph) for entry in self.group.entries])
        finer = np.stack([form[:, None] < form[None, :], form[:, None] > form[None, :]])
        known = ~np.isnan(both) & ~finer
        total = np.where(known, both, 0.0).sum(axis=0)
        return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def _compare(store: Store, group: Group, measure: Measure, halved: Collection[int], clock: _Clock) -> _Compared:
    if len({entry.graph for entry in group.entries}) > 1:
        values, edges, common = _across_forms(store, group.entries, measure, clock)
        chance = np.full(values.shape, np.nan)
    else:
        circuits = _circuits(store, group.entries, measure)
        clock.to("load_s")
        values, common = measure.matrix(circuits), common_edges(circuits.members)
        edges = np.broadcast_to(np.diag(common)[:, None], common.shape)
        sizes = circuits.sizes if measure.key == "overlap" else np.diag(common).tolist()
        chance = _chance(measure, sizes, circuits.graph.n_edges)
    clock.to("compute_s")
    floors = read_floors(store, group.entries, measure, halved)
    clock.to("floors_s")
    column = measure.key.replace("-", "_")
    return _Compared(
        group, column, values, chance, edges, common, _figures(floors, "value"), _figures(floors, "changed")
    )


def _across_forms(
    store: Store, entries: Sequence[Entry], measure: Measure, clock: _Clock
) -> tuple[Matrix, Int[np.ndarray, "circuit circuit"], Int[np.ndarray, "circuit circuit"]]:
    members = [store.members([entry.id])[0] for entry in entries]
    clock.to("load_s")
    return across_forms([entry.graph for entry in entries], members, measure)


def _circuits(store: Store, entries: Sequence[Entry], measure: Measure) -> Circuits:
    """The arrays of one group; those of all circuits at once may not fit into memory.

    Raises:
        InputError: scores are needed that the method does not give, or an order that they have not.
    """
    scores = None
    if measure.needs != "members":
        first, _ = store.archive.circuit(entries[0].id)
        if first.circuit.score is None:
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


def _floor_notes(compared: Sequence[_Compared], by: str) -> Iterator[str]:
    """What the noise floor is of, and what it leaves out."""
    known = sum(int((~np.isnan(g.floors)).sum()) for g in compared)
    entries = [entry for g in compared for entry in g.group.entries]
    if not known:
        yield "the noise floor is not known: scores per image were not kept"
        return
    if known < len(entries):
        yield f"the noise floor is that of {known} of {len(entries)} circuits"
    yield from left_out_of_floors([entry.item for entry in entries])


def _table(compared: Sequence[_Compared], by: str) -> pd.DataFrame:
    varying = [f for f in FIELDS if f != by and len({g.group.common[f] for g in compared}) > 1]
    context = [f for f in FIELDS if f in varying or (f, by) in (("condition", "class"), ("class", "condition"))]
    frames = [_rows(g, [f for f in context if f != by], by) for g in compared]
    return pd.concat(frames, ignore_index=True)


def _rows(compared: _Compared, context: Sequence[str], by: str) -> pd.DataFrame:
    group = compared.group
    a, b = np.triu_indices(len(group.labels), 1)
    labels = np.array(group.labels, dtype=object)
    edges_a, edges_b, common = compared.edges[a, b], compared.edges[b, a], compared.common[a, b]
    columns: dict[str, Any] = {name: group.common[name] for name in context}
    columns |= {"a": labels[a], "b": labels[b], compared.column: compared.values[a, b]}
    columns |= {"noise_floor": compared.pair_floors[a, b], "chance": compared.chance[a, b]}
    columns |= {"edges_a": edges_a, "edges_b": edges_b, "common": common}
    if by in ("condition", "model"):
        pairs = [(group.entries[i], group.entries[j]) for i, j in zip(a, b, strict=True)]
        told = np.array([_alike(x, y) and (by == "model" or _effect(x, y)) for x, y in pairs])
        columns["gained"] = pd.arrays.IntegerArray((edges_b - common).astype(np.int64), ~told)
        columns["lost"] = pd.arrays.IntegerArray((edges_a - common).astype(np.int64), ~told)
        columns["changed_floor"] = np.where(told, compared.changed[a], np.nan)
    frame = pd.DataFrame(columns)
    return frame.sort_values(compared.column, ascending=False, kind="stable")


def _alike(a: Entry, b: Entry) -> bool:
    """Whether two circuits are of one recipe and of images chosen alike."""
    return a.item.recipe == b.item.recipe and images_of(a.item) == images_of(b.item)


def _effect(natural: Entry, attacked: Entry) -> bool:
    """Whether of circuits that are otherwise alike the second shows what an attack does, so that edges are gained."""
    x, y = natural.item, attacked.item
    return (
        x.condition.kind == NATURAL
        and y.condition.kind != NATURAL
        and x.recipe.metric.kind == "logit"
        and x.recipe.corruption.kind != TWIN
        and natural.size_requested == attacked.size_requested
    )
