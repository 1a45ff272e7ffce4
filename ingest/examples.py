"""Example images of a run: a few images of each class under each condition, clean and attacked, stored once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from ..circuits import Example, ExampleImages, SeenImage, WorkItem, examples_id
from ..images import ImageRef, Views, attack_checks, changes_images, printable, probabilities
from ..store import Writer
from .choice import Choice
from .plan import Plan


def store_examples(
    plan: Plan,
    writer: Writer,
    failed: Collection[str],
    images_of: Callable[[Sequence[WorkItem]], Iterable[ExampleImages | None]],
) -> None:
    """Store the example images that the store lacks, except those of failed items.

    Args:
        plan: the run.
        writer: the writer of the store, which no other thread uses meanwhile.
        failed: ids of failed items.
        images_of: returns the example images of each item, see `example_images`.
    """
    for images in images_of(list(lacking_examples(plan, writer.examples(plan.spec.name), failed))):
        if images is not None:
            writer.put(images, run=plan.spec.name)


def lacking_examples(plan: Plan, stored: Collection[str], failed: Collection[str] = ()) -> Iterator[WorkItem]:
    """Yield the first item without a failure of each class, group and condition that has no example images.

    Args:
        plan: the run.
        stored: ids of stored example images; those of any item of the class, group and condition count.
        failed: ids of failed items.
    """
    count = plan.spec.images.examples
    of_images: dict[object, list[WorkItem]] = {}
    for item in (planned.item for planned in plan.items):
        of_images.setdefault((item.target_class, item.selection.group, item.condition), []).append(item)
    for items in of_images.values() if count else ():
        answered = [item for item in items if item.id not in failed]
        if answered and not any(examples_id(item, count) in stored for item in items):
            yield answered[0]


def example_images(choice: Choice, item: WorkItem) -> ExampleImages | None:
    """Return the first images of an item, report images first; None if no image qualifies.

    Raises:
        BadImage: an image cannot be decoded.
        InputError: the attack is not possible.
    """
    chosen, cls, condition = choice.of_item(item), item.target_class, item.condition
    count = choice.plan.spec.images.examples
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
