"""Defence studies, laid out for the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..defences import DefenceOverview, DefendedImage
from .examples import Picture, source_of
from .tables import HtmlTable, frame_table


@dataclass(frozen=True)
class DefenceView:
    """The defences of a model against an attack."""

    title: str
    table: HtmlTable
    notes: Sequence[str]
    images: Sequence[Sequence[Picture]]


def defence_views(found: Sequence[DefenceOverview]) -> list[DefenceView]:
    """Lay out defence studies."""
    caption = (
        "Accuracy on report images in per cent, with its 95 % interval (Wilson); read: share of the "
        "images that are classified as the class that the attack aims at; (knows): the attack is run on the "
        "defended model; ms: milliseconds per image; chosen: what was chosen on selection images."
    )
    return [
        DefenceView(one.title, frame_table(one.table, caption), one.notes, [tuple(_pictures(i)) for i in one.images])
        for one in found
    ]


def _pictures(image: DefendedImage) -> Iterator[Picture]:
    yield Picture(source_of(image.clean), f"unattacked: {image.name}")
    said = ", ".join(f"{row}: {predicted}" for row, predicted in image.predicted.items())
    yield Picture(source_of(image.attacked), f"attacked; predicted with {said}")
