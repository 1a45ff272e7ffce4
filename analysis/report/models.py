"""Model diff, laid out for the page."""

from __future__ import annotations

from dataclasses import dataclass

from .. import sentences
from ..model_pairs import ModelPair
from .charts import Chart, models_chart
from .tables import ROWS, HtmlTable, frame_table


@dataclass(frozen=True)
class ModelsView:
    """A comparison of two models under one condition and recipe."""

    title: str
    summary: str
    chart: Chart | None
    edges: HtmlTable | None
    table: HtmlTable


def models_view(pair: ModelPair, number: int) -> ModelsView:
    """Lay out the comparison of two models; `number` makes the id of the chart unique."""
    title = f"{pair.before} → {pair.after}"
    return ModelsView(
        f"{title}, {pair.label}" if pair.label else title,
        sentences.models(pair),
        models_chart(pair, f"models-{number + 1}"),
        _edges(pair) if len(pair.by_edge) else None,
        frame_table(
            pair.table,
            f"By class, from {pair.before} to {pair.after}. Changed floor: edges that appear gained, and equally "
            "many lost, when only the images differ; beyond floor: (gained + lost) / 2 − changed floor; changed: "
            "edges whose score changed, by the test; faithfulness, retention and accuracy: of the first model, each "
            "with its change.",
        ),
    )


def _edges(pair: ModelPair) -> HtmlTable:
    tested = sum(change.test is not None for change in pair.changes)
    caption = (
        f"Edges whose score changed in most of {tested} classes. Changed: by the test over images; beyond control: by "
        "more than 99 % of the edges change in the control; gained, lost: from the circuit. Scores: means over classes."
    )
    return frame_table(pair.by_edge, caption, max_rows=ROWS)
