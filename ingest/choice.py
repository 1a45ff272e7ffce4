"""Choice of the images of a plan's items; every class is classified once."""

from __future__ import annotations

from ..circuits import ClassInfo, Condition, WorkItem
from ..images import (
    SPLITS,
    ImageRef,
    Predictions,
    Selected,
    Split,
    Tally,
    contrast_classes,
    deal_partners,
    quotas,
    select_images,
)
from .plan import Plan


class Choice:
    """The images chosen for the items of one plan.

    Attributes:
        predictions: the classes that the model predicts for the candidates.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._known: dict[tuple[str, ...], Selected] = {}
        self.predictions = Predictions(plan.source, plan.model, plan.spec.seed, plan.attackers)

    def of(self, cls: ClassInfo, condition: Condition, rule: str, group: str = "") -> Selected:
        """Return the images of a class, or of one of its groups, that qualify by a rule (see `RULES`)."""
        key = (cls.key, condition.text if rule == "successful" else "", rule, group)
        if key not in self._known:
            per_class = self._plan.spec.images.per_class
            self._known[key] = select_images(
                self.predictions, cls, per_class=per_class, rule=rule, condition=condition, group=group
            )
        return self._known[key]

    def of_item(self, item: WorkItem) -> Selected:
        """Return the images of an item."""
        return self.of(item.target_class, item.condition, item.selection.rule, item.selection.group)

    def partners(self, item: WorkItem, split: Split, count: int) -> tuple[ImageRef, ...]:
        """Return the partners of the first images of a split, if the corruption pairs images."""
        corruption, seed, selection = item.recipe.corruption, item.recipe.seed, item.selection
        classes = contrast_classes(corruption, self._plan.source, item.target_class, seed=seed, count=selection.count)
        rule = "all" if selection.rule == "all" else "correct"
        pools = [getattr(self.of(c, item.condition, rule), split) for c in classes]
        shares = quotas(selection.count)
        before = sum(shares[earlier] for earlier in SPLITS[: SPLITS.index(split)])
        return deal_partners(pools, count, before)

    def tally(self, item: WorkItem) -> Tally:
        """Return how the model classifies the candidates tried for an item, unattacked and under its condition."""
        return self.predictions.tally(item.target_class, self.of_item(item).tried, item.condition)
