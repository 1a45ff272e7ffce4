"""What a spec works on, before anything is scored: figures per class and condition, and images beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from ..circuits import ClassInfo, WorkItem
from ..errors import InputError
from ..images import ImageRef, Tally, attacked_file, build_views, is_attack, predict, printable
from ..models import ViT
from ..results import Table
from .choice import Choice
from .plan import Plan, make_plan
from .spec import Spec
from .survey import survey


@dataclass(frozen=True, eq=False)
class View:
    """One image as the model sees it, before normalisation.

    Attributes:
        what: `clean`, `attacked` or `corrupted`.
        name: its file, or what was done to it.
        pixels: the image.
        read_as: what the model takes it for.
    """

    what: str
    name: str
    pixels: UInt8[np.ndarray, "height width 3"]
    read_as: str


@dataclass(frozen=True, eq=False)
class Samples:
    """Images of one class under one condition, each beside its corrupted counterpart.

    Attributes:
        item: one of the questions that are asked of them.
        tally: how the model reads all candidates that were tried.
        images: the views of each image.
        remark: what is to be said of them; empty where they are some of those chosen.
    """

    item: WorkItem
    tally: Tally
    images: tuple[tuple[View, ...], ...]
    remark: str = ""


class Preview:
    """A spec's images, and how its model reads them.

    Attributes:
        plan: what the spec asks.
        survey: figures per class and condition, see `survey`.
    """

    def __init__(self, plan: Plan, *, progress: bool = False) -> None:
        self.plan, self._choice = plan, Choice(plan)
        self.survey: Table = survey(plan, self._choice, [p.item for p in plan.items], progress=progress)

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know of the images and of the plan."""
        return (*self.plan.source.notices, *self.plan.notices)

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """The classes that are asked, in their order."""
        return tuple(dict.fromkeys(p.item.target_class for p in self.plan.items))

    def samples(self, cls: ClassInfo, count: int = 3) -> Iterator[Samples]:
        """The first images of a class, once per condition and corruption; none where they cannot be made."""
        items = [p.item for p in self.plan.items if p.item.target_class == cls]
        for item in {(i.condition, i.recipe.corruption): i for i in items}.values():
            chosen = self._choice.of_item(item)
            refs = chosen.discovery[:count] or chosen.tried[:count]
            remark = "" if chosen.discovery else f"none qualifies ({item.selection.rule}): {chosen.why}"
            try:
                tally = self._choice.tally(item)
                yield Samples(item, tally, tuple(self._views(item, refs)) if refs else (), remark)
            except InputError as error:
                yield Samples(item, Tally(0, 0), (), str(error))

    def _views(self, item: WorkItem, refs: Sequence[ImageRef]) -> Iterator[tuple[View, ...]]:
        cls, condition, corruption = item.target_class, item.condition, item.recipe.corruption
        source, predictions = self.plan.source, self._choice.predictions
        partners = self._choice.partners(item, "discovery", len(refs))
        seed = item.recipe.seed
        attacked, corrupted = build_views(source, cls, refs, condition, corruption, seed=seed, partners=partners)
        read = [predictions.of(cls, refs), predictions.of(cls, refs, condition), predict(self.plan.model, corrupted)]
        clean, turned, other = ([source.name_of(int(index)) for index in indices] for indices in read)
        for i, ref in enumerate(refs):
            views = [View("clean", printable(ref.origin), source.view(ref), clean[i])]
            if is_attack(condition):
                twin = attacked_file(condition, source, ref)
                name = condition.kind if twin is None else printable(twin.origin)
                views.append(View("attacked", name, attacked[i], turned[i]))
            name = printable(partners[i].origin) if partners else corruption.kind
            yield (*views, View("corrupted", name, corrupted[i], other[i]))


def preview(spec: Spec, model: ViT | None = None, *, progress: bool = False) -> Preview:
    """Look at the images of a spec before it is indexed; nothing is scored or stored.

    Args:
        model: a loaded model, in place of the one that the spec names.
        progress: a bar on stderr where reading the images takes more than two seconds.

    Raises:
        InputError: as `make_plan`.
    """
    return Preview(make_plan(spec, model), progress=progress)
