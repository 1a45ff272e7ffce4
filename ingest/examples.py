"""Example images of a run: a few images of each class under each condition, clean and attacked, stored once."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..circuits import Example, ExampleImages, SeenImage, WorkItem, examples_id
from ..images import ImageRef, Views, attack_checks, changes_images, printable, probabilities
from ..store import Writer
from .choice import Choice
from .plan import Plan


def store_examples(choice: Choice, plan: Plan, writer: Writer, failed: Collection[str]) -> None:
    """Store the example images that the store lacks, except those of failed items.

    Args:
        choice: the images of the items.
        plan: the run.
        writer: the writer of the store, which no other thread uses meanwhile.
        failed: ids of failed items.
    """
    stored = writer.examples(plan.spec.name)
    for id, item in _wanted(plan).items():
        if id not in stored and item.id not in failed:
            images = example_images(choice, item, plan.spec.images.examples)
            if images is not None:
                writer.put(images, run=plan.spec.name)


def _wanted(plan: Plan) -> dict[str, WorkItem]:
    """Return the first item of each class, group and condition, by the id of its example images."""
    count = plan.spec.images.examples
    first: dict[object, WorkItem] = {}
    for item in (planned.item for planned in plan.items):
        first.setdefault((item.target_class, item.selection.group, item.condition), item)
    return {examples_id(item, count): item for item in first.values()} if count else {}


def example_images(choice: Choice, item: WorkItem, count: int) -> ExampleImages | None:
    """Return the first images of an item, report images first; None if no image qualifies.

    Raises:
        BadImage: an image cannot be decoded.
        InputError: the attack is not possible.
    """
    chosen, cls, condition = choice.of_item(item), item.target_class, item.condition
    refs = (*chosen.report, *chosen.selection, *chosen.discovery)[:count]
    if not refs:
        return None
    views = choice.predictions.views
    clean = _seen(choice, views(cls, refs))
    attacked = _seen(choice, views(cls, refs, condition)) if changes_images(condition) else [None] * len(refs)
    checks = attack_checks(choice.predictions, cls, chosen.discovery, condition)
    return ExampleImages.of(item, count, _examples(refs, clean, attacked), checks and checks.to_dict())


def _examples(
    refs: Sequence[ImageRef], clean: Sequence[SeenImage], attacked: Sequence[SeenImage | None]
) -> tuple[Example, ...]:
    triples = zip(refs, clean, attacked, strict=True)
    return tuple(Example(ref.hash, printable(ref.origin), before, after) for ref, before, after in triples)


def _seen(choice: Choice, views: Views) -> list[SeenImage]:
    """Return the views with the model's predictions."""
    shares, source = probabilities(choice.predictions.model, views), choice.predictions.source
    return [
        SeenImage(view, source.name_of(int(share.argmax())), float(share.max()))
        for view, share in zip(views, shares, strict=True)
    ]
