"""What a report and a summary tell of a store: read once, as plain values, before anything is laid out."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ..circuits import CircuitRecord, Evaluation, WorkItem
from ..store import Store
from .findings import Changes, Similarity, carriers, changes, faithfulness, random_faithfulness, similarity
from .floors import Floor, read_floors
from .studies import Study, read_studies

MOST_STUDIES = 6
MOST_RECORDS = 60
"""Circuits of one study whose evaluation is told in full: random circuits one by one, reasons, notes."""

RESIDUAL = 0.05
"""Relative error of a method's completeness check above which its scores are warned of."""


@dataclass(frozen=True, eq=False)
class Part:
    """One study with all that is said of it.

    Attributes:
        study: its circuits.
        floors: noise floors, by row.
        records: the circuits that are told in full, by row: all conditions of the first classes.
    """

    study: Study
    floors: Mapping[int, Floor]
    records: Mapping[int, CircuitRecord]

    @cached_property
    def similarities(self) -> tuple[Similarity, ...]:
        """Per condition with at least two classes."""
        conditions = [c for c in self.study.conditions if len(self.study.rows(c)) > 1]
        return tuple(similarity(self.study, c, self.floors) for c in conditions)

    @cached_property
    def changes(self) -> tuple[Changes, ...]:
        """Per attacked condition; empty but in effect studies with a natural condition."""
        if self.study.kind != "effect":
            return ()
        found = [changes(self.study, c, self.floors) for c in self.study.attacks]
        return tuple(c for c in found if c is not None)

    @cached_property
    def carriers(self) -> Mapping[str, pd.DataFrame]:
        """Per attacked condition of a mechanism study."""
        if self.study.kind != "mechanism":
            return {}
        return {c: carriers(self.study, c) for c in self.study.attacks}

    @cached_property
    def faithfulness(self) -> pd.DataFrame:
        return faithfulness(self.study)

    @property
    def random(self) -> dict[int, list[float]]:
        """Faithfulness of the random circuits, by row."""
        return {i: random_faithfulness(r.evaluation) for i, r in self.records.items() if r.evaluation}

    @property
    def reasons(self) -> dict[int, str]:
        """Why a circuit has no faithfulness, by row."""
        told = {}
        for row in np.flatnonzero(self.faithfulness["faithfulness"].isna()).tolist():
            record = self.records.get(row)
            evaluation = record.evaluation if record else None
            told[row] = "no report images" if record and not evaluation else _reason(evaluation, "faithfulness")
        return told


def _reason(evaluation: Evaluation | None, figure: str) -> str:
    return evaluation.reasons.get(figure, "not told") if evaluation else "see the circuit's record"


