"""Defence studies: defences fitted on discovery images, chosen on selection images, and reported on report images."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
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
    EdgeScores,
    Fit,
    FitUse,
    Intervention,
    Trial,
    cells_of,
    defence_table,
    digest,
    study_notes,
)
from ..defence.choosing import Candidate, Chooser, under_attack
from ..defence.fits import directions_fit, fitted_directions, fitted_scores, scores_fit
from ..defence.labelled import LabelledImages, joined, twins
from ..defence.rows import NONE, ROWS, Material, Row, check_sizes
from ..discovery import score_edges
from ..errors import InputError, recorded
from ..evaluation import Execution
from ..evaluation.interventions import Directions, Edit, Offset, fit_directions, fit_offsets
from ..models import ViT, plain_torch
from ..results import Table
from ..store import PartLocations, create_store
from .defence_images import StudyImages, follows_model
from .names import check_names
from .plan import make_plan
from .spec import Spec
from .study import StudyStore

VERSION = 2
"""Version of what a study computes; raised when the same spec gives other fits."""

PICTURES = 6
"""Number of images that a study keeps for the report."""

METHOD = "eap-ig"
"""Method that scores the edges of an attack's mechanism."""


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
    """A column of the table: a condition, and whether the attack follows the gradients of the defended model."""

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
        self._execution = Execution(self.plan.spec.batch_size)
        self._choosers: dict[Condition, Chooser] = {}
        self._shown: dict[tuple[ClassInfo, Condition], LabelledImages] = {}

    def against(self, attack: Condition) -> Iterator[DefenceCell]:
        """Yield the cells of all defences against an attack."""
        name = self.images.names[attack]
        self.bar.set_postfix_str(f"{name}: directions and circuit")
        material = self._material(attack)
        directions = material.directions["quantile"]
        self.coherence.append(directions.to_pandas().assign(against=name))
        self.bar.update()
        chosen: dict[str, dict[str, Any]] = {}
        for row in ROWS:
            self.bar.set_postfix_str(f"{name}: {row.name}")
            record, candidates = self._row(attack, row, material, chosen)
            chosen[row.name] = record.facts["settings"]
            self.records.append(record)
            yield from self._cells(attack, row, candidates, record)
            self.bar.update()

    # --- directions and circuit --------------------------------------------------------------------

    def _material(self, attack: Condition) -> Material:
        settings = self.images.settings
        clean, attacked, turned = self.images.successful(attack)
        pairs = twins(self.model, clean, attacked)
        everything = self.images.of_all(self.images.natural, "discovery").images

        def fitted() -> Directions:
            return fit_directions(self.model, pairs, form=settings.form, offset="zero", execution=self._execution)

        bare = self._directions(attack, clean.hashes, "zero", fitted)
        by_offset: dict[Offset, Directions] = {"zero": bare}
        for offset in ("quantile", "mean"):

            def with_offsets(offset: Offset = offset) -> Directions:
                return fit_offsets(self.model, bare, everything, offset=offset, quantile=settings.quantile)

            by_offset[offset] = self._directions(attack, clean.hashes, offset, with_offsets)
        scores = self._scores(attack, clean, attacked, turned)
        return Material(
            self.model,
            by_offset,
            scores,
            clean,
            attacked,
            self.images.of_all(self.images.natural, "selection"),
            settings.false_alarms,
            settings.sizes,
            settings.strengths,
        )

    def _directions(self, attack: Condition, images: Sequence[str], offset: Offset, fit: Any) -> Directions:
        params: dict[str, Any] = {"offset": offset, "question": self._question(attack, "directions", images)}
        if offset == "quantile":
            params["quantile"] = self.images.settings.quantile
        use = FitUse.of(self.images.settings.form, params)
        if (there := self.kept.fit("directions", use)) is None:
            there = directions_fit(fit(), self.model.info, self.plan.source.name, use)
            self.kept.put(there)
        return fitted_directions(there, self.model)

    def _scores(
        self, attack: Condition, clean: LabelledImages, attacked: LabelledImages, turned: np.ndarray
    ) -> EdgeScores:
        """Return the scores of the attack's mechanism, pooled over classes: which edges raise the wrong class."""
        use = FitUse.of(METHOD, {"question": self._question(attack, "circuit", clean.hashes)})
        there = self.kept.fit("circuit", use)
        if there is None:
            pairs = twins(self.model, attacked, clean, turned)
            options: dict[str, Any] = {"form": self.images.settings.form, "metric": "logit-diff"}
            scores = score_edges(self.model, pairs, METHOD, execution=self._execution, **options)
            there = scores_fit(scores, self.model.info, self.plan.source.name, clean.hashes, use)
            self.kept.put(there)
        return fitted_scores(there, self.model)

    # --- rows --------------------------------------------------------------------------------------

    def _row(
        self, attack: Condition, row: Row, material: Material, chosen: dict[str, dict[str, Any]]
    ) -> tuple[Fit, list[Candidate]]:
        """Return the record of a row, chosen now or earlier, and its edits: one, or the draws of a control."""
        use = FitUse.of(row.name, {"question": self._question(attack, row.name, material.clean.hashes)})
        there = self.kept.fit("defence", use)
        if row.control is not None:
            like = chosen[row.like]
            nothing = like.get("size") is None
            draws = range(1 if nothing else self.images.settings.draws)
            candidates = [Candidate(None, like) if nothing else row.control(material, like, seed) for seed in draws]
            if there is None:
                there = self._record(attack, row, use, material, candidates, pd.DataFrame())
            return there, candidates
        assert row.candidates is not None
        candidates = row.candidates(material)
        if there is None:
            choice = self._chooser(attack).best(candidates)
            nothing = Candidate(None, dict.fromkeys(candidates[0].settings))
            chosen_one = nothing if choice.chosen.candidate.edit is None else choice.chosen.candidate
            there = self._record(attack, row, use, material, [chosen_one], choice.sweep)
        sweep = pd.DataFrame(there.facts["sweep"])
        self.sweeps.append(sweep.assign(against=self.images.names[attack], defence=row.name))
        place = np.flatnonzero(sweep["chosen"].to_numpy(bool))
        return there, [candidates[place[0]] if len(place) else Candidate(None, there.facts["settings"])]

    def _chooser(self, attack: Condition) -> Chooser:
        """Return what chooses defences against an attack; it runs the unchanged model once for all rows."""
        if attack not in self._choosers:
            clean, attacked = (self.images.of_all(c, "selection") for c in (self.images.natural, attack))
            loss = self.images.settings.clean_loss
            self._choosers[attack] = under_attack(self.model, clean, attacked, loss, self._execution)
        return self._choosers[attack]

    def _record(
        self,
        attack: Condition,
        row: Row,
        use: FitUse,
        material: Material,
        candidates: Sequence[Candidate],
        sweep: pd.DataFrame,
    ) -> Fit:
        """Store what was chosen for a row, with the ids of its responses, before any of them is computed."""
        cells = [
            {
                "condition": self.images.names[column.condition],
                "attacker": column.attacker,
                "targets": [self.images.target(c, column.condition, "report") for c in self.images.classes],
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
            "coherence": _coherence(material.directions["quantile"]),
            "cells": cells,
        }
        arrays = self._pictures(attack, facts) if row.name == NONE else {}
        record = Fit("defence", use, self.model.info, self.plan.source.name, material.clean.hashes, arrays, facts)
        self.kept.put(record)
        return record

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
        if row.attacked_knowing and follows_model(attack):
            yield _Column(attack, "defence")

    def _trials(self, column: _Column, edit: Edit | None) -> list[Trial]:
        knowing = column.attacker == "defence"
        return [
            self.images.trial(cls, column.condition, _intervention(edit), knowing=knowing)
            for cls in self.images.classes
        ]

    # --- cells -------------------------------------------------------------------------------------

    def _cells(
        self, attack: Condition, row: Row, candidates: Sequence[Candidate], record: Fit
    ) -> Iterator[DefenceCell]:
        """Yield the cells of a row, after computing the responses that are not stored."""
        missing = self.kept.missing([id for cell in record.facts["cells"] for draw in cell["responses"] for id in draw])
        for column in self._columns(attack, row):
            for candidate in candidates:
                self._respond(column, candidate.edit, missing)
        yield from cells_of(record, lambda id: self.kept.store.archive.response(id)[0])

    def _respond(self, column: _Column, edit: Edit | None, missing: set[str]) -> None:
        """Compute and store the missing responses of all classes under one condition and edit."""
        for cls, trial in zip(self.images.classes, self._trials(column, edit), strict=True):
            if trial.id in missing:
                self.kept.respond(edit, {trial: self._sample(cls, column, edit)})
                missing.discard(trial.id)

    def _sample(self, cls: ClassInfo, column: _Column, edit: Edit | None) -> LabelledImages:
        """Return the report images of a class, attacked through the edit if the attacker knows it."""
        if column.attacker == "defence":
            with edit.applied(self.model) if edit is not None else nullcontext():
                return self.images.of_class(cls, column.condition, "report", knowing=self.images.settings.restarts)
        key = (cls, column.condition)
        if key not in self._shown:
            self._shown[key] = self.images.of_class(cls, column.condition, "report")
        return self._shown[key]

    def _question(self, attack: Condition, what: str, images: Sequence[str]) -> str:
        """Return the hash of everything that a fit of this study depends on."""
        spec = self.plan.spec
        classes = [self.images.trial(cls, attack, NO_INTERVENTION, knowing=False).id for cls in self.images.classes]
        columns = [condition.to_dict() for condition in self.images.conditions]
        settings = self.images.settings.model_dump(mode="json")
        return digest([VERSION, what, attack.to_dict(), classes, list(images), columns, settings, spec.seed])[:16]


def _intervention(edit: Edit | None) -> Intervention:
    return NO_INTERVENTION if edit is None else edit.intervention


def _coherence(directions: Directions) -> dict[str, float]:
    values = directions.mean_coherence[directions.defined.any(axis=1)]
    if not len(values):
        raise InputError("directions: the attack changes no sender's output, so there is no direction to remove")
    return {"median": float(np.median(values)), "least": float(values.min()), "largest": float(values.max())}
