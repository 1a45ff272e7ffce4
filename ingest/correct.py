"""Corrections: fitted on discovery images, chosen on selection images, and reported on report images."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

import pandas as pd

from ..bars import QUIET_S, Bar
from ..circuits import NO_INTERVENTION, Condition, EdgeScores, Fit, FitUse, Intervention, correction_table
from ..defence.choosing import Candidate, Choice, Chooser
from ..defence.confusion import METHODS as CONFUSION_METHODS
from ..defence.contrast import Contrast
from ..defence.fits import directions_fit, fitted_directions, fitted_scores, scores_fit
from ..defence.group_correction import METHODS as CUE_METHODS
from ..defence.labelled import LabelledImages
from ..defence.problem import EDGES, Contrasted, Method, Problem
from ..errors import recorded
from ..evaluation import Execution
from ..evaluation.interventions import Directions, Edit
from ..models import ViT, plain_torch
from ..results import Table
from ..store import PartLocations, create_store
from .correction_images import Cell, CorrectionImages
from .names import check_names
from .plan import make_plan
from .spec import Spec
from .study import StudyStore

METHODS: dict[str, tuple[Method, ...]] = {"cue": CUE_METHODS, "confusion": CONFUSION_METHODS}
"""The methods by the error that they correct, in the order of the table."""


@dataclass(frozen=True)
class CorrectionResult:
    """The result of a correction.

    Attributes:
        run: its name.
        table: a row per condition, method and group of images, see `correction_table`.
        sweeps: what was compared on selection images, a row per condition, method and candidate.
        computed: number of responses computed in this call; the others were stored.
        seconds: wall time.
        notices: messages for the user about model, images and store.
    """

    run: str
    table: Table
    sweeps: pd.DataFrame
    computed: int
    seconds: float
    notices: tuple[str, ...] = ()

    def to_pandas(self) -> pd.DataFrame:
        """Return the frame of `table`."""
        return self.table.to_pandas()


@plain_torch()
def correct(
    spec: Spec,
    *,
    model: ViT | None = None,
    location: str | Path | None = None,
    wait_s: float = 0.0,
    progress: bool = True,
    **locations: Unpack[PartLocations],
) -> CorrectionResult:
    """Correct a model that trusts a cue or confuses two classes, and compare with simpler corrections.

    Under each condition of the spec, circuit and directions are fitted on discovery images, and size, set of directions
    and strength are chosen on selection images at a bounded loss. All figures are of report images. Repeating the call
    computes only what the store lacks.

    Args:
        spec: model, images, conditions, and the table `correction`.
        model: a loaded model, used instead of the model in the spec.
        location: folder of the store, created if missing; default `./circuitstore-data`.
        wait_s: seconds to wait for another writer of the store.
        progress: show a bar on stderr.
        locations: `graph`, `catalog`, `account` of the store, as for `open_store`.

    Raises:
        InputError: the spec has no table `correction`, or a name that does not exist; the images do not show the error,
            see `correct_groups` and `correct_confusion`. What was computed before is stored.
        StoreError: as for `index`.

    Examples:
        >>> turned = cs.ingest.spec.ConditionSpec(kind="rotation", severity=5)
        >>> table = cs.ingest.spec.CorrectionSpec(error="confusion", sizes=(24,), strengths=(1.0,), draws=1)
        >>> images = spec.images.model_copy(update={"choose": "all"})
        >>> asked = spec.model_copy(update={"condition": (turned,), "correction": table, "images": images})
        >>> correct(asked, location=folder, progress=False).table.frame["method"].unique().tolist()[:2]
        ['none', 'edges']
    """
    began = time.monotonic()
    plan = make_plan(spec, model, progress=progress)
    images = CorrectionImages(plan)
    records: list[Fit] = []
    with create_store(location, **locations) as store, store.writer(wait_s=wait_s) as writer:
        named = check_names(store, plan.model, plan.source)
        writer.start_run(spec.name, spec.text, [])
        kept = StudyStore(plan, store, writer)
        with _bar(images, progress) as bar, recorded() as warned:
            for condition in images.conditions:
                records += _Correction(images, kept, bar, condition).records()
        table = correction_table(records, lambda id: store.archive.response(id)[0])
        notices = (*plan.source.notices, *plan.notices, *images.notices, *warned, *named, *writer.notices)
    notes = dict.fromkeys(note for record in records for note in record.facts["notes"])
    sweeps = [
        pd.DataFrame(record.facts["sweep"]).assign(condition=record.facts["under"], method=record.use.kind)
        for record in records
    ]
    seconds = time.monotonic() - began
    sweep = pd.concat([s for s in sweeps if len(s)], ignore_index=True)
    return CorrectionResult(spec.name, Table(table, tuple(notes)), sweep, kept.computed, seconds, notices)


def correction_images(spec: Spec, model: ViT | None = None, *, progress: bool = True) -> Table:
    """Return how many images a correction would use: a row per class and group, a column per split. Nothing is stored.

    Args:
        spec: model, images, conditions, and the table `correction`.
        model: a loaded model, used instead of the model in the spec.
        progress: show a bar on stderr if reading the files of images takes more than two seconds.

    Raises:
        InputError: as for `correct`.

    Examples:
        >>> table = cs.ingest.spec.CorrectionSpec(error="confusion")
        >>> images = spec.images.model_copy(update={"choose": "all"})
        >>> correction_images(spec.model_copy(update={"correction": table, "images": images})).frame.columns.tolist()
        ['class', 'image_group', 'cue', 'discovery', 'selection', 'report']
    """
    plan = make_plan(spec, model, progress=progress)
    images = CorrectionImages(plan)
    return Table(images.to_pandas(), (*plan.source.notices, *plan.notices, *images.notices))


def _bar(images: CorrectionImages, wanted: bool) -> Bar:
    shown: dict[str, Any] = {"delay": QUIET_S, "leave": False, "dynamic_ncols": True}
    total = len(images.conditions) * len(METHODS[images.settings.error])
    return Bar(total=total, unit="method", desc="corrections", disable=not wanted, **shown)


class _Correction:
    """The correction of a model under one condition; what is stored is not computed again."""

    def __init__(self, images: CorrectionImages, kept: StudyStore, bar: Bar, condition: Condition) -> None:
        self._images, self._kept, self._bar, self._condition = images, kept, bar, condition
        self._plan, self._name = images.plan, images.names[condition]
        self._choices: dict[str, Choice] = {}
        self._shown: dict[Cell, LabelledImages] = {}

    def records(self) -> Iterator[Fit]:
        """Yield the record of each method, after computing the responses that are not stored."""
        for method in METHODS[self._images.settings.error]:
            self._bar.set_postfix_str(f"{self._name}: {method.name}")
            use = FitUse.of(method.name, {"question": self._question("correction", draws=True)})
            record = self._kept.fit("correction", use)
            if record is None:
                record = self._record(method, use)
                self._kept.put(record)
            self._respond(method, record)
            self._bar.update()
            yield record

    # --- images, circuit and directions ------------------------------------------------------------

    @cached_property
    def _problem(self) -> Problem:
        return self._images.problem(self._condition, Execution(self._plan.spec.batch_size, progress=self._count))

    def _count(self, done: int, total: int) -> None:
        self._bar.set_postfix_str(f"{self._name}: {done} edits tried")

    @cached_property
    def _contrast(self) -> Contrast:
        problem = self._problem
        scores = self._scores()
        directions = {
            name: tuple(self._directions(name, place, of) for place, of in enumerate(some))
            for name, some in problem.sets.items()
        }
        return Contrast(scores, directions, problem.search)

    def _scores(self) -> EdgeScores:
        use = FitUse.of("eap-ig", {"question": self._question("scores")})
        there = self._kept.fit("circuit", use)
        if there is None:
            hashes = self._problem.wrong[0].images.hashes
            there = scores_fit(self._problem.scores(), self._plan.model.info, self._plan.source.name, hashes, use)
            self._kept.put(there)
        return fitted_scores(there, self._plan.model)

    def _directions(self, name: str, place: int, of: Contrasted) -> Directions:
        use = FitUse.of(
            self._images.settings.form, {"question": self._question("directions"), "set": name, "place": place}
        )
        there = self._kept.fit("directions", use)
        if there is None:
            there = directions_fit(self._problem.directions(of), self._plan.model.info, self._plan.source.name, use)
            self._kept.put(there)
        return fitted_directions(there, self._plan.model)

    # --- methods -----------------------------------------------------------------------------------

    @cached_property
    def _chooser(self) -> Chooser:
        return self._problem.chooser()

    def _chosen(self, method: Method) -> Choice:
        assert method.choose is not None
        if method.name not in self._choices:
            self._choices[method.name] = method.choose(self._problem, self._contrast, self._chooser)
        return self._choices[method.name]

    def _candidates(self, method: Method) -> list[Candidate]:
        """Return the chosen edit of a method, or the draws of a control; one if nothing was chosen."""
        if method.control is None:
            return [self._chosen(method).chosen.candidate]
        like = self._chosen(EDGES).chosen.candidate
        draws = range(1 if like.edit is None else self._images.settings.draws)
        return [method.control(self._contrast, like, seed) for seed in draws]

    def _record(self, method: Method, use: FitUse) -> Fit:
        """Return what was chosen for a method, with the ids of its responses, before any of them is computed."""
        candidates, problem = self._candidates(method), self._problem
        sweep = self._chosen(method).sweep if method.control is None else pd.DataFrame()
        draws = [self._images.reported(self._condition, _intervention(c.edit)) for c in candidates]
        names = [self._plan.source.name_of(index) for index in problem.pair or ()]
        facts = {
            "error": " read as ".join(names) if names else "cue",
            "condition": self._condition.to_dict(),
            "under": self._name,
            "pair": list(problem.pair) if problem.pair else None,
            "changed": candidates[0].edit is not None,
            "settings": dict(candidates[0].settings),
            "interventions": [_intervention(candidate.edit).to_dict() for candidate in candidates],
            "sweep": sweep.astype(object).where(sweep.notna(), None).to_dict("records"),
            "cells": [{"cue": cell.cue, "responses": [draw[cell].id for draw in draws]} for cell in draws[0]],
            "notes": list(problem.notes),
        }
        hashes = problem.discovery.hashes
        return Fit("correction", use, self._plan.model.info, self._plan.source.name, hashes, {}, facts)

    def _respond(self, method: Method, record: Fit) -> None:
        """Compute the responses of a method that are not stored."""
        missing = self._kept.missing([id for cell in record.facts["cells"] for id in cell["responses"]])
        if not missing:
            return
        for candidate in self._candidates(method):
            trials = self._images.reported(self._condition, _intervention(candidate.edit))
            asked = {trial: self._report(cell) for cell, trial in trials.items() if trial.id in missing}
            self._kept.respond(candidate.edit, asked)
            missing -= {trial.id for trial in asked}

    def _report(self, cell: Cell) -> LabelledImages:
        if cell not in self._shown:
            self._shown[cell] = self._images.of_cell(cell, self._condition, "report")
        return self._shown[cell]

    def _question(self, what: str, *, draws: bool = False) -> str:
        return self._images.question(self._condition, f"{what} {self._images.settings.draws}" if draws else what)


def _intervention(edit: Edit | None) -> Intervention:
    return NO_INTERVENTION if edit is None else edit.intervention
