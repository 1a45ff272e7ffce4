"""Charts of a page: a plotly figure each, with the words that stand for it."""

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
from ..wording import figure
from . import figures


@dataclass(frozen=True)
class Chart:
    """A plotly figure with the words that stand for it."""

    id: str
    json: Markup
    alt: str
    caption: str
    height: int
    title: str = ""


def _chart(id: str, drawn: go.Figure, alt: str, caption: str, title: str = "") -> Chart:
    text = str(drawn.to_json())
    safe = text.replace("<", "\\u003c")  # no name can end the script element that holds the JSON
    return Chart(id, Markup(safe), alt, caption, json.loads(text)["layout"]["height"], title)


def heat_map(label: str, similarity: Similarity, id: str) -> Chart:
    """Return how alike the classes' circuits are under a condition."""
    classes = len(similarity.labels)
    shown = min(classes, figures.MOST_CLASSES)
    caption = (
        "Edge Jaccard of each pair of classes; the diagonal is the noise floor, a class against itself "
        f"(mean {figure(similarity.noise_floor)}); chance {figure(similarity.chance_level)} in the mean."
    )
    if shown > figures.ANNOTATED:
        caption += " Classes are ordered so that neighbours are alike."
    if shown < classes:
        caption += f" The first {shown} of {classes} classes are shown."
    alt = f"Heat map. {sentences.alike(label, similarity)}"
    return _chart(id, figures.similarity_figure(similarity), alt, caption, label)


def faithfulness_chart(shown: StudyOverview, id: str) -> Chart:
    """Return the faithfulness of the circuits that are shown in full, beside that of random circuits."""
    table, kept = shown.faithfulness, sorted(shown.records)
    place = {row: i for i, row in enumerate(kept)}
    drawn = figures.faithfulness_figure(
        table.iloc[kept],
        {place[row]: values for row, values in shown.random.items() if row in place},
        {place[row]: why for row, why in shown.reasons.items() if row in place},
        {c: shown.study.short(c) for c in shown.study.conditions},
    )
    caption = (
        "Each circuit (filled mark) on its report images beside random connected circuits of the same size "
        "(grey ticks). 0: every edge corrupted; 1: the whole model."
    )
    if len(kept) < len(table):
        caption += f" {len(kept)} of {len(table)} circuits are shown."
    return _chart(id, drawn, f"Dot plot. {' '.join(sentences.faithful(shown))}", caption)


def changes_chart(change: Changes, id: str) -> Chart:
    """Return the edges that classes gain and lose under a condition."""
    caption = (
        f"{change.label} against natural. Black ticks: edges that seem gained or lost between two halves of "
        "the natural images. Only bars beyond their tick speak of the condition."
    )
    return _chart(id, figures.changes_figure(change.by_class), f"Bars by class. {sentences.changed(change)}", caption)


def carriers_chart(label: str, table: pd.DataFrame, id: str) -> Chart | None:
    """Return the edges that carry an attack, by mean score; None without scores."""
    if "score" not in table:
        return None
    caption = "Edges of the largest mean score; whiskers: standard error over classes."
    return _chart(id, figures.carriers_figure(table), f"Bars. {sentences.carried(label, table)}", caption)


def models_chart(pair: ModelPair, id: str) -> Chart | None:
    """Return the edges that classes gain and lose from one model to another; None where that cannot be said."""
    if pair.by_class.empty:
        return None
    caption = (
        f"{pair.after} against {pair.before}. Black ticks: edges that seem gained or lost between two halves of "
        f"the images of {pair.before}. Only bars beyond their tick speak of the model."
    )
    return _chart(id, figures.changes_figure(pair.by_class), f"Bars by class. {sentences.between(pair)}", caption)
