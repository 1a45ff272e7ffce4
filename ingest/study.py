"""What a study stores beside the items of its run: fits and responses, each computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..circuits import ClassInfo, Condition, Fit, FitThing, FitUse, Intervention, Metric, Response, Trial
from ..circuits.recipe import Selection
from ..defence.answers import answers
from ..defence.labelled import LabelledImages, joined
from ..evaluation import Execution
from ..evaluation.interventions import Edit
from ..images import CORRUPTIONS, contrast, order_candidates, surroundings
from ..models import ViT
from ..store import FITS, RESPONSE, Store, Writer
from .plan import Plan
from .provenance import versions


class StudyStore:
    """The fits and responses of one run's study.

    Attributes:
        store: the store.
        computed: number of responses computed in this call; the others were stored.
    """

    def __init__(self, plan: Plan, store: Store, writer: Writer) -> None:
        self.store, self._writer = store, writer
        self._model: ViT = plan.model
        self._run, self._execution = plan.spec.name, Execution(plan.spec.batch_size)
        self.computed = 0

    def fit(self, thing: FitThing, use: FitUse) -> Fit | None:
        """Return the stored fit that answers a question, and keep it; None if there is none."""
        rows = self.store.fits(thing=thing, model_id=self._model.fingerprint, fit=use.text)
        for id in rows["id"]:
            if not self._writer.keep(self._run, FITS, [id]) and (fit := self._writer.read_sound(FITS, id)) is not None:
                return fit
        return None

    def put(self, fit: Fit) -> None:
        """Store a fit."""
        self._writer.put(replace(fit, provenance=versions(self._model)), run=self._run)

    def missing(self, ids: Sequence[str]) -> set[str]:
        """Keep responses by id, and return the ids of those that are not stored."""
        return set(self._writer.keep(self._run, RESPONSE, list(ids)))

    def respond(self, edit: Edit | None, asked: Mapping[Trial, LabelledImages]) -> None:
        """Compute and store the responses of the model, with an edit, to trials and their images."""
        if not asked:
            return
        found = answers(self._model, edit, joined(list(asked.values())).images, self._execution)
        provenance = {**versions(self._model), "seconds_per_image": found.seconds}
        first = 0
        for trial, images in asked.items():
            logits = found.logits[first : first + len(images)]
            predicted = logits.argmax(axis=1).astype(np.int32)
            true = np.full(len(images), trial.target_class.class_index, np.int32)
            of_class = logits[:, trial.target_class.class_index]
            response = Response(trial, images.hashes, of_class, predicted, true, predicted == true, provenance)
            self._writer.put(response, run=self._run)
            self.computed += 1
            first += len(images)


def report_trial(
    plan: Plan, cls: ClassInfo, condition: Condition, intervention: Intervention, group: str = ""
) -> Trial:
    """Return the question how report images of a class, or of one of its groups, are classified."""
    spec, source = plan.spec, plan.source
    hashes = [ref.hash for ref in order_candidates(source.candidates(cls, group), spec.seed)]
    options: dict[str, Any] = {"count": spec.images.per_class, "seed": spec.seed}
    nothing = CORRUPTIONS.resolve("zero")
    around = surroundings(source, cls, condition, nothing, **options)
    names = contrast(source, cls, condition, nothing, **options)
    selection = Selection.of(hashes, spec.images.per_class, spec.images.choose, spec.seed, around, group)
    metric, info = Metric.of("logit"), plan.model.info
    return Trial(info, cls, condition, selection, "report", metric, intervention, seed=spec.seed, contrast=names)
