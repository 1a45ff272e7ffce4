"""Defence studies: defences fitted on discovery images, chosen on selection images, and reported on report images."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
import pandas as pd

from ..bars import QUIET_S, Bar
from ..circuits import (
    NO_INTERVENTION,
    ClassInfo,
    Condition,
    DefenceCell,
    Fit,
    FitUse,
    Intervention,
    Trial,
    cells_of,
    defence_table,
    study_notes,
)
from ..defence import DETECTORS
from ..defence.choosing import Candidate
from ..defence.detectors.calibration import check_enough
from ..defence.labelled import LabelledImages, joined
from ..defence.rows import NONE, ROWS, Material, Row, check_sizes
from ..errors import InputError, recorded
from ..evaluation.interventions import Directions, Edit
from ..models import ViT, plain_torch
from ..results import Table
from ..store import PartLocations, create_store
from .defence_fits import AttackFits
from .defence_images import StudyImages
from .knowing import can_know, tries_words
from .names import check_names
from .plan import make_plan
from .spec import Spec, errors_at
from .study import StudyStore

PICTURES = 6
"""Number of images that a study keeps for the report."""


@dataclass(frozen=True)
class DefenceResult:
    """The result of a defence study.

    Attributes:
        run: its name.
        table: a row per attack, defence and condition, see `defence_table`; its notes say what the figures mean.
        coherence: coherence of the directions, a row per attack and sender.
        sweeps: what was compared on selection images, a row per attack, defence and candidate.
        computed: number of responses computed in this call; the others were stored.
        seconds: wall time.
        notices: messages for the user about model, images and store.
    """

    run: str
    table: Table
    coherence: pd.DataFrame
    sweeps: pd.DataFrame
    computed: int
    seconds: float
    notices: tuple[str, ...] = ()

    def to_pandas(self) -> pd.DataFrame:
        """Return the frame of `table`."""
        return self.table.to_pandas()


@plain_torch()
def defend(
    spec: Spec,
    *,
    model: ViT | None = None,
    location: str | Path | None = None,
    wait_s: float = 0.0,
    progress: bool = True,
    **locations: Unpack[PartLocations],
) -> DefenceResult:
    """Fit defences against the attacks of a spec, choose them on selection images, and report them on other images.

    For each attack, directions and the circuit of its mechanism are found on discovery images whose attack succeeds,
    all classes together. Numbers of edges, strengths and offsets are chosen on selection images at a bounded loss of
    unattacked images. All figures are of report images; an attack with held-out words writes these on them. Repeating
    the call computes only what the store lacks.

    Args:
        spec: model, images, conditions, and the table `defence`.
        model: a loaded model, used instead of the model in the spec.
        location: folder of the store, created if missing; default `./circuitstore-data`.
        wait_s: seconds to wait for another writer of the store.
        progress: show a bar on stderr.
        locations: `graph`, `catalog`, `account` of the store, as for `open_store`.

    Raises:
        InputError: the spec has no table `defence`, no attack, or a name that does not exist; an attack succeeds on
            fewer than two discovery images; a class has no images in a split. What was computed before is stored.
        StoreError: as for `index`.

    Examples:
        >>> attack = cs.ingest.spec.ConditionSpec(kind="fgsm", eps="8/255")
        >>> few = cs.ingest.spec.DefenceSpec(sizes=(24,), strengths=(1.0,), draws=1, restarts=1, false_alarms=0.2)
        >>> study = spec.model_copy(update={"condition": (attack,), "defence": few})
        >>> result = defend(study, location=folder, progress=False)
        >>> result.table.frame["condition"].unique().tolist()
        ['natural', 'fgsm']
    """
    began = time.monotonic()
    plan = make_plan(spec, model, progress=progress)
    images = StudyImages(plan)
    check_sizes(images.settings.sizes, plan.model.graph(images.settings.form).n_edges)
    with errors_at(spec, "defence"):
        DETECTORS.resolve(images.settings.detector)
        check_enough(sum(len(images.refs(cls, "selection")) for cls in images.classes), images.settings.false_alarms)
    with create_store(location, **locations) as store, store.writer(wait_s=wait_s) as writer:
        named = check_names(store, plan.model, plan.source)
        writer.start_run(spec.name, spec.text, [])
        kept = StudyStore(plan, store, writer)
        with _bar(images, progress) as bar, recorded() as warned:
            study = _Study(images, kept, bar)
            cells = [cell for attack in images.against for cell in study.against(attack)]
        notices = (*plan.source.notices, *plan.notices, *images.notices, *warned, *named, *writer.notices)
    table = defence_table(cells)
    return DefenceResult(
        spec.name,
        Table(table, tuple(study_notes(study.records, table))),
        pd.concat(study.coherence, ignore_index=True),
        pd.concat(study.sweeps, ignore_index=True),
        kept.computed,
        time.monotonic() - began,
        notices,
    )


def _bar(images: StudyImages, wanted: bool) -> Bar:
    shown: dict[str, Any] = {"delay": QUIET_S, "leave": False, "dynamic_ncols": True}
    return Bar(total=len(images.against) * (len(ROWS) + 1), unit="row", desc="defences", disable=not wanted, **shown)


@dataclass(frozen=True)
class _Column:
    """A column of the table: a condition, and what its attacker knows."""

    condition: Condition
    attacker: Literal["none", "model", "defence"]


class _Study:
    """One pass over the attacks and rows of a study."""

    def __init__(self, images: StudyImages, kept: StudyStore, bar: Bar) -> None:
        self.images, self.kept, self.bar = images, kept, bar
        self.plan, self.model = images.plan, images.plan.model
        self.coherence: list[pd.DataFrame] = []
        self.sweeps: list[pd.DataFrame] = []
        self.records: list[Fit] = []
        self._shown: dict[tuple[ClassInfo, Condition], LabelledImages] = {}

    def against(self, attack: Condition) -> Iterator[DefenceCell]:
        """Yield the cells of all defences against an attack."""
        name, fits = self.images.names[attack], AttackFits(attack, self.images, self.kept)
        self.bar.set_postfix_str(f"{name}: directions and circuit")
        self.coherence.append(fits.directions("quantile").to_pandas().assign(against=name))
        self.bar.update()
        chosen: dict[str, Mapping[str, Any]] = {}
        for row in ROWS:
            self.bar.set_postfix_str(f"{name}: {row.name}")
            record, candidates = self._row(row, fits, chosen)
            chosen[row.name] = record.facts["settings"]
            self.records.append(record)
            if row.candidates is not None:
                self.sweeps.append(pd.DataFrame(record.facts["sweep"]).assign(against=name, defence=row.name))
            missing = self._missing(record)
            for column in self._columns(attack, row):
                for candidate in candidates:
                    self._respond(column, candidate.edit, missing)
            yield from cells_of(record, lambda id: self.kept.store.archive.response(id)[0])
            self.bar.update()

    # --- rows --------------------------------------------------------------------------------------

    def _row(self, row: Row, fits: AttackFits, chosen: Mapping[str, Mapping[str, Any]]) -> tuple[Fit, list[Candidate]]:
        """Return the record of a row, chosen now or earlier, and its edits, if some of its responses are missing."""
        use = FitUse.of(row.name, {"question": fits.question(row.name)})
        there = self.kept.fit("defence", use)
        if there is not None and not self._missing(there):
            return there, []
        if row.control is not None:
            candidates = self._draws(row, fits.material, chosen[row.like])
            return there or self._record(row, use, fits, candidates, pd.DataFrame()), candidates
        assert row.candidates is not None
        candidates = row.candidates(fits.material)
        if there is None:
            choice = fits.chooser.best(candidates)
            best, settings = choice.chosen.candidate, candidates[0].settings if candidates else {row.name: None}
            one = Candidate(None, dict.fromkeys(settings)) if best.edit is None else best
            return self._record(row, use, fits, [one], choice.sweep), [one]
        place = [i for i, tried in enumerate(there.facts["sweep"]) if tried["chosen"]]
        return there, [candidates[place[0]] if place else Candidate(None, there.facts["settings"])]

    def _draws(self, row: Row, material: Material, like: Mapping[str, Any]) -> list[Candidate]:
        """Return the draws of a control with the settings of another row; nothing is drawn if that row does nothing."""
        assert row.control is not None
        if like.get("size") is None:
            return [Candidate(None, like)]
        return [row.control(material, like, seed) for seed in range(self.images.settings.draws)]

    def _record(
        self, row: Row, use: FitUse, fits: AttackFits, candidates: Sequence[Candidate], sweep: pd.DataFrame
    ) -> Fit:
        """Store what was chosen for a row, with the ids of its responses, before any of them is computed."""
        attack = fits.attack
        cells = [
            {
                "condition": self.images.names[column.condition],
                "attacker": column.attacker,
                "targets": [self._target(column, cls) for cls in self.images.classes],
                "responses": [[t.id for t in self._trials(column, candidate.edit)] for candidate in candidates],
            }
            for column in self._columns(attack, row)
        ]
        facts = {
            "against": self.images.names[attack],
            "condition": attack.to_dict(),
            "settings": candidates[0].settings,
            "interventions": [_intervention(candidate.edit).to_dict() for candidate in candidates],
            "sweep": sweep.to_dict("records"),
            "coherence": _coherence(fits.material.directions["quantile"]),
            "cells": cells,
        }
        arrays = self._pictures(attack, facts) if row.name == NONE else {}
        images = fits.material.clean.hashes
        record = Fit("defence", use, self.model.info, self.plan.source.name, images, arrays, facts)
        self.kept.put(record)
        return record

    def _target(self, column: _Column, cls: ClassInfo) -> int | None:
        """Return the class that a column's attack aims at; an attacker who tries words aims at no single one."""
        if column.attacker == "defence" and tries_words(column.condition):
            return None
        return self.images.target(cls, column.condition, "report")

    def _pictures(self, attack: Condition, facts: dict[str, Any]) -> dict[str, np.ndarray]:
        """Return one report image of some classes, unattacked and attacked, for the report; add their hashes."""
        classes = self.images.classes[:PICTURES]
        clean, attacked = (
            joined([self._sample(cls, _Column(c, "model"), None).spread(1) for cls in classes])
            for c in (self.images.natural, attack)
        )
        facts["pictures"] = [[cls.name, hash_] for cls, hash_ in zip(classes, clean.hashes, strict=True)]
        facts["names"] = {str(c.class_index): c.name for c in self.plan.source.classes}
        views = self.model.preprocess.views
        return {"clean": views(clean.images), "attacked": views(attacked.images)}

    def _columns(self, attack: Condition, row: Row) -> Iterator[_Column]:
        for condition in self.images.conditions:
            yield _Column(condition, "none" if condition == self.images.natural else "model")
        if row.attacked_knowing and can_know(attack):
            yield _Column(attack, "defence")

    def _trials(self, column: _Column, edit: Edit | None) -> list[Trial]:
        knowing = column.attacker == "defence"
        return [
            self.images.trial(cls, column.condition, _intervention(edit), knowing=knowing)
            for cls in self.images.classes
        ]

    # --- cells -------------------------------------------------------------------------------------

    def _missing(self, record: Fit) -> set[str]:
        """Return the ids of the responses of a row that are not stored; the run keeps the others."""
        ids = [id for cell in record.facts["cells"] for draw in cell["responses"] for id in draw]
        return self.kept.missing(ids)

    def _respond(self, column: _Column, edit: Edit | None, missing: set[str]) -> None:
        """Compute and store the missing responses of all classes under one condition and edit.

        Images of all classes run together, except those that are attacked again, which takes long.
        """
        trials = dict(zip(self.images.classes, self._trials(column, edit), strict=True))
        classes = [cls for cls, trial in trials.items() if trial.id in missing]
        groups = [[cls] for cls in classes] if column.attacker == "defence" else [classes]
        for group in filter(None, groups):
            samples = [self._sample(cls, column, edit) for cls in group]
            self.kept.respond(edit, {trials[cls]: sample for cls, sample in zip(group, samples, strict=True)})
            missing.difference_update(trials[cls].id for cls in group)

    def _sample(self, cls: ClassInfo, column: _Column, edit: Edit | None) -> LabelledImages:
        """Return the report images of a class, attacked through the edit if the attacker knows it."""
        if column.attacker == "defence":
            with edit.applied(self.model) if edit is not None else nullcontext():
                return self.images.of_class(cls, column.condition, "report", knowing=self.images.settings.restarts)
        key = (cls, column.condition)
        if key not in self._shown:
            self._shown[key] = self.images.of_class(cls, column.condition, "report")
        return self._shown[key]


def _intervention(edit: Edit | None) -> Intervention:
    return NO_INTERVENTION if edit is None else edit.intervention


def _coherence(directions: Directions) -> dict[str, float]:
    values = directions.mean_coherence[directions.defined.any(axis=1)]
    if not len(values):
        raise InputError("directions: the attack changes no sender's output, so there is no direction to remove")
    return {"median": float(np.median(values)), "least": float(values.min()), "largest": float(values.max())}
