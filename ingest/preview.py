"""Preview of a spec before anything is scored: figures per class and condition, and images side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Int, UInt8

from ..circuits import ClassInfo, WorkItem
from ..errors import InputError
from ..images import (
    Grouping,
    ImageRef,
    Tally,
    attacked_file,
    build_views,
    changes_images,
    has_image,
    predict,
    printable,
)
from ..models import ViT
from ..results import Table
from .choice import Choice
from .plan import Plan, make_plan
from .spec import Spec
from .survey import survey, survey_row


@dataclass(frozen=True, eq=False)
class View:
    """One image as the model sees it, before normalisation.

    Attributes:
        kind: `clean` (unattacked), `attacked` or `corrupted`.
        name: its file, or the kind of its condition or corruption.
        pixels: the image.
        predicted: name of the class that the model predicts.
    """

    kind: str
    name: str
    pixels: UInt8[np.ndarray, "height width 3"]
    predicted: str


@dataclass(frozen=True, eq=False)
class Samples:
    """Images of one class under one condition, each with its corrupted image if the corruption has one.

    Attributes:
        item: one of the items that use them.
        tally: how the model classifies all candidates that were tried.
        images: the views of each image.
        remark: why none are shown, or why those shown were not chosen; empty if they were chosen.
    """

    item: WorkItem
    tally: Tally
    images: tuple[tuple[View, ...], ...]
    remark: str = ""


class Preview:
    """The images of a spec, and how its model classifies them.

    Attributes:
        plan: the plan of the spec.
        survey: figures per class and condition, see `survey`.
    """

    def __init__(self, plan: Plan, *, progress: bool = False) -> None:
        self.plan, self._choice = plan, Choice(plan)
        self.survey: Table = survey(
            plan, [p.item for p in plan.items], partial(map, partial(survey_row, self._choice)), progress=progress
        )

    @property
    def notices(self) -> tuple[str, ...]:
        """Messages for the user about the images and the plan."""
        return (*self.plan.source.notices, *self.plan.notices)

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """The classes of the run, in order."""
        return tuple(dict.fromkeys(p.item.target_class for p in self.plan.items))

    def samples(self, cls: ClassInfo, count: int = 3) -> Iterator[Samples]:
        """Yield the first images of a class, once per group, condition and corruption; none if they cannot be built."""
        items = [p.item for p in self.plan.items if p.item.target_class == cls]
        for item in {(i.selection.group, i.condition, i.recipe.corruption): i for i in items}.values():
            chosen = self._choice.of_item(item)
            refs = chosen.discovery[:count] or chosen.tried[:count]
            remark = "" if chosen.discovery else f"none qualifies ({item.selection.rule}): {chosen.why}"
            try:
                tally = self._choice.tally(item)
                yield Samples(item, tally, tuple(self._views(item, refs)) if refs else (), remark)
            except InputError as error:
                yield Samples(item, Tally(0, 0), (), str(error))

    def _views(self, item: WorkItem, refs: Sequence[ImageRef]) -> Iterator[tuple[View, ...]]:
        cls, condition, source = item.target_class, item.condition, self.plan.source
        predictions, corrupted = self._choice.predictions, self._corrupted(item, refs)
        attacked = predictions.views(cls, refs, condition)
        clean, under_attack = (self._names(predictions.of(cls, refs, under)) for under in (None, condition))
        for i, ref in enumerate(refs):
            views = [View("clean", printable(ref.origin), source.view(ref), clean[i])]
            if changes_images(condition):
                twin = attacked_file(condition, source, ref)
                name = condition.kind if twin is None else printable(twin.origin)
                views.append(View("attacked", name, attacked[i], under_attack[i]))
            yield (*views, *corrupted[i : i + 1])

    def _corrupted(self, item: WorkItem, refs: Sequence[ImageRef]) -> list[View]:
        """Return the corrupted image of each image; none if the corruption replaces the outputs of senders."""
        condition, corruption = item.condition, item.recipe.corruption
        if not has_image(corruption):
            return []
        partners = self._choice.partners(item, "discovery", len(refs))
        predictions, cls = self._choice.predictions, item.target_class
        _, views = build_views(predictions, cls, refs, condition, corruption, partners=partners)
        names = [printable(ref.origin) for ref in partners] or [corruption.kind] * len(refs)
        read = self._names(predict(self.plan.model, views))
        return [View("corrupted", *view) for view in zip(names, views, read, strict=True)]

    def _names(self, classes: Int[np.ndarray, "image"]) -> list[str]:
        return [self.plan.source.name_of(index) for index in classes.tolist()]


def preview(spec: Spec, model: ViT | None = None, *, groups: Grouping | None = None, progress: bool = False) -> Preview:
    """Return the images of a spec, and how its model classifies them; nothing is scored or stored.

    Args:
        spec: the run.
        model: a loaded model, used instead of the model in the spec.
        groups: how the images are divided into groups, used instead of `images.groups` in the spec.
        progress: show a bar on stderr if reading the images takes more than two seconds.

    Raises:
        InputError: see `make_plan`.

    Examples:
        >>> seen = preview(spec)
        >>> seen.survey.to_pandas()[["class", "condition", "discovery", "selection", "report"]].values.tolist()
        [['three', 'natural', 6, 3, 3], ['eight', 'natural', 6, 3, 3]]
        >>> [view.kind for view in next(seen.samples(seen.classes[0])).images[0]]
        ['clean', 'corrupted']
    """
    return Preview(make_plan(spec, model, groups=groups, progress=progress), progress=progress)
