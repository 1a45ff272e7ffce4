"""What a report and a summary say of a store: read once, as plain values, before anything is laid out."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ..circuits import CircuitRecord, WorkItem
from ..discovery import RESIDUAL_LIMIT
from ..query import Study, read_studies
from ..store import Store
from .model_pairs import ModelPair, read_model_pairs
from .study_overview import StudyOverview, read_study, titles

MOST_STUDIES = 6


@dataclass(frozen=True, eq=False)
class Overview:
    """What a store, or a run, holds.

    Attributes:
        store: id of the store.
        run: name of the run; None for the whole store.
        studies: effect first.
        items: questions, one row each, as the catalog has them.
        model_pairs: models whose circuits differ in the model only.
        model_notes: what must be known of them, or why there are none.
        notes: what a reader must know: failures, residuals, fewer images than asked, what is not shown.
        models: facts of each model, by fingerprint.
        provenance: facts about how the scores came to be, of a sample of the discoveries.
        specs: specs of the runs (TOML text), by name.
    """

    store: str
    run: str | None
    studies: tuple[StudyOverview, ...]
    items: pd.DataFrame
    model_pairs: tuple[ModelPair, ...] = ()
    model_notes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    specs: Mapping[str, str] = field(default_factory=dict)

    @property
    def n_circuits(self) -> int:
        """Without those that are flagged."""
        return sum(len(shown.study.circuits) for shown in self.studies)

    @property
    def asked(self) -> dict[str, dict[str, Any]]:
        """What the specs say of the images, by run."""
        return {name: tomllib.loads(text).get("images", {}) for name, text in self.specs.items()}


def read_overview(store: Store, run: str | None = None) -> Overview:
    """Read everything that a report of a run (None: of the whole store) says.

    Raises:
        InputError: no such run.
    """
    found = read_studies(store, run)
    first = found[:MOST_STUDIES]
    studies = tuple(read_study(store, title, study) for title, study in zip(titles(first), first, strict=True))
    items = store.items(run)
    sample = list(_sample(store, studies))
    notes = [*_left_out(found), *_failures(items), *_of_studies(studies), *_of_origins(sample)]
    records = [r for shown in studies for r in shown.records.values()]
    runs = store.runs()
    return Overview(
        store.id,
        run,
        studies,
        items,
        *read_model_pairs(store, found, run),
        tuple(dict.fromkeys(notes)),
        {r.item.model.id: _model_facts(r) for r in records},
        _provenance(sample),
        {row["run"]: row["spec"] for row in runs.to_dict("records") if run in (None, row["run"])},
    )


@dataclass(frozen=True)
class _Origin:
    """What is said of a discovery; its arrays are let go. `title` is that of the first study it is in."""

    title: str
    item: WorkItem
    residual: float | None
    provenance: Mapping[str, Any]


def _sample(store: Store, studies: tuple[StudyOverview, ...]) -> Iterator[_Origin]:
    """Of the discoveries behind the circuits that are shown in full."""
    wanted = {r.discovery_id: shown.title for shown in reversed(studies) for r in shown.records.values()}
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


def _of_studies(studies: tuple[StudyOverview, ...]) -> Iterator[str]:
    for shown in studies:
        yield from (f"{shown.title}: {note}" for note in shown.notes)
        circuits = len(shown.study.circuits)
        if len(shown.records) < circuits:
            yield (
                f"{shown.title}: {len(shown.records)} of {circuits} circuits were read in full; warnings that belong "
                "to the others are not here"
            )
        for record in shown.records.values():
            yield from (f"{_about(shown.title, record.item)}: {note}" for note in record.notes)


def _of_origins(origins: list[_Origin]) -> Iterator[str]:
    for origin in origins:
        warned = origin.provenance.get("warnings")
        if not warned and origin.residual is not None and abs(origin.residual) > RESIDUAL_LIMIT:
            yield (
                f"{_about(origin.title, origin.item)}: the scores miss their total by {abs(origin.residual):.1%} "
                f"(above {RESIDUAL_LIMIT:.0%}); more steps make them exact"
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
