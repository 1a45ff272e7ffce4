"""Comparisons of models, laid out for the page."""

from __future__ import annotations

from dataclasses import dataclass

from .. import sentences
from ..model_pairs import ModelPair
from .charts import Chart, models_chart
from .tables import HtmlTable, frame_table


@dataclass(frozen=True)
class ModelsView:
    """A comparison of two models under one condition and recipe."""

    title: str
    summary: str
    chart: Chart | None
    table: HtmlTable


def models_view(pair: ModelPair, number: int) -> ModelsView:
    """Lay out the comparison of two models; `number` makes the id of the chart unique."""
    title = f"{pair.before} → {pair.after}"
    caption = (
        f"By class: a is {pair.before}, b is {pair.after}. Common: edges in both; changed floor: edges that appear "
        "gained, and equally many lost, when only the images differ."
    )
    return ModelsView(
        f"{title}, {pair.label}" if pair.label else title,
        sentences.models(pair),
        models_chart(pair, f"models-{number + 1}"),
        frame_table(pair.table, caption),
    )
