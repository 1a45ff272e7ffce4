"""Model against model, laid out for the page."""

from __future__ import annotations

from dataclasses import dataclass

from .. import sentences
from ..model_pairs import ModelPair
from .charts import Chart, models_chart
from .tables import HtmlTable, frame_table


@dataclass(frozen=True)
class ModelsView:
    """Two models under one condition and recipe."""

    title: str
    in_short: str
    chart: Chart | None
    table: HtmlTable


def models_view(pair: ModelPair, number: int) -> ModelsView:
    """Lay out two models; `number` makes the chart's id its own."""
    title = f"{pair.before} → {pair.after}"
    caption = (
        f"By class: a is {pair.before}, b is {pair.after}. Common: edges of both; changed floor: edges that seem "
        "gained, and as many lost, where only the images differ."
    )
    return ModelsView(
        f"{title}, {pair.label}" if pair.label else title,
        sentences.between(pair),
        models_chart(pair, f"models-{number + 1}"),
        frame_table(pair.table, caption),
    )
