"""What a report and a summary say of a store: read once, as plain values, before anything is laid out."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ..circuits import CircuitRecord, Evaluation, WorkItem, short_names
from ..query.floors import left_out_of_floors
from ..query.groups import other_contrast
from ..store import Store
from .findings import Changes, Similarity, carriers, changes, faithfulness, random_faithfulness, similarity
from .floors import Floor, read_floors
from .model_pairs import ModelPair, read_model_pairs
from .studies import FIELDS, Study, read_studies
from .wording import count, named

MOST_STUDIES = 6
MOST_RECORDS = 60
"""Circuits of one study whose evaluation is shown in full: random circuits one by one, reasons, notes."""

RESIDUAL = 0.05
"""Relative error of a method's completeness check above which its scores are warned of."""


@dataclass(frozen=True, eq=False)
class Part:
    """One study with all that is said of it.

    Attributes:
        title: its kind, and what distinguishes it from other studies of this kind.
        study: its circuits.
        floors: noise floors, by row.
        records: the circuits that are shown in full, by row: all conditions of the first classes.
    """

    title: str
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
        return {c: carriers(self.study, c) for c in self.study.attacks if len(self.study.rows(c))}

    @cached_property
    def faithfulness(self) -> pd.DataFrame:
        """Of the circuits without a flag, in the order of the rows."""
        return faithfulness(self.study.circuits)

    @cached_property
    def listed(self) -> pd.DataFrame:
        """Faithfulness of all circuits, the flagged ones with their flag."""
        return faithfulness(self.study.listed)

    @property
    def notes(self) -> Iterator[str]:
        """What a reader of this study must know: what is left out, and what differs besides."""
        yield from self.study.notes
        if len(self.study.flagged):
            yield _flagged(self.study)
        yield from other_contrast(self.study.items)
        if self.floors:
            yield from left_out_of_floors([self.study.items[row] for row in self.floors])

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


def _flagged(study: Study) -> str:
    """How many circuits are flagged, why, and which."""
    reasons = [
        f"{flag}: {named([_who(study, row) for row in rows.to_dict('records')])}"
        for flag, rows in study.flagged.groupby("flag", sort=False)
    ]
    return (
        f"{len(study.flagged)} of {count(len(study.listed), 'circuit')} flagged ({'; '.join(reasons)}): only listed in "
        "the table of faithfulness, and left out of all else"
    )


def _who(study: Study, row: Mapping[str, Any]) -> str:
    return f"{row['class']} ({study.short(row['condition'])})" if len(study.conditions) > 1 else row["class"]


def _reason(evaluation: Evaluation | None, figure: str) -> str:
    return evaluation.reasons.get(figure, "not told") if evaluation else "see the circuit's record"


@dataclass(frozen=True, eq=False)
class Contents:
    """Attributes:
    store: id of the store.
    run: name of the run; None for the whole store.
    parts: studies, effect first.
    pairs: models whose circuits differ in the model only.
    pair_notes: what must be known of them, or why there are none.
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
    pairs: tuple[ModelPair, ...] = ()
    pair_notes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    specs: Mapping[str, str] = field(default_factory=dict)

    @property
    def n_circuits(self) -> int:
        """Without those that are flagged."""
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
    shown = studies[:MOST_STUDIES]
    parts = tuple(_part(store, title, study) for title, study in zip(_titles(shown), shown, strict=True))
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
        *read_model_pairs(store, studies, run),
        tuple(dict.fromkeys(notes)),
        {r.item.model.id: _model_facts(r) for r in records},
        _provenance(sample),
        {row["run"]: row["spec"] for row in runs.to_dict("records") if run in (None, row["run"])},
    )


KINDS = {"effect": "Effect study", "mechanism": "Mechanism study", "other": "Study"}


def _titles(studies: Sequence[Study]) -> list[str]:
    """The kind of each study, with what distinguishes it from the others of its kind, as short as may be."""
    titles = []
    for study in studies:
        alike = [s.common for s in studies if s.kind == study.kind]
        varying = [f for f in FIELDS if f != "model_id" and len({common[f] for common in alike}) > 1]
        texts = [", ".join(_of_field(f, common) for f in varying) for common in [study.common, *alike]]
        titles.append(": ".join(filter(None, (KINDS[study.kind], short_names(texts)[texts[0]]))))
    return titles


def _of_field(field: str, common: Mapping[str, str]) -> str:
    return f"seed {common[field]}" if field == "seed" else str(common[field])


def _part(store: Store, title: str, study: Study) -> Part:
    first = set(study.classes[: max(1, MOST_RECORDS // len(study.conditions))])
    rows = [i for i, name in enumerate(study.circuits["class"]) if name in first]
    return Part(title, study, read_floors(store, study), {i: store.circuit(study.circuits["id"].iloc[i]) for i in rows})


@dataclass(frozen=True)
class _Origin:
    """What is said of a discovery; its arrays are let go. `title` is that of the first study it is in."""

    title: str
    item: WorkItem
    residual: float | None
    provenance: Mapping[str, Any]


def _sample(store: Store, parts: tuple[Part, ...]) -> Iterator[_Origin]:
    """Of the discoveries behind the circuits that are shown in full."""
    wanted = {r.discovery_id: part.title for part in reversed(parts) for r in part.records.values()}
    for id, title in wanted.items():
        found = store.discovery(id)
        yield _Origin(title, found.item, found.scores.residual if found.scores else None, found.provenance)


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
        yield from (f"{part.title}: {note}" for note in part.notes)
        if len(part.records) < len(part.study.circuits):
            yield (
                f"{part.title}: {len(part.records)} of {len(part.study.circuits)} circuits were read in full; warnings "
                "that belong to the others are not here"
            )
        for record in part.records.values():
            yield from (f"{_about(part.title, record.item)}: {note}" for note in record.notes)


def _of_origins(origins: list[_Origin]) -> Iterator[str]:
    for origin in origins:
        told = origin.provenance.get("warnings")
        if not told and origin.residual is not None and abs(origin.residual) > RESIDUAL:
            yield (
                f"{_about(origin.title, origin.item)}: the scores miss their total by {abs(origin.residual):.1%} "
                f"(above {RESIDUAL:.0%}); more steps make them exact"
            )


def _about(title: str, item: WorkItem) -> str:
    return f"{title}: {item.target_class.name}, {item.condition.kind}, {item.recipe.metric.kind}"


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
