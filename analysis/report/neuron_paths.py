"""Neuron paths of classes, laid out for the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from ...evaluation import NeuronSimilarity
from ..neuron_paths import PathOverview
from ..wording import format_number
from .charts import Chart, chart
from .figures import MAX_CLASSES, plain, squares
from .tables import HtmlTable, frame_table


@dataclass(frozen=True)
class PathsView:
    """The neuron paths of one search."""

    title: str
    table: HtmlTable
    charts: Sequence[Chart]


def paths_view(found: PathOverview, number: int) -> PathsView:
    """Lay out the neuron paths of a search; `number` makes the ids of the charts unique."""
    caption = (
        "The neurons on most discovery images' paths, layer by layer, each with the share of the images whose path it "
        "is on; share: their mean; in natural: neurons that the natural path of the class also has."
    )
    if "removed" in found.table:
        caption += (
            " Removed: the mean change of the probability of the true class on report images, if the values of these "
            "neurons are set to 0; random removed: the same for random neurons, as many of each layer."
        )
    return PathsView(found.title, frame_table(found.table, caption), list(_charts(found, f"neurons-{number + 1}")))


def _charts(found: PathOverview, id: str) -> Iterator[Chart]:
    for number, (condition, (names, similar)) in enumerate(found.similarities.items()):
        floor = format_number(float(np.nanmean(similar.floor))) if np.isfinite(similar.floor).any() else "unknown"
        said = (
            "Cosine of the neuron frequencies of two classes, each from half of its images; on the diagonal the noise "
            f"floor: two halves of the images of one class (mean {floor}). Two classes have different neurons if their "
            "value is below the floor."
        )
        yield chart(f"{id}-{number + 1}", similar_figure(names, similar), f"Heat map. {said}", said, condition)


def similar_figure(names: Sequence[str], similar: NeuronSimilarity) -> go.Figure:
    """Draw the similarity of classes from halves of their images, with the noise floors on the diagonal."""
    shown = [plain(name) for name in names[:MAX_CLASSES]]
    ticks = {0.0: "0", 0.5: "0.5", 1.0: "1"}
    return squares(similar.halves[: len(shown), : len(shown)], shown, "%{y} and %{x}", ticks)
