"""Checks what differs between circuits other than the compared field: raises an error or returns notes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import combinations

from ..circuits import IMPORTED, WorkItem, check_conditions, check_version
from ..errors import NotComparable
from .entries import Entry, images_of

SETS = ("form", "method", "metric", "direction")
"""Fields that give scores their meaning: circuits that differ in one are compared as sets of edges, without scores."""


def differences(entries: Sequence[Entry], by: str, *, sets: bool = False, shapes: bool = False) -> list[str]:
    """Return notes on what differs between circuits other than the compared field, without duplicates.

    Args:
        entries: the circuits that are compared.
        by: the field by which they are compared.
        sets: whether only sets of edges are compared, not scores.
        shapes: whether models of different shapes may be compared.

    Raises:
        NotComparable: method, form, metric, direction, sign or graph differ.
    """
    notes: dict[str, None] = {}
    distinct = list({(e.item.recipe, e.item.condition, e.extraction, e.universe): e for e in entries}.values())
    for a, b in combinations(distinct, 2):
        notes |= dict.fromkeys(_differ(a, b, by, sets))
        notes |= dict.fromkeys(_other_shapes(a, b, shapes))
    if by == "model":
        notes |= dict.fromkeys(_other_models(entries))
    notes |= dict.fromkeys(_other_origin(entries))
    notes |= dict.fromkeys((*_other_images(entries, by), *other_contrast(e.item for e in entries)))
    return list(notes)


def _other_models(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield notes on causes other than the models for which their circuits may differ."""
    if any(e.item.selection.rule != "all" for e in entries):
        yield "each model's images are those that it classifies correctly, so the models' images may differ"
    if len({e.size_requested for e in entries}) > 1:
        yield "the circuits of the models have different sizes, which by itself makes edges gained or lost"


def _other_origin(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield a note if only some of the circuits were read from files of other tools."""
    imported = [e for e in entries if e.item.recipe.method.kind == IMPORTED]
    if 0 < len(imported) < len(entries):
        yield (
            f"{len(imported)} of {len(entries)} circuits were imported from files of other tools: their images, "
            "metric, corruption and sign are as stated when they were imported, and were not checked"
        )


def _differ(a: Entry, b: Entry, by: str, sets: bool) -> Iterator[str]:
    """Yield notes on two circuits."""
    x, y = a.item, b.item
    pair = (x.recipe, y.recipe, x.condition, y.condition)
    try:
        yield from check_conditions(*pair)
    except NotComparable as error:
        if by not in SETS:
            raise
        if not sets:
            remedy = "compare them as sets of edges: jaccard, node-jaccard or dice"
            raise NotComparable(f"{error}; {remedy}") from None
        yield from check_conditions(*pair, may_differ=by)
        yield f"scores of different {by}s are not comparable: the circuits are compared as sets of edges"
    if by == "form":
        yield "two forms are compared in the coarser one, with the noise floor of the circuit of that form"
    if a.extraction and b.extraction:
        yield from check_version("extraction", a.extraction, b.extraction)


def _other_shapes(a: Entry, b: Entry, allowed: bool) -> Iterator[str]:
    """Yield a note if the models have different shapes, or raise an error if this is not allowed."""
    if a.shape == b.shape:
        return
    differ = f"the graphs of {a.item.model.name} and {b.item.model.name} differ: {_shape(a)} against {_shape(b)}"
    if not allowed:
        raise NotComparable(
            f"{differ}; edges are compared only between models of the same shape, and `compare --by model --base NAME` "
            "compares others by kind of component and depth"
        )
    yield f"{differ}; their circuits are compared by kind of component and depth, not edge by edge"


def _shape(entry: Entry) -> str:
    return "{} layers of {} heads".format(*entry.shape)


def _other_images(entries: Sequence[Entry], by: str) -> list[str]:
    """Return a note if circuits of one class have different images, or images are selected differently by class."""
    across = by in ("class", "dataset", "image_group")
    chosen: dict[Hashable, set[Hashable]] = {}
    for e in entries:
        images = images_of(e.item)
        key, what = (None, (images.count, images.rule, images.seed)) if across else (e.item.target_class, images)
        chosen.setdefault(key, set()).add(what)
    if all(len(different) == 1 for different in chosen.values()):
        return []
    return [
        "images are selected differently (number, rule or seed)" if across else "the circuits have different images"
    ]


def other_contrast(items: Iterable[WorkItem]) -> list[str]:
    """Return a note if circuits are contrasted with different classes, other than their own."""
    against = list({(item.target_class.name, item.contrast.against): None for item in items})
    everyone = {name for _, names in against for name in names}
    apart = [(own, names) for own, names in against if {*names} != everyone - {own}]
    if not apart:
        return []
    first = "; ".join(
        f"{own}: {', '.join(names[:3]) or 'none'}{' …' if len(names) > 3 else ''}" for own, names in apart[:2]
    )
    more = " …" if len(apart) > 2 else ""
    return [f"the circuits are contrasted with different classes ({first}{more}), which also changes circuits"]
