"""Compares the circuits of a base model with those of other models, class by class.

Models of one architecture are compared edge by edge; others by kind of component and depth. Any fine-tuning changes
edges, so what a fine-tuning changed is read next to a control: a fine-tuning of the same length from which no change of
interest is expected, such as more training on the same data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import isnan
from typing import Any

from ..circuits import Discovery, EdgeChanges, changed_edges
from ..errors import CircuitStoreError, InputError
from ..results import Table
from ..store import Store
from .counterparts import Counterparts, pair_with_base
from .cross_results import CrossResults
from .entries import Entry, load, texts
from .floors import Floor, floor_of, left_out_of_floors, spread
from .measures import MEASURES, Measure
from .model_changes import ModelChange, change_rows
from .names import Models
from .similarity import mean_of_known

NO_CONTROL = (
    "any fine-tuning changes edges, also more training on the same data: without a control fine-tuning (--control), "
    "the changes show that the models differ, not what the fine-tuning did"
)


def compare_models(
    store: Store,
    base: str,
    *,
    control: str | None = None,
    cross: Table | None = None,
    run: str | None = None,
    flagged: bool = False,
    **equals: Any,
) -> Table:
    """Compare the circuits of a base model with those of each other model that differ only in the model.

    Models of the same architecture and form are compared edge by edge, others by the profile of their circuits: the
    share of the ends of edges at each kind of component in each quarter of the depth. Compares the newest answer to
    each question and leaves out flagged circuits; notes say what is left out.

    Args:
        store: the store to read.
        base: the model from which edges are gained and lost, by its name, its id or the first digits of its id.
        control: a fine-tuning of the base from which no change of interest is expected, likewise.
        cross: the result of `cross_evaluate` for the base model's circuits in other models, or of
            `read_cross_results`. Nothing is run here.
        run: only circuits of this run.
        flagged: whether to compare flagged circuits, too.
        equals: further properties that circuits must have, as for `compare`; `model` selects the other models.

    Returns:
        A row per other model, class and condition. Columns: the fields that vary; `a`, `b` (the models), `compared`
        (`jaccard` or `profile`), `similarity`, `noise_floor`, `chance`; `kept`, `gained`, `lost` edges, `changed_floor`
        (edges that appear gained, and equally many lost, when only the images differ), `beyond_floor` ((gained + lost)
        / 2 − changed_floor), all missing if more than the model differs; `changed` (edges whose score changed, by the
        test of `changed-edges`), `beyond_control` (those whose score changed by more than 99 % of the control's do),
        `not_in_control` (those not changed in the control), `images` of the test; `faithfulness`, `retention` and
        `accuracy` of the base, each with its change; `faithfulness_cross` and `retention_cross` of the base's circuit
        in the other model; `circuit_a`, `circuit_b` (ids).

    Raises:
        InputError: a model or run is unknown; no other model has a circuit that differs only in the model; the control
            is the base model or has another graph; `cross` lacks columns.

    Examples:
        >>> table = compare_models(models, "base", control="control")
        >>> list(table.frame["b"].unique())
        ['control', 'tuned']
        >>> bool((table.frame["gained"] + table.frame["kept"] > 0).all())
        True
    """
    changes, notes = read_model_changes(store, base, control=control, cross=cross, run=run, flagged=flagged, **equals)
    rows = change_rows(changes)
    floors = rows["noise_floor"].to_numpy(float)
    return Table(rows, notes, {"base": changes[0].a, "noise_floor": mean_of_known(floors)})


def read_model_changes(
    store: Store,
    base: str,
    *,
    control: str | None = None,
    cross: Table | None = None,
    run: str | None = None,
    flagged: bool = False,
    **equals: Any,
) -> tuple[list[ModelChange], tuple[str, ...]]:
    """Return what `compare_models` compares, by other model and class, and the notes.

    Takes the arguments of `compare_models` and raises the same errors.

    Examples:
        >>> changes, notes = read_model_changes(models, "base", model="tuned")
        >>> [(change.b, change.by_model) for change in changes]
        [('tuned', True), ('tuned', True), ('tuned', True)]
    """
    loaded, left_out = load(store, run, {k: v for k, v in equals.items() if k != "model"}, flagged=flagged)
    named = store.count_circuits(["model", "model_id"], run)
    models = Models(zip(named["model"], named["model_id"], strict=True))
    base_id, control_id = _base_and_control(models, base, control)
    others = {models.id(name, "model") for name in texts(equals.get("model", models.ids))}
    kept = [entry for entry in loaded if entry.item.model.id in {base_id, control_id, *others}]
    found, notes = pair_with_base(kept, models, base_id)
    controls = {pair.question: pair for pair in found.get(control_id or "", [])}
    control_label = None if control_id is None else models.label(control_id)
    evidence = _Evidence(store, CrossResults(cross) if cross is not None else None)
    changes = []
    for id, pair, is_tested in _with_tests(found):
        against = controls.get(pair.question) if id != control_id else None
        labels = models.label(base_id), models.label(id)
        changes.append(evidence.change(pair, labels, against, is_tested))
    return changes, tuple(
        dict.fromkeys((*left_out, *notes, *evidence.notes, *_notes(changes, control_label), *_on_cross(changes, cross)))
    )


def _base_and_control(models: Models, base: str, control: str | None) -> tuple[str, str | None]:
    base_id = models.id(base, "base")
    control_id = None if control is None else models.id(control, "control")
    if control_id == base_id:
        raise InputError(f"control: expected a fine-tuning of {base}, got {control}, which is the base model itself")
    return base_id, control_id


def _with_tests(found: Mapping[str, Sequence[Counterparts]]) -> Iterator[tuple[str, Counterparts, bool]]:
    """Yield each pair with its model, and whether there is time for its noise floors and tests."""
    largest = max(pair.base.universe.n_edges for pairs in found.values() for pair in pairs)
    for (id, pairs), chosen in zip(found.items(), spread(list(map(len, found.values())), largest), strict=True):
        yield from ((id, pair, position in chosen) for position, pair in enumerate(pairs))


class _Evidence:
    """Reads circuits, noise floors and tests, each once.

    Attributes:
        notes: why tests are not possible, and their limits.
    """

    def __init__(self, store: Store, cross: CrossResults | None) -> None:
        self._archive, self._cross = store.archive, cross
        self._tests: dict[tuple[str, str], EdgeChanges | None] = {}
        self._floors: dict[tuple[str, str], Floor | None] = {}
        self.notes: list[str] = []

    def change(
        self, pair: Counterparts, labels: tuple[str, str], control: Counterparts | None, is_tested: bool
    ) -> ModelChange:
        """Return what differs between two circuits; floors and tests only if there is time for them."""
        measure = MEASURES["jaccard" if pair.same_graph else "profile"]
        both = pair.base, pair.other
        first, second = (self._archive.circuit(entry.id)[0].circuit for entry in both)
        change = ModelChange(pair, *labels, measure, (first, second))
        if self._cross is not None:
            change = replace(change, cross=self._cross.find(*both))
        if not is_tested:
            return change
        floors = self._floor(pair.base, measure), self._floor(pair.other, measure)
        return replace(change, floors=floors, test=self._test(pair), control=self._test(control))

    def _floor(self, entry: Entry, measure: Measure) -> Floor | None:
        key = entry.id, measure.key
        if key not in self._floors:
            self._floors[key] = floor_of(self._archive.circuit(entry.id)[0], self._discovery(entry), measure)
        return self._floors[key]

    def _test(self, pair: Counterparts | None) -> EdgeChanges | None:
        if pair is None or not pair.same_graph:
            return None
        key = pair.base.discovery_id, pair.other.discovery_id
        if key not in self._tests:
            try:
                self._tests[key] = changed_edges(self._discovery(pair.base), self._discovery(pair.other))
            except CircuitStoreError as error:
                self._tests[key] = None
                self.notes.append(f"not tested: {error}")
        return self._tests[key]

    def _discovery(self, entry: Entry) -> Discovery:
        return self._archive.discovery(entry.discovery_id)[0]


def _notes(changes: Sequence[ModelChange], control: str | None) -> Iterator[str]:
    """Yield notes on controls, tests and noise floors; `control` is the label of the control."""
    unpaired = [c.pair.common["class"] for c in changes if c.b != control and c.test is not None and c.control is None]
    if control is None:
        yield NO_CONTROL
    elif unpaired:
        yield f"{control}: no circuits to compare with for {', '.join(dict.fromkeys(unpaired))}"
    yield from dict.fromkeys(note for c in changes if c.test is not None for note in c.test.notes)
    known = sum(c.floors[0] is not None for c in changes)
    if known < len(changes):
        yield f"noise floors and tests cover {known} of {len(changes)} comparisons"
    yield from left_out_of_floors([c.pair.base.item for c in changes])


def _on_cross(changes: Sequence[ModelChange], cross: Table | None) -> Iterator[str]:
    """Yield a note if results of other models or images were given."""
    if cross is not None and all(isnan(change.cross[0]) for change in changes):
        yield (
            "no cross results for these circuits: evaluate them with the spec of the other model: "
            "circuitstore cross SPEC.toml --run RUN_OF_THE_BASE --out FILE.parquet"
        )
