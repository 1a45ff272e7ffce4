"""What a defence study fits to one attack on discovery images; it is read from the store where the store has it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from ..circuits import NO_INTERVENTION, Condition, EdgeScores, Fit, FitThing, FitUse, digest
from ..defence import FittedDetector, fit_detector
from ..defence.choosing import Chooser, under_attack
from ..defence.fits import directions_fit, fitted_directions, fitted_scores, scores_fit
from ..defence.labelled import LabelledImages, twins
from ..defence.rows import Material
from ..discovery import score_edges
from ..evaluation import Execution
from ..evaluation.interventions import Directions, Offset, fit_directions, fit_offsets
from .defence_images import StudyImages
from .study import StudyStore

VERSION = 3
"""Version of what a study computes; raised when the same spec gives other fits."""

METHOD = "eap-ig"
"""Method that scores the edges of an attack's mechanism."""


def study_question(images: StudyImages, attack: Condition, what: str) -> str:
    """Return the hash of everything that a fit of a study depends on.

    Args:
        images: the images of the study.
        attack: the attack that is defended against.
        what: what is fitted.
    """
    classes = [images.trial(cls, attack, NO_INTERVENTION, knowing=False).id for cls in images.classes]
    columns = [condition.to_dict() for condition in images.conditions]
    settings = images.settings.model_dump(mode="json")
    return digest([VERSION, what, attack.to_dict(), classes, columns, settings, images.plan.spec.seed])[:16]


class AttackFits:
    """The fits of a study against one attack.

    The question that a fit answers follows from the spec, the images and the attack, so a stored fit is found before
    any image is attacked.

    Args:
        attack: the attack.
        images: the images of the study.
        kept: what the study stores.
    """

    def __init__(self, attack: Condition, images: StudyImages, kept: StudyStore) -> None:
        self.attack, self.images, self._kept, self.model = attack, images, kept, images.plan.model
        self._settings, self._execution = images.settings, Execution(images.plan.spec.batch_size)

    def question(self, what: str) -> str:
        """Return the hash of everything that a fit depends on, see `study_question`."""
        return study_question(self.images, self.attack, what)

    def _fit(self, thing: FitThing, use: FitUse, computed: Callable[[FitUse], Fit]) -> Fit:
        if (there := self._kept.fit(thing, use)) is None:
            there = computed(use)
            self._kept.put(there)
        return there

    # --- images ------------------------------------------------------------------------------------

    @cached_property
    def _successful(self) -> tuple[LabelledImages, LabelledImages, np.ndarray]:
        return self.images.successful(self.attack)

    @cached_property
    def _reference(self) -> LabelledImages:
        return self.images.of_all(self.images.natural, "discovery")

    @cached_property
    def _selection(self) -> tuple[LabelledImages, LabelledImages]:
        clean, attacked = (self.images.of_all(c, "selection") for c in (self.images.natural, self.attack))
        return clean, attacked

    # --- fits --------------------------------------------------------------------------------------

    def directions(self, offset: Offset) -> Directions:
        """Return the attack's directions, with offsets by a rule."""
        params: dict[str, Any] = {"offset": offset, "question": self.question("directions")}
        if offset == "quantile":
            params["quantile"] = self._settings.quantile

        def computed(use: FitUse) -> Fit:
            if offset == "zero":
                pairs = twins(self.model, *self._successful[:2])
                options: dict[str, Any] = {"form": self._settings.form, "execution": self._execution}
                found = fit_directions(self.model, pairs, offset="zero", **options)
            else:
                options = {"offset": offset, "quantile": self._settings.quantile}
                found = fit_offsets(self.model, self.directions("zero"), self._reference.images, **options)
            return directions_fit(found, self.model.info, self.images.plan.source.name, use)

        return fitted_directions(self._fit("directions", FitUse.of(self._settings.form, params), computed), self.model)

    @cached_property
    def scores(self) -> EdgeScores:
        """Scores of the attack's mechanism, pooled over classes: which edges raise the wrong class."""

        def computed(use: FitUse) -> Fit:
            clean, attacked, turned = self._successful
            pairs = twins(self.model, attacked, clean, turned)
            options: dict[str, Any] = {"form": self._settings.form, "metric": "logit-diff"}
            scores = score_edges(self.model, pairs, METHOD, execution=self._execution, **options)
            return scores_fit(scores, self.model.info, self.images.plan.source.name, clean.hashes, use)

        use = FitUse.of(METHOD, {"question": self.question("circuit")})
        return fitted_scores(self._fit("circuit", use, computed), self.model)

    def _detector(self) -> FittedDetector:
        """Return the detector that gates a row, fitted to unattacked images."""
        reference, (clean, _) = self._reference, self._selection
        found = fit_detector(
            self.model,
            reference.images,
            reference.labels,
            self._settings.detector,
            selection=clean.images,
            false_alarms=self._settings.false_alarms,
            hashes=reference.hashes,
            execution=self._execution,
        )
        self._kept.put(found.to_fit(self.images.plan.source.name))
        return found

    @cached_property
    def material(self) -> Material:
        """What defences are made from."""
        offsets: tuple[Offset, ...] = ("zero", "quantile", "mean")
        clean, attacked, _ = self._successful
        return Material(
            self.model,
            {offset: self.directions(offset) for offset in offsets},
            self.scores,
            clean,
            attacked,
            *self._selection,
            self._detector,
            self._settings.false_alarms,
            self._settings.clean_loss,
            self._settings.sizes,
            self._settings.strengths,
        )

    @cached_property
    def chooser(self) -> Chooser:
        """Chooses defences on selection images; it runs the unchanged model once for all rows."""
        return under_attack(self.model, *self._selection, self._settings.clean_loss, self._execution)
