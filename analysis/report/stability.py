"""The stability of the circuits of a study, laid out for the page."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .. import sentences
from ..stability import CALIBRATION, ENOUGH
from ..study_overview import StudyOverview
from .charts import Chart, chart
from .figures import BLUE, FAINT, INK, MAX_ROWS, ORANGE, plain, style
from .tables import HtmlTable, frame_table


@dataclass(frozen=True)
class StabilityView:
    """The dependence of circuits on the choice of images, and the calibration of the frequency."""

    chart: Chart
    table: HtmlTable
    calibration: HtmlTable


def stability_view(shown: StudyOverview, id: str) -> StabilityView | None:
    """Lay out the stability of the circuits of a study; None if it is unknown."""
    if shown.stability.empty:
        return None
    table = shown.stability.assign(condition=shown.stability["condition"].map(shown.study.short))
    counts = (
        "Certain: edges among the requested number of best edges whichever image is added or removed; excluded: edges "
        "never among them; abstained: neither is proven. Frequency: mean share of bootstrap samples that have an edge "
        "of the circuit; replication: mean probability that another sample of as many images has it. Jaccard: of "
        "two disjoint samples of half of the images; chance: of random sets; doubled: expected for two samples of as "
        f"many images as there are; enough: images for which {ENOUGH} is expected, extrapolated."
    )
    calibration = (
        "Share of the edges of a bootstrap frequency that the circuit of as many other images has, measured on the "
        "demo model. Between 0 and 1 the frequency is too confident; replication, Φ(Φ⁻¹(frequency) / √2), is nearer."
    )
    caption = (
        "Left: edges whose place among the best depends on no single image (certain), and those about which single "
        "images decide (abstained). Right: similarity of the circuits of two samples of images: disjoint halves, and "
        "what is to be expected if there were twice as many images; black ticks: chance."
    )
    alt = f"Two panels by class. {sentences.stability(shown.stability)}"
    return StabilityView(
        chart(id, stability_figure(shown.stability), alt, caption),
        frame_table(table, counts),
        frame_table(CALIBRATION, calibration),
    )


def stability_figure(table: pd.DataFrame) -> go.Figure:
    """Draw the certain edges and the similarity of two samples of images, by class.

    Args:
        table: the columns of `stability.read_stability`.
    """
    table = table.iloc[:MAX_ROWS]
    names = [plain(name) for name in table["class"]]
    figure = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.06)
    for column, colour in (("certain", BLUE), ("abstained", FAINT)):
        bar = go.Bar(y=names, x=table[column].tolist(), orientation="h", name=column, marker={"color": colour})
        figure.add_trace(bar, 1, 1)
    for column, name, symbol, colour in (
        ("jaccard", "two disjoint halves", "circle", BLUE),
        ("doubled", "twice as many images", "diamond", ORANGE),
        ("chance", "chance", "line-ns-open", INK),
    ):
        marker = {"symbol": symbol, "size": 11, "color": colour, "line": {"width": 2, "color": colour}}
        x = table[column].tolist()
        figure.add_trace(go.Scatter(y=names, x=x, mode="markers", name=name, marker=marker), 1, 2)
    style(figure, height=150 + 30 * max(2, len(names)))
    figure.update_layout(barmode="stack", bargap=0.35)
    figure.update_xaxes(title="edges", row=1, col=1)
    figure.update_xaxes(title="edge Jaccard", range=[-0.02, 1.02], row=1, col=2)
    figure.update_yaxes(type="category", autorange="reversed", automargin=True)
    return figure
