"""The contents of a report and a summary, read once from the store as plain values."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ..circuits import ExampleImages, ModelInfo, WorkItem
from ..discovery import RESIDUAL_LIMIT
from ..query import CrossResults, Study, read_studies
from ..results import Table
from ..store import Store
from .corrections import CorrectionOverview, read_corrections
from .defences import DefenceOverview, read_defences
from .examples import read_examples
from .group_comparison import GroupComparison, read_group_comparisons
from .model_pairs import FIRST_STORED, ModelPair, ModelRoles, read_model_pairs
from .neuron_paths import PathOverview, has_paths, read_neuron_paths
from .notes import read_notes
from .readouts import ReadoutSet, read_readouts
from .study_overview import StudyOverview, read_study, titles
from .wording import join_names

MAX_STUDIES = 6


@dataclass(frozen=True, eq=False)
class Overview:
    """The contents of a store or a run.

    Attributes:
        store: the id of the store.
        run: the name of the run; None for the whole store.
        studies: studies of circuits of edges, effect studies first.
        items: the questions, one row each, as in the catalog.
        model_pairs: a base model and each other model whose circuits differ only in the model.
        model_notes: notes on these pairs, or why there are none.
        groups: comparisons of groups of images.
        notes: warnings: failures, residuals, fewer images than requested, what is not shown.
        models: a description of each model, by fingerprint.
        provenance: the provenance of the scores, for a sample of the discoveries.
        specs: the specs of the runs (TOML text), by name.
        examples: example images of classes under conditions.
        readouts: read-outs of classes under conditions, by question.
        neuron_paths: neuron paths of classes, by search.
        defences: studies of defences, by attack.
        written: notes of people, as `query.note_records`.
        corrections: corrections, by condition and error.
    """

    store: str
    run: str | None
    studies: tuple[StudyOverview, ...]
    items: pd.DataFrame
    model_pairs: tuple[ModelPair, ...] = ()
    model_notes: tuple[str, ...] = ()
    groups: tuple[GroupComparison, ...] = ()
    notes: tuple[str, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    specs: Mapping[str, str] = field(default_factory=dict)
    examples: tuple[ExampleImages, ...] = ()
    readouts: tuple[ReadoutSet, ...] = ()
    neuron_paths: tuple[PathOverview, ...] = ()
    defences: tuple[DefenceOverview, ...] = ()
    written: tuple[Mapping[str, Any], ...] = ()
    corrections: tuple[CorrectionOverview, ...] = ()

    @property
    def n_circuits(self) -> int:
        """The number of circuits without a flag, neuron paths included."""
        return sum(len(shown.study.circuits) for shown in self.studies) + sum(len(p.table) for p in self.neuron_paths)

    @property
    def image_settings(self) -> dict[str, dict[str, Any]]:
        """The table `images` of each spec, by run."""
        return {name: tomllib.loads(text).get("images", {}) for name, text in self.specs.items()}


def read_overview(
    store: Store, run: str | None = None, roles: ModelRoles = FIRST_STORED, cross: Table | None = None
) -> Overview:
    """Read the contents of a report of a run, or of the whole store.

    Args:
        store: the store.
        run: the run; None for the whole store.
        roles: the models that others are compared with.
        cross: what `cross_evaluate` returned about circuits of the store.

    Raises:
        InputError: the run or a model does not exist, or `cross` has not the columns of `cross_evaluate`.
    """
    crossed = CrossResults(cross) if cross else None
    stored = read_studies(store, run)
    found = tuple(study for study in stored if not has_paths(study))
    first = found[:MAX_STUDIES]
    named = zip(titles(first), first, strict=True)
    studies = tuple(read_study(store, title, study, crossed) for title, study in named)
    items = store.items(run)
    sample = list(_sample(studies))
    groups, about_groups = read_group_comparisons(store, found, run)
    notes = [*_left_out(found), *_failures(items), *_study_notes(studies), *_residual_notes(sample), *about_groups]
    records = [r for shown in studies for r in shown.records.values()]
    runs, examples = store.runs(), read_examples(store, run)
    seen = {example.hash for images in examples for example in images.examples}
    readouts, searches = read_readouts(store, run, seen), [study for study in stored if has_paths(study)]
    read = [record for shown in readouts for record in shown.records]
    answered = [*(r.item for r in (*records, *read)), *(entry.item for study in searches for entry in study.entries)]
    return Overview(
        store.id,
        run,
        studies,
        items,
        *read_model_pairs(store, found, run, roles, cross),
        groups,
        tuple(dict.fromkeys(notes)),
        {item.model.id: _model_facts(item.model) for item in answered},
        _provenance([*(origin.provenance for origin in sample), *(record.provenance for record in read)]),
        {row["run"]: row["spec"] for row in runs.to_dict("records") if run in (None, row["run"])},
        examples,
        readouts,
        read_neuron_paths(store, searches),
        read_defences(store, run),
        read_notes(store, run),
        read_corrections(store, run),
    )


@dataclass(frozen=True)
class _Origin:
    """A discovery without its arrays; `title` is the title of the first study that it belongs to."""

    title: str
    item: WorkItem
    residual: float | None
    provenance: Mapping[str, Any]


def _sample(studies: tuple[StudyOverview, ...]) -> Iterator[_Origin]:
    """Yield the discoveries of the circuits that are shown in full, each once."""
    found = {d.id: (shown.title, d) for shown in reversed(studies) for d in shown.discoveries.values()}
    for title, discovery in found.values():
        residual = discovery.scores.residual if discovery.scores else None
        yield _Origin(title, discovery.item, residual, discovery.provenance)


def _left_out(studies: tuple[Study, ...]) -> Iterator[str]:
    if len(studies) > MAX_STUDIES:
        yield f"{len(studies) - MAX_STUDIES} more studies (recipes or extractions) are in the store and not shown."


def _failures(items: pd.DataFrame) -> Iterator[str]:
    if items.empty:
        return
    open_ones = sum(state in ("wanted", "leased") for state in items["state"])
    if open_ones:
        yield f"{open_ones} of {len(items)} questions are not answered yet; run the same spec again to continue."
    for row in items.loc[items["state"] == "failed"].head(20).to_dict("records"):
        yield f"Failed: {row['class']}, {row['condition']}, {row['metric']}: {row['error']}"


def _study_notes(studies: tuple[StudyOverview, ...]) -> Iterator[str]:
    for shown in studies:
        yield from (f"{shown.title}: {note}" for note in shown.notes)
        circuits = len(shown.study.circuits)
        if len(shown.records) < circuits:
            yield (
                f"{shown.title}: {len(shown.records)} of {circuits} circuits were read in full; warnings about the "
                "others are not shown"
            )
        yield from _record_notes(shown)


def _record_notes(shown: StudyOverview) -> Iterator[str]:
    """Yield each note once, with the circuits that have it."""
    found: dict[str, list[str]] = {}
    for record in shown.records.values():
        about = f"{record.item.target_class.name} ({shown.study.short(record.item.condition.text)})"
        for note in record.notes:
            found.setdefault(note, []).append(about)
    for note, circuits in found.items():
        yield f"{shown.title}: {join_names(circuits, 3)}: {note}"


def _residual_notes(origins: list[_Origin]) -> Iterator[str]:
    for origin in origins:
        warned = origin.provenance.get("warnings")
        if not warned and origin.residual is not None and abs(origin.residual) > RESIDUAL_LIMIT:
            yield (
                f"{_about(origin.title, origin.item)}: the scores miss their total by {abs(origin.residual):.1%} "
                f"(above {RESIDUAL_LIMIT:.0%}); more steps reduce the residual"
            )


def _about(title: str, item: WorkItem) -> str:
    return f"{title}: {item.target_class.name}, {item.condition.kind}, {item.recipe.metric.kind}"


def _model_facts(m: ModelInfo) -> str:
    return f"{m.name}: {m.n_layers} layers of {m.n_heads} heads, width {m.d_model}, {m.n_classes} classes"


def _provenance(sources: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Collect all values of each entry."""
    found: dict[str, dict[str, None]] = {}
    for source in sources:
        for name, value in source.items():
            if isinstance(value, str):
                found.setdefault(name, {})[value] = None
    return {name: ", ".join(values) for name, values in found.items()}
