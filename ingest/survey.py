"""Survey of a run before anything is scored: model, images, and how the model classifies them per condition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from ..bars import late_bar
from ..circuits import ClassInfo, Condition, WorkItem
from ..errors import InputError
from ..images import SPLITS, changes_images, printable, targets_of
from ..results import Table
from .choice import Choice
from .plan import Plan

COLUMNS = [
    "class", "image_group", "condition", "tried", "accuracy", "attacked_accuracy", "success", "target", "word", *SPLITS,
]  # fmt: skip


Surveyed = dict[str, Any] | str
"""A row of a survey, or the note about an image that cannot be read."""


def survey(
    plan: Plan,
    items: Iterable[WorkItem],
    rows_of: Callable[[Sequence[WorkItem]], Iterable[Surveyed]],
    *,
    progress: bool = False,
) -> Table:
    """Return one row per class, group and condition of the items, with the columns `COLUMNS`.

    `image_group` is left out if the images are not divided into groups.
    `tried` is the number of candidates that were classified until enough qualified. `accuracy` is the share of them
    that the model classifies correctly without attack, `attacked_accuracy` the same under the condition. `success` is
    the share of the correctly classified ones that the attack changes to `target`, or to any other class if it has no
    target. The last three columns count the chosen images. Facts of the table: `model`, `weights`, `pixels`, `images`.

    Args:
        plan: the run.
        items: its items.
        rows_of: returns the row of each item, see `survey_row`.
        progress: show a bar if it takes more than two seconds.
    """
    surveyed = list({(i.target_class, i.selection.group, i.condition, i.selection.rule): i for i in items}.values())
    bar = late_bar(surveyed, unit="row", desc="reading images", wanted=progress)
    found = [one for _, one in zip(bar, rows_of(surveyed), strict=True)]
    rows = [one for one in found if not isinstance(one, str)]
    notes = [one for one in found if isinstance(one, str)]
    shown = [name for name in COLUMNS if name != "image_group" or plan.source.groups]
    frame = pd.DataFrame(rows, columns=shown)
    frame = frame.astype(dict.fromkeys(("accuracy", "attacked_accuracy", "success"), float))
    return Table(frame, tuple(notes), dict(_facts(plan)))


def survey_row(choice: Choice, item: WorkItem) -> Surveyed:
    """Return the row of an item, or a note if an image cannot be read: items that need the image will fail."""
    try:
        return _row(choice.plan, choice, item)
    except InputError as error:
        return f"{item.target_class.name}, {item.condition.text}: {error}"


def _row(plan: Plan, choice: Choice, item: WorkItem) -> dict[str, Any]:
    tally, chosen = choice.tally(item), choice.of_item(item)
    return {
        "class": item.target_class.name,
        "image_group": item.selection.group,
        "condition": item.condition.text,
        "tried": tally.tried,
        "accuracy": tally.accuracy,
        "attacked_accuracy": tally.attacked_accuracy,
        "success": tally.success,
        "target": _aim(plan, item.target_class, item.condition),
        "word": item.contrast.word,
        **{split: len(getattr(chosen, split)) for split in SPLITS},
    }


def _aim(plan: Plan, cls: ClassInfo, condition: Condition) -> str | None:
    """Return the class that counts as a success of the attack, for people."""
    if not changes_images(condition):
        return None
    targets = targets_of(condition, plan.source, cls, plan.spec.seed)
    return " / ".join("any other" if target is None else plan.source.name_of(target) for target in targets)


def _facts(plan: Plan) -> Iterator[tuple[str, str]]:
    model, source = plan.model, plan.source
    yield "model", f"{model.name}, {model.n_layers} layers of {model.n_heads} heads, {model.n_classes} classes"
    yield "weights", model.weights
    yield "pixels", model.preprocess.text
    count = sum(len(source.candidates(cls)) for cls in source.classes)
    yield "images", f"{printable(source.name)}: {count} of {len(source.classes)} classes"