@dataclass(frozen=True, eq=False)
class Contents:
    """Attributes:
    store: id of the store.
    run: name of the run; None for the whole store.
    parts: studies, effect first.
    items: questions, one row each, as the catalog has them.
    notes: what a reader must know: failures, residuals, fewer images than asked, what is not shown.
    models: facts of each model, by fingerprint.
    provenance: facts about how the scores came to be, of a sample of the discoveries.
    specs: specs of the runs (TOML text), by name.
    """

    store: str
    run: str | None
    parts: tuple[Part, ...]
    items: pd.DataFrame
    notes: tuple[str, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    specs: Mapping[str, str] = field(default_factory=dict)

    @property
    def n_circuits(self) -> int:
        return sum(len(part.study.circuits) for part in self.parts)

    @property
    def asked(self) -> dict[str, dict[str, Any]]:
        """What the specs say of the images, by run."""
        return {name: tomllib.loads(text).get("images", {}) for name, text in self.specs.items()}


def read_contents(store: Store, run: str | None = None) -> Contents:
    """Everything that a report of a run (None: of the whole store) tells.

    Raises:
        InputError: no such run.
    """
    studies = read_studies(store, run)
    parts = tuple(_part(store, study) for study in studies[:MOST_STUDIES])
    items = store.items(run)
    sample = list(_sample(store, parts))
    notes = [*_left_out(studies), *_failures(items), *_of_parts(parts), *_of_origins(sample)]
    records = [r for part in parts for r in part.records.values()]
    runs = store.runs()
    return Contents(
        store.id,
        run,
        parts,
        items,
        tuple(dict.fromkeys(notes)),
        {r.item.model.id: _model_facts(r) for r in records},
        _provenance(sample),
        {row["run"]: row["spec"] for row in runs.to_dict("records") if run in (None, row["run"])},
    )


def _part(store: Store, study: Study) -> Part:
    first = set(study.classes[: max(1, MOST_RECORDS // len(study.conditions))])
    rows = [i for i, name in enumerate(study.circuits["class"]) if name in first]
    return Part(study, read_floors(store, study), {i: store.circuit(study.circuits["id"].iloc[i]) for i in rows})


@dataclass(frozen=True)
class _Origin:
    """What is told of a discovery; its arrays are let go."""

    item: WorkItem
    residual: float | None
    provenance: Mapping[str, Any]


def _sample(store: Store, parts: tuple[Part, ...]) -> Iterator[_Origin]:
    """Of the discoveries behind the circuits that are told in full."""
    wanted = dict.fromkeys(r.discovery_id for part in parts for r in part.records.values())
    for id in wanted:
        found = store.discovery(id)
        yield _Origin(found.item, found.scores.residual if found.scores else None, found.provenance)


def _left_out(studies: tuple[Study, ...]) -> Iterator[str]:
    if len(studies) > MOST_STUDIES:
        yield f"{len(studies) - MOST_STUDIES} more studies (recipes or extractions) are stored and not shown here."


def _failures(items: pd.DataFrame) -> Iterator[str]:
    if items.empty:
        return
    open_ones = sum(state in ("wanted", "leased") for state in items["state"])
    if open_ones:
        yield f"{open_ones} of {len(items)} questions are not answered yet; run the same spec again to go on."
    for row in items.loc[items["state"] == "failed"].head(20).to_dict("records"):
        yield f"Failed: {row['class']}, {row['condition']}, {row['metric']}: {row['error']}"


def _of_parts(parts: tuple[Part, ...]) -> Iterator[str]:
    for part in parts:
        study = part.study
        yield from study.notes
        if study.whole.any():
            names = ", ".join(
                f"{row['class']} ({study.short(row['condition'])})"
                for row in study.circuits.loc[study.whole].head(10).to_dict("records")
            )
            count = int(study.whole.sum())
            yield (
                f"{count} {'circuit' if count == 1 else 'circuits'} of the {study.kind} study "
                f"{'holds' if count == 1 else 'hold'} every edge, for no smaller one did what "
                f"{study.common['extraction']} asks: {names}. Such a circuit tells nothing of its class."
            )
        if len(part.records) < len(study.circuits):
            yield (
                f"Of the {len(study.circuits)} circuits of the {study.kind} study {len(part.records)} were read in "
                "full; warnings that belong to the others are not told here."
            )
        for record in part.records.values():
            item = record.item
            who = f"{item.target_class.name}, {item.condition.kind}, {item.recipe.metric.kind}"
            yield from (f"{who}: {note}" for note in record.notes)
        fingerprints = {r.item.model.id for r in part.records.values()}
        if len(fingerprints) > 1:
            yield (
                f"{len(fingerprints)} different models share the name {part.study.common['model']}; "
                "choose a run to keep them apart."
            )


def _of_origins(origins: list[_Origin]) -> Iterator[str]:
    for origin in origins:
        told = origin.provenance.get("warnings")
        if not told and origin.residual is not None and abs(origin.residual) > RESIDUAL:
            item = origin.item
            yield (
                f"{item.target_class.name}, {item.condition.kind}, {item.recipe.metric.kind}: the scores miss their "
                f"total by {abs(origin.residual):.1%} (above {RESIDUAL:.0%}); more steps make them exact"
            )


def _model_facts(record: CircuitRecord) -> str:
    m = record.item.model
    return f"{m.name}: {m.n_layers} layers of {m.n_heads} heads, width {m.d_model}, {m.n_classes} classes"


def _provenance(origins: list[_Origin]) -> dict[str, str]:
    """Each fact with all the values that were met."""
    met: dict[str, dict[str, None]] = {}
    for origin in origins:
        for name, value in origin.provenance.items():
            if isinstance(value, str):
                met.setdefault(name, {})[value] = None
    return {name: ", ".join(values) for name, values in met.items()}
