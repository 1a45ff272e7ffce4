"""Choice of the images of a plan's items; every class is classified once."""

from __future__ import annotations

from typing import Any

from ..circuits import ClassInfo, Condition, WorkItem, digest
from ..images import (
    SPLITS,
    ImageRef,
    Predictions,
    Selected,
    Split,
    Tally,
    contrast_classes,
    deal_partners,
    draws_on,
    has_image,
    quotas,
    select_images,
)
from .plan import Plan


class Choice:
    """The images chosen for the items of one plan.

    Attributes:
        plan: the plan.
        predictions: the classes that the model predicts for the candidates.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._known: dict[tuple[str, ...], Selected] = {}
        self.predictions = Predictions(plan.source, plan.model, plan.spec.seed, plan.attackers)

    def of(self, cls: ClassInfo, condition: Condition, rule: str, group: str = "") -> Selected:
        """Return the images of a class, or of one of its groups, that qualify by a rule (see `RULES`)."""
        key = (cls.key, condition.text if rule == "successful" else "", rule, group)
        if key not in self._known:
            per_class = self.plan.spec.images.per_class
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
        classes = contrast_classes(corruption, self.plan.source, item.target_class, seed=seed, count=selection.count)
        rule = "all" if selection.rule == "all" else "correct"
        pools = [getattr(self.of(c, item.condition, rule), split) for c in classes]
        shares = quotas(selection.count)
        before = sum(shares[earlier] for earlier in SPLITS[: SPLITS.index(split)])
        return deal_partners(pools, count, before)

    def constants(self, item: WorkItem) -> dict[str, Any] | None:
        """Return what replaces the outputs of senders: the averaged images and the values, by hash; None for images."""
        corruption, seed, cls = item.recipe.corruption, item.recipe.seed, item.target_class
        if has_image(corruption):
            return None
        averaged = draws_on(corruption, self.plan.source, cls, seed=seed, count=item.selection.count)
        found = self.predictions.constants(corruption)
        hashes = digest([ref.hash for ref in averaged])
        return {"images": found.images, "images_hash": hashes, "values_hash": found.digest}

    def tally(self, item: WorkItem) -> Tally:
        """Return how the model classifies the candidates tried for an item, unattacked and under its condition."""
        return self.predictions.tally(item.target_class, self.of_item(item).tried, item.condition)
