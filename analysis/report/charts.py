"""Charts of the page: plotly figures with captions and alternative texts."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup

from ...query import Similarity
from .. import sentences
from ..changes import Changes
from ..model_pairs import ModelPair
from ..study_overview import StudyOverview
from ..wording import format_number
from . import figures
from .numbers import numbers_of
from .tables import csv_url

PANEL_WIDTH = 280
"""Minimum width in pixels of each panel of a figure."""


@dataclass(frozen=True)
class Chart:
    """A plotly figure with its caption, alternative text, and numbers as the `data:` URL of a CSV file.

    Attributes:
        width: the minimum width in pixels; on narrower screens the figure scrolls.
    """

    id: str
    json: Markup
    csv: str
    alt: str
    caption: str
    height: int
    width: int
    title: str = ""


def chart(id: str, drawn: go.Figure, alt: str, caption: str, title: str = "") -> Chart:
    """Return a figure as a chart of the page; `id` is unique in the page."""
    text = str(drawn.to_json())
    layout = json.loads(text)["layout"]
    panels = sum(name.startswith("xaxis") for name in layout)
    safe = text.replace("<", "\\u003c")  # so that no name can end the script element with the JSON
    return Chart(
        id=id,
        json=Markup(safe),
        csv=csv_url(numbers_of(drawn)),
        alt=alt,
        caption=caption,
        height=layout["height"],
        width=PANEL_WIDTH * panels,
        title=title,
    )


def heat_map(label: str, similarity: Similarity, id: str) -> Chart:
    """Chart the similarity of the classes' circuits under a condition."""
    classes = len(similarity.labels)
    shown = min(classes, figures.MAX_CLASSES)
    caption = (
        "Edge Jaccard of each pair of classes; on the diagonal the noise floor of each class "
        f"(mean {format_number(similarity.noise_floor)}). Mean chance level {format_number(similarity.chance_level)}."
    )
    if shown > 2:
        caption += " Similar classes are placed next to each other."
    if shown < classes:
        caption += f" The first {shown} of {classes} classes are shown."
    alt = f"Heat map. {sentences.similarity(label, similarity)}"
    return chart(id, figures.similarity_figure(similarity), alt, caption, label)


def cross_chart(label: str, matrix: pd.DataFrame, id: str) -> Chart:
    """Chart the faithfulness of the circuit of each class on the images of each class."""
    caption = (
        "Faithfulness of the circuit of each class (row) on the report images of each class (column); on the diagonal "
        "on those of its own class. White: 0 or less, or undefined; darkest: 1 or more."
    )
    if len(matrix) > figures.MAX_CLASSES:
        caption += f" The first {figures.MAX_CLASSES} of {len(matrix)} classes are shown."
    alt = f"Heat map. {sentences.cross_faithfulness(label, matrix)}"
    return chart(id, figures.cross_figure(matrix), alt, caption, label)


def faithfulness_chart(shown: StudyOverview, id: str) -> Chart:
    """Chart the faithfulness of the circuits that are shown in full, and of their random circuits."""
    table, kept = shown.faithfulness, sorted(shown.records)
    place = {row: i for i, row in enumerate(kept)}
    drawn = figures.faithfulness_figure(
        table.iloc[kept],
        {place[row]: values for row, values in shown.random.items() if row in place},
        {place[row]: why for row, why in shown.reasons.items() if row in place},
        {c: shown.study.short(c) for c in shown.study.conditions},
    )
    caption = (
        "Each circuit (filled marker) on its report images, and random connected circuits of the same size "
        "(grey ticks). 0: every edge corrupted; 1: the whole model."
    )
    if len(kept) < len(table):
        caption += f" {len(kept)} of {len(table)} circuits are shown."
    return chart(id, drawn, f"Dot plot. {' '.join(sentences.faithfulness(shown))}", caption)


def changes_chart(change: Changes, id: str) -> Chart:
    """Chart the edges that classes gain and lose under a condition."""
    caption = (
        f"{change.label} against natural. Black ticks: edges that appear gained or lost between two halves of "
        "the natural images. Only bars beyond their tick show an effect of the condition."
    )
    return chart(id, figures.changes_figure(change.by_class), f"Bars by class. {sentences.changes(change)}", caption)


def carriers_chart(label: str, table: pd.DataFrame, id: str) -> Chart | None:
    """Chart the edges that carry a condition, by mean score; None without scores."""
    if "score" not in table:
        return None
    caption = "Edges with the largest mean scores; error bars: standard error over classes."
    return chart(id, figures.carriers_figure(table), f"Bars. {sentences.carriers(label, table)}", caption)


def models_chart(pair: ModelPair, id: str) -> Chart | None:
    """Chart the edges that classes gain and lose from one model to another; None if more than the model differs."""
    if pair.by_class.empty:
        return None
    caption = (
        f"{pair.after} against {pair.before}. Black ticks: edges that appear gained or lost between two halves of "
        f"the images of {pair.before}. Only bars beyond their tick show an effect of the model."
    )
    return chart(id, figures.changes_figure(pair.by_class), f"Bars by class. {sentences.models(pair)}", caption)
