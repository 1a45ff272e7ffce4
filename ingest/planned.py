"""Items of a plan, and the chains of them that one process answers in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..circuits import Extraction, WorkItem


@dataclass(frozen=True)
class Planned:
    """A work item and the circuits to extract from its answer.

    Attributes:
        item: the question.
        extractions: the extractions of these circuits.
        sized_by: the work item whose circuits determine the sizes that are found on selection images: that of the
            natural condition of an effect study. None if the item determines its own sizes.
        per_image: whether the numbers of each image of a read-out are kept.
        about: the work item and the extraction of the circuit that a read-out is about; None if it is about none.
    """

    item: WorkItem
    extractions: tuple[Extraction, ...]
    sized_by: WorkItem | None = None
    per_image: bool = False
    about: tuple[WorkItem, Extraction] | None = None


def chains(items: Sequence[Planned]) -> list[list[Planned]]:
    """Return the items in chains: an item follows the one whose circuits give its sizes, or that it is about.

    So a chain has the conditions of one class, group and recipe, the natural one first, and what is read of their
    circuits. Chains do not depend on each other.

    Args:
        items: an item comes after the one that it depends on.

    Examples:
        >>> [[planned.item.condition.kind for planned in chain] for chain in chains(make_plan(spec).items)]
        [['natural'], ['natural']]
    """
    found: dict[str, list[Planned]] = {}
    for planned in items:
        needed = planned.about[0] if planned.about is not None else planned.sized_by
        chain = [] if needed is None else found.get(needed.id, [])
        chain.append(planned)
        found[planned.item.id] = chain
    return list({id(chain): chain for chain in found.values()}.values())


def part_of(items: Sequence[Planned], k: int, n: int) -> tuple[Planned, ...]:
    """Return part k of n (from 1) of the items: neighbouring chains, so that each part has few classes.

    The n parts have no item in common and are all items; a part is empty if there are fewer chains than parts.

    Examples:
        >>> items = make_plan(spec).items
        >>> part_of(items, 1, 2) + part_of(items, 2, 2) == items
        True
    """
    found = chains(items)
    mine = {p.item.id for chain in found[(k - 1) * len(found) // n : k * len(found) // n] for p in chain}
    return tuple(planned for planned in items if planned.item.id in mine)
