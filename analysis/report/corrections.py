"""Corrections, laid out for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..corrections import CorrectionOverview
from .tables import HtmlTable, frame_table


@dataclass(frozen=True)
class CorrectionView:
    """The correction of a model."""

    title: str
    table: HtmlTable
    notes: Sequence[str]


def correction_views(found: Sequence[CorrectionOverview]) -> list[CorrectionView]:
    """Lay out corrections."""
    caption = (
        "Accuracy on report images in per cent, with its 95 % interval (Wilson), by group of images; confused: share "
        "of the class that is read as the other; ms: milliseconds per image; chosen: what selection images chose."
    )
    return [CorrectionView(one.title, frame_table(one.table, caption), one.notes) for one in found]
