"""Evaluate stored circuits on other images, or in another model, than those that they were found on.

Overlap of edges is no substitute: circuits with many common edges may not work for each other, and circuits with few
may (cross-task faithfulness: Hanna, Pezzelle and Belinkov 2024).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Unpack, get_args

import pandas as pd

from ..bars import late_bar
from ..circuits import Circuit, ClassInfo, Condition, Recipe, WorkItem
from ..errors import InputError, check_known
from ..evaluation import Execution, evaluate_many
from ..models import ViT
from ..results import Table
from ..store import PartLocations, Store, open_store
from .choice import Choice
from .plan import Plan, make_plan
from .spec import Spec
from .work import Workbench

Same = Literal["class", "condition", "recipe"]
"""What a circuit and the images that it is evaluated on can be required to have in common."""

_OF_CIRCUIT = ("circuit", "model", "class", "condition", "extraction", "edges")
_OF_IMAGES = (
    "on_model",
    "on_model_id",
    "on_class",
    "on_group",
    "on_condition",
    "corruption",
    "metric",
    "dtype",
    "images",
)
_FIGURES = (
    "metric_full", "metric_empty", "metric_circuit", "faithfulness", "accuracy_full", "accuracy_empty",
    "accuracy_circuit", "retention",
)  # fmt: skip


@dataclass(frozen=True)
class _Images:
    """What report images and metric depend on: several recipes of a spec share them."""

    cls: ClassInfo
    condition: Condition
    rule: str
    group: str
    recipe: tuple[Any, ...]

    @classmethod
    def of(cls, item: WorkItem) -> _Images:
        r: Recipe = item.recipe
        shared = (r.corruption, r.metric, r.dtype, r.seed)
        return cls(item.target_class, item.condition, item.selection.rule, item.selection.group, shared)


def cross_evaluate(
    spec: Spec,
    *,
    run: str | None = None,
    where: Mapping[str, Any] | None = None,
    same: Collection[Same] = (),
    location: str | Path | None = None,
    model: ViT | None = None,
    progress: bool = False,
    **locations: Unpack[PartLocations],
) -> Table:
    """Evaluate circuits of the store on the report images of a spec, with its model, condition, corruption and metric.

    With one model, this is the matrix of cross-class faithfulness: the circuit of each class on the images of each
    class. With the spec of another model of the same architecture, it is the cross-model faithfulness: the circuits of
    the base model in the fine-tuned one; `same=("class", "condition", "recipe")` leaves out what `compare_models` does
    not use. Nothing is stored.

    Args:
        spec: the model and the images.
        run: the run whose circuits are evaluated, by default the spec's; flagged and superseded ones are left out.
        where: columns of `store.circuits` with the value, or list of values, that they must have.
        same: what circuit and images must have in common: `class` (also its group), `condition`, `recipe` (corruption,
            metric and floating-point type). Other pairs are not evaluated.
        location: folder of the store; default `./circuitstore-data`.
        model: a loaded model, used instead of the model in the spec.
        progress: show a bar on stderr.
        locations: `graph`, `catalog`, `account` of the store, as for `open_store`.

    Returns:
        One row per circuit and set of images. Columns: `circuit`, `model`, `class`, `condition`, `extraction`, `edges`
        of the circuit; `on_model`, `on_model_id` (its fingerprint), `on_class`, `on_group`, `on_condition`,
        `corruption`, `metric`, `dtype`, `images` (their number) that it was evaluated on; the figures of `evaluate`,
        with missing values where a ratio is undefined.

    Raises:
        InputError: see `make_plan`; there is no such run or column, no circuit in it, or one of another graph than the
            model's; `same` has an unknown value, or no circuit and images have these in common.

    Examples:
        >>> from circuitstore.ingest import index
        >>> _ = index(spec, location=folder, progress=False)
        >>> table = cross_evaluate(spec, location=folder)
        >>> table.frame[["class", "on_class"]].to_numpy().tolist()
        [['three', 'three'], ['eight', 'three'], ['three', 'eight'], ['eight', 'eight']]
        >>> len(cross_evaluate(spec, location=folder, same=["class"]))
        2
    """
    for name in same:
        check_known("same", name, get_args(Same))
    with open_store(location, **locations) as store:
        stored = _circuits(store, run or spec.name, where or {})
    plan = make_plan(spec, model)
    _check_graphs(plan, stored)
    bench = Workbench(plan, Choice(plan))
    sets = list({_Images.of(planned.item): planned.item for planned in plan.items}.values())
    rows, notes = [], []
    shared = [(item, [circuit for circuit in stored if _agree(circuit.item, item, same)]) for item in sets]
    shared = [(item, circuits) for item, circuits in shared if circuits]
    if not shared:
        raise InputError(f"same: no circuit of the run has {', '.join(sorted(same))} in common with images of the spec")
    for item, circuits in late_bar(shared, unit="set", desc="evaluating circuits", wanted=progress):
        found = list(_evaluated(bench, item, circuits))
        if not found:
            notes.append(f"{item.target_class.name}, {item.condition.text}: no report image qualifies")
        rows += found
    return Table(pd.DataFrame(rows, columns=[*_OF_CIRCUIT, *_OF_IMAGES, *_FIGURES]), tuple(notes))


class _Stored(NamedTuple):
    """A circuit with the columns that describe it, and the question that it answers."""

    described: dict[str, Any]
    circuit: Circuit
    item: WorkItem


def _agree(a: WorkItem, b: WorkItem, same: Collection[Same]) -> bool:
    """Return whether two items have the given parts of the question in common."""

    def parts(item: WorkItem) -> dict[Same, Any]:
        recipe = item.recipe
        return {
            "class": (item.target_class.name, item.selection.group),
            "condition": item.condition.text,
            "recipe": (recipe.corruption.text, recipe.metric.text, recipe.dtype),
        }

    return all(parts(a)[name] == parts(b)[name] for name in same)


def _circuits(store: Store, run: str, where: Mapping[str, Any]) -> list[_Stored]:
    columns = ["id", "model", "class", "condition", "extraction", "n_edges"]
    rows = store.circuits(run, columns=columns, **{"counts": True, **where})
    if rows.empty:
        raise InputError(f"run {run!r}: no circuit to evaluate with {dict(where) or 'no flag'}; index it first")
    found = []
    for row in rows.to_dict("records"):
        described: dict[str, Any] = dict(zip(_OF_CIRCUIT, (row[column] for column in columns), strict=True))
        record = store.circuit(str(row["id"]))
        found.append(_Stored(described, record.circuit, record.item))
    return found


def _check_graphs(plan: Plan, stored: Sequence[_Stored]) -> None:
    model = plan.model
    for described, circuit, _ in stored:
        if circuit.graph != model.graph(circuit.graph.form):
            raise InputError(
                f"circuit {described['circuit'][:12]} of {described['model']} has {circuit.graph.n_layers} layers of "
                f"{circuit.graph.n_heads} heads, {model.name} has {model.n_layers} of {model.n_heads}; a circuit "
                "runs in models of its own architecture only"
            )


def _evaluated(bench: Workbench, item: WorkItem, stored: Sequence[_Stored]) -> Iterator[dict[str, Any]]:
    """Yield a row per circuit, evaluated on the report images of an item."""
    pairs, model = bench.pairs(item, "report"), bench.model_of(item)
    if pairs is None:
        return
    recipe = item.recipe
    execution = Execution(bench.plan.spec.batch_size)
    circuits = [one.circuit for one in stored]
    images = (
        *(model.name, model.fingerprint, item.target_class.name, item.selection.group, item.condition.text),
        *(recipe.corruption.text, recipe.metric.text, recipe.dtype, len(pairs)),
    )
    evaluations = evaluate_many(model, pairs, circuits, metric=recipe.metric, execution=execution)
    for one, evaluation in zip(stored, evaluations, strict=True):
        figures = {name: getattr(evaluation, name) for name in _FIGURES}
        yield {**one.described, **dict(zip(_OF_IMAGES, images, strict=True)), **figures}
