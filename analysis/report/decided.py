"""Where it is decided: read-outs over points, layers and components, natural beside attacked, class by class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...circuits import Readout, ReadoutRecord
from ..overlays import largest
from ..readout_numbers import DIRECT, LENS, numbers, over_components
from ..readouts import ReadoutSet
from ..wording import count
from .charts import Chart, chart
from .readout_figures import bars_figure, cells_figure, lens_figure
from .readout_texts import about, extreme_sentences, lens_sentences
from .tables import HtmlTable, frame_table

DECIDED_BYTES = 250_000
"""Maximum size of the charts of the section."""

Readings = Mapping[str, Readout]


@dataclass(frozen=True)
class ClassCharts:
    """The charts of one class: one for all conditions, or one for each."""

    name: str
    charts: Sequence[Chart]

    @property
    def size(self) -> int:
        """The number of characters that they take on the page."""
        return sum(len(one.json) + len(one.csv) for one in self.charts)


@dataclass(frozen=True)
class DecidedView:
    """One kind of read-out."""

    title: str
    about: str
    classes: Sequence[ClassCharts]
    table: HtmlTable
    left_out: str


def decided_views(sets: Sequence[ReadoutSet]) -> list[DecidedView]:
    """Return the read-outs over points, layers and components, with charts while there is room."""
    found, room = [], DECIDED_BYTES
    for number, shown in enumerate(sets):
        charts = list(_classes(shown, f"decided-{number + 1}"))
        fitting = int((np.cumsum([one.size for one in charts]) <= room).sum())
        room -= sum(one.size for one in charts[:fitting])
        if charts:
            missing = len(charts) - fitting
            left_out = f"To keep the page small, {count(missing, 'more class is', 'more classes are')} not drawn."
            table = frame_table(numbers(shown), _caption(shown))
            found.append(DecidedView(shown.title, about(shown), charts[:fitting], table, left_out if missing else ""))
    return found


def _classes(shown: ReadoutSet, id: str) -> Iterator[ClassCharts]:
    for place, (name, records) in enumerate(shown.by_class.items()):
        charts = list(_charts(name, records, f"{id}-{place + 1}"))
        if charts:
            yield ClassCharts(name, charts)


def _charts(name: str, records: Mapping[str, ReadoutRecord], id: str) -> Iterator[Chart]:
    """Yield the chart of all conditions of a class, or a heat map for each."""
    if all(record.mean.names == LENS for record in records.values()):
        said = " ".join(lens_sentences(records))
        caption = f"The true class (line) and its strongest rival at each point (dotted). {said}"
        yield chart(id, lens_figure(name, records), f"Lines over points, {name}. {said}", caption)
        return
    found = {condition: over_components(record) for condition, record in records.items()}
    known = {condition: readout for condition, readout in found.items() if readout is not None}
    if known and all(len(readout.names) == 1 for readout in known.values()):
        said = " ".join(extreme_sentences(known))
        yield chart(id, bars_figure(known), f"Bars, {name}. {said}", f"{_BARS} {said}")
        return
    scale = largest(np.concatenate([np.zeros(1), *(readout.values.ravel() for readout in known.values())]))
    for number, (condition, readout) in enumerate(known.items()):
        said = " ".join(extreme_sentences({condition: readout}))
        axes = " × ".join(readout.names)
        caption = f"{axes}, in units of {readout.unit}; one scale for all conditions of the class. {said}"
        title = f"{name}, {condition}"
        yield chart(f"{id}-{number + 1}", cells_figure(readout, scale), f"Heat map, {title}. {said}", caption, title)


_BARS = "Entries of largest magnitude, mean over report images; error bars: standard deviation over images."


def _caption(shown: ReadoutSet) -> str:
    names = shown.records[0].mean.names
    if names == LENS:
        return (
            "Mean logits over report images at each point: of the true class, with its standard deviation, and of its "
            "strongest rival. Top: share of the images whose largest logit is that of the true class."
        )
    if names in DIRECT:
        return "What each part adds to the logit of the true class; rest: to those of the other classes, on average."
    return "Means over report images, the largest magnitudes first; std: standard deviation over images."
