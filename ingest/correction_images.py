"""The images of a correction: every class and group under one condition, split by split, and the trials about them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from ..circuits import NO_CUE, NO_INTERVENTION, ClassInfo, Condition, Intervention, Trial, digest, short_names
from ..defence import CuedImages, LabelledImages, Search
from ..defence.confusion import ConfusionProblem
from ..defence.group_correction import GroupProblem
from ..defence.labelled import joined
from ..defence.problem import Problem
from ..errors import InputError, check_known, unknown
from ..evaluation import Execution
from ..images import SPLITS, ImageRef, Split
from .choice import Choice
from .images import groups_of_class
from .plan import Plan, run_classes
from .requests import conditions_of
from .spec import CorrectionSpec, Spec, errors_at
from .study import report_trial


class Cell(NamedTuple):
    """The images of a class, or of one of its groups.

    Attributes:
        cls: the class.
        group: name of the group; empty if the images are not divided.
        cue: index of the class that the group's cue goes with; `NO_CUE` for no cue.
    """

    cls: ClassInfo
    group: str
    cue: int


class CorrectionImages:
    """The images of a correction.

    Attributes:
        plan: the plan, with the model and the source of the images.
        settings: the table `correction` of the spec.
        conditions: the conditions under which the model is corrected, each by itself.
        names: short name of each condition.
        cells: the classes and groups.
        notices: messages for the user about the images.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        spec = plan.spec
        self.settings = _settings(spec)
        if spec.images.choose != "all":
            raise InputError(
                f"{spec.origin}: images.choose: expected 'all', because a correction is about images that the model "
                f"classifies wrongly, got {spec.images.choose!r}"
            )
        self.conditions = list(dict.fromkeys(conditions_of(spec, dict(enumerate(plan.attackers)))))
        texts = short_names([c.text for c in self.conditions])
        self.names = {c: texts[c.text] for c in self.conditions}
        notices: dict[str, None] = {}
        classes = run_classes(spec, plan.source, notices)
        cues = _cues(plan, self.settings)
        grouped = self.settings.error == "cue"
        self.cells = [
            Cell(cls, group, cues.get(group, NO_CUE))
            for cls in classes
            for group in (groups_of_class(plan.source, cls, notices) if grouped else [""])
        ]
        self._choice = Choice(plan)
        self.notices = tuple(notices)

    def refs(self, cell: Cell, split: Split) -> tuple[ImageRef, ...]:
        """Return the images of a cell in one split."""
        return getattr(self._choice.of(cell.cls, self.conditions[0], "all", cell.group), split)

    def of_cell(self, cell: Cell, condition: Condition, split: Split) -> LabelledImages:
        """Return the images of a cell in one split, which has some, under a condition."""
        refs, model = self.refs(cell, split), self.plan.model
        views = self._choice.predictions.views(cell.cls, refs, condition)
        labels, hashes = np.full(len(refs), cell.cls.class_index), tuple(ref.hash for ref in refs)
        return LabelledImages.of(model, model.preprocess.normalise(views), labels, hashes=hashes)

    def of_all(self, condition: Condition, split: Split) -> LabelledImages:
        """Return the images of all cells; with their cues, if a cue is corrected.

        Raises:
            InputError: there are none.
        """
        cells = [cell for cell in self.cells if self.refs(cell, split)]
        images = joined([self.of_cell(cell, condition, split) for cell in cells])
        if self.settings.error != "cue":
            return images
        cues = torch.tensor([cell.cue for cell in cells for _ in self.refs(cell, split)])
        return CuedImages(images=images.images, labels=images.labels, hashes=images.hashes, cues=cues)

    def problem(self, condition: Condition, execution: Execution) -> Problem:
        """Return the error to correct under a condition.

        Raises:
            InputError: the images do not show it.
        """
        settings, discovery, selection = self.settings, *(self.of_all(condition, s) for s in SPLITS[:2])
        search = Search(settings.sizes, settings.strengths, settings.max_loss, settings.quantile)
        with errors_at(self.plan.spec, self.names[condition]):
            if isinstance(discovery, CuedImages) and isinstance(selection, CuedImages):
                return GroupProblem(self.plan.model, discovery, selection, search, settings.form, execution)
            return ConfusionProblem(self.plan.model, discovery, selection, search, settings.form, execution)

    def reported(self, condition: Condition, intervention: Intervention = NO_INTERVENTION) -> dict[Cell, Trial]:
        """Return the question about each cell that has report images."""
        return {
            cell: report_trial(self.plan, cell.cls, condition, intervention, cell.group)
            for cell in self.cells
            if self.refs(cell, "report")
        }

    def question(self, condition: Condition, what: str) -> str:
        """Return the hash of everything that a fit depends on."""
        asked = [
            [*cell[1:], report_trial(self.plan, cell.cls, condition, NO_INTERVENTION, cell.group).id]
            for cell in self.cells
        ]
        settings = self.settings.model_dump(mode="json", exclude={"draws"})
        return digest([VERSION, what, asked, settings, self.plan.spec.seed])[:16]

    def to_pandas(self) -> pd.DataFrame:
        """Return columns `class, image_group, cue, discovery, selection, report`: numbers of images, a row per cell."""
        name = self.plan.source.name_of
        rows = [
            (
                cell.cls.name,
                cell.group,
                "" if cell.cue == NO_CUE else name(cell.cue),
                *(len(self.refs(cell, s)) for s in SPLITS),
            )
            for cell in self.cells
        ]
        return pd.DataFrame(rows, columns=["class", "image_group", "cue", *SPLITS])


VERSION = 1
"""Version of what a correction computes; raised when the same spec gives other fits."""


def _settings(spec: Spec) -> CorrectionSpec:
    if spec.correction is None:
        raise InputError(
            f"{spec.origin}: correction: this table is missing; add [correction], such as\n[correction]\n"
            'error = "confusion"'
        )
    return spec.correction


def _cues(plan: Plan, settings: CorrectionSpec) -> dict[str, int]:
    """Return the index of the class that each group's cue goes with."""
    if settings.cues is None:
        return {}
    source, spec = plan.source, plan.spec
    if not source.groups:
        raise InputError(
            f"{spec.origin}: images.groups: the correction of a cue needs groups, which name the cue of each image; "
            'add groups = { path = "groups.csv" }, or the name of a column'
        )
    found: dict[str, int] = {}
    with errors_at(spec, "correction.cues"):
        for group, name in settings.cues.items():
            check_known("group", group, sorted(set(source.groups.values())))
            index = source.class_index_of(name)
            if index is None:
                raise unknown("class", name, [c.name for c in source.classes])
            found[group] = index
    return found
