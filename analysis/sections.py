"""A study laid out for the page: charts, drawings, tables, and the reason where something is absent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup

from ..circuits import Circuit
from . import figures, sentences
from .contents import Contents, Part
from .findings import Changes, Similarity
from .model_pairs import ModelPair
from .studies import Study
from .tables import ROWS, HtmlTable, frame_table
from .wording import NONE, count, figure

ABOUT = {
    "effect": (
        "The same images, natural and attacked, contrasted with the same corrupted images, scored on the true class's "
        "logit: only the condition differs, so an edge can be said to be gained or lost."
    ),
    "mechanism": (
        "Each attacked image against its unattacked twin, scored on the logit of the attack's target less that of "
        "the true class: a positive score means that the edge carries the attack."
    ),
    "other": (
        "Circuits of classes under one recipe. Its metric and corruption are neither those of an effect study nor "
        "those of a mechanism study, so no edge is called gained, lost or a carrier."
    ),
}
DRAWN_CLASSES = 12


@dataclass(frozen=True)
class Chart:
    """A plotly figure with the words that stand for it."""

    id: str
    json: Markup
    alt: str
    caption: str
    height: int
    title: str = ""


@dataclass(frozen=True)
class Drawing:
    svg: Markup
    title: str
    caption: str


@dataclass(frozen=True)
class ClassDrawings:
    name: str
    pictures: Sequence[Drawing]


@dataclass(frozen=True)
class ChangeView:
    chart: Chart
    drawing: Drawing | None
    edges: HtmlTable
    classes: HtmlTable


@dataclass(frozen=True)
class CarrierView:
    chart: Chart | None
    drawing: Drawing | None
    edges: HtmlTable


@dataclass(frozen=True)
class Absent:
    """Why parts of a section are not there."""

    similarity: Sequence[str] = ()
    changes: Sequence[str] = ()
    carriers: Sequence[str] = ()
    drawings: Sequence[str] = ()


@dataclass(frozen=True)
class Section:
    """All that the page shows of one study."""

    id: str
    title: str
    conditions: str
    about: str
    asked: str
    extent: str
    notes: Sequence[str]
    findings: Sequence[str]
    heat_maps: Sequence[Chart]
    pairs: Sequence[HtmlTable]
    faithfulness: Chart | None
    faithfulness_table: HtmlTable
    reasons: HtmlTable | None
    changes: Sequence[ChangeView]
    carriers: Sequence[CarrierView]
    drawings: Sequence[ClassDrawings]
    absent: Absent


@dataclass(frozen=True)
class PairView:
    """Two models under one condition and recipe."""

    title: str
    finding: str
    chart: Chart | None
    table: HtmlTable


@dataclass
class Pictures:
    """Draws until its bytes are spent, so that a large store makes no large page."""

    budget: int
    spent: int = field(default=0, init=False)

    def draw(self, circuit: Circuit, values: np.ndarray | None = None, *, label: str, **style: Any) -> Markup | None:
        """The drawing, or None where there is no room for it."""
        svg = circuit.draw(values, label=label, **style).svg
        if self.spent + len(svg) > self.budget:
            return None
        self.spent += len(svg)
        return Markup(svg)


def study_id(number: int) -> str:
    return f"study-{number + 1}"


def section(part: Part, number: int, pictures: Pictures) -> Section:
    """Lay out one study; `number` makes its ids its own."""
    id = study_id(number)
    study = part.study
    views = list(_changes(part, id, pictures))
    carrying = list(_carriers(part, id, pictures))
    drawn = list(_drawings(part, pictures))
    return Section(
        id=id,
        title=part.title,
        conditions=", ".join(map(study.short, study.conditions)),
        about=ABOUT[study.kind],
        asked=sentences.asked(part),
        extent=sentences.extent(part),
        notes=list(part.notes),
        findings=list(sentences.findings(part)),
        heat_maps=[_heat_map(s, f"{id}-alike-{i}") for i, s in enumerate(part.similarities)],
        pairs=[_pairs(s) for s in part.similarities],
        faithfulness=_faithfulness(part, f"{id}-faith") if part.records else None,
        faithfulness_table=_faithfulness_table(part),
        reasons=_reasons(part),
        changes=views,
        carriers=carrying,
        drawings=drawn,
        absent=_absent(part, drawn),
    )


def _absent(part: Part, drawn: Sequence[ClassDrawings]) -> Absent:
    """The reason for each part that a study of its kind could have had."""
    study = part.study
    alone = [c for c in study.conditions if len(study.rows(c)) < 2]
    similarity = [f"Under {c} there is {_alone(len(study.rows(c)))}: nothing to compare." for c in alone]
    if part.floors and len(part.floors) < len(study.circuits):
        similarity.append(
            f"Noise floors are those of {len(part.floors)} of the {len(study.circuits)} circuits, spread evenly; "
            "where a diagonal is white it was not computed."
        )
    if not part.floors:
        similarity.append("No noise floor: it needs scores per image, of two images or more.")
    changes, carriers = [], []
    if study.kind == "effect" and not part.changes:
        why = "no class has a natural and an attacked circuit without a flag"
        why = why if study.attacks else "no attacked condition was asked for"
        changes = [f"No edges are said to be gained or lost: {why}."]
    if study.kind == "mechanism" and not part.carriers:
        why = "no circuit is without a flag" if study.attacks else "no attacked condition was asked for"
        carriers = [f"No edges are said to carry an attack: {why}."]
    return Absent(similarity, changes, carriers, list(_not_drawn(study, len(drawn))))


def _not_drawn(study: Study, drawn: int) -> Iterator[str]:
    missing = len(set(study.circuits["class"])) - drawn
    if missing:
        more = count(missing, "more class", "more classes")
        yield f"Not drawn here, so that the page stays small: {more}; circuitstore draw ID draws any circuit."
    if study.circuits.empty:
        yield "All circuits are flagged, so none is drawn; circuitstore draw ID draws any circuit."


def _alone(classes: int) -> str:
    return f"{'one class' if classes else 'no class'} with a circuit without a flag"


def pair_view(pair: ModelPair, number: int) -> PairView:
    """What the page shows of two models."""
    title, chart = f"{pair.before} → {pair.after}", None
    if len(pair.by_class):
        chart = _chart(
            f"models-{number + 1}",
            figures.changes_figure(pair.by_class),
            f"Bars by class. {sentences.between(pair)}",
            f"{pair.after} against {pair.before}. Black ticks: edges that seem gained or lost between two halves of "
            f"the images of {pair.before}. Only bars beyond their tick speak of the model.",
        )
    caption = (
        f"By class: a is {pair.before}, b is {pair.after}. Common: edges of both; changed floor: edges that seem "
        "gained, and as many lost, where only the images differ."
    )
    title = f"{title}, {pair.label}" if pair.label else title
    return PairView(title, sentences.between(pair), chart, frame_table(pair.table, caption))


def _chart(id: str, figure: go.Figure, alt: str, caption: str, title: str = "") -> Chart:
    text = str(figure.to_json())
    safe = text.replace("<", "\\u003c")  # no name can end the script element that holds the JSON
    return Chart(id, Markup(safe), alt, caption, json.loads(text)["layout"]["height"], title)


def _heat_map(similarity: Similarity, id: str) -> Chart:
    shown = min(len(similarity.classes), figures.MOST_CLASSES)
    caption = (
        "Edge Jaccard of each pair of classes; the diagonal is the noise floor, a class against itself "
        f"(mean {figure(similarity.floor)}); chance {figure(similarity.chance)} in the mean."
    )
    if shown > figures.ANNOTATED:
        caption += " Classes are ordered so that neighbours are alike."
    if shown < len(similarity.classes):
        caption += f" The first {shown} of {len(similarity.classes)} classes are shown."
    return _chart(
        id,
        figures.similarity_figure(similarity),
        f"Heat map. {sentences.alike(similarity)}",
        caption,
        similarity.label,
    )


def _faithfulness(part: Part, id: str) -> Chart:
    table, kept = part.faithfulness, sorted(part.records)
    reasons = part.reasons
    place = {row: i for i, row in enumerate(kept)}
    drawn = figures.faithfulness_figure(
        table.iloc[kept],
        {place[row]: values for row, values in part.random.items() if row in place},
        {place[row]: why for row, why in reasons.items() if row in place},
        {c: part.study.short(c) for c in part.study.conditions},
    )
    caption = (
        "Each circuit (filled mark) on its report images beside random connected circuits of the same size "
        "(grey ticks). 0: every edge corrupted; 1: the whole model."
    )
    if len(kept) < len(table):
        caption += f" {len(kept)} of {len(table)} circuits are shown."
    return _chart(id, drawn, f"Dot plot. {' '.join(sentences.faithful(part))}", caption)


def _changes(part: Part, id: str, pictures: Pictures) -> Iterator[ChangeView]:
    for number, change in enumerate(part.changes):
        name = change.label
        caption = (
            f"{name} against natural. Black ticks: edges that seem gained or lost between two halves of "
            "the natural images. Only bars beyond their tick speak of the condition."
        )
        yield ChangeView(
            _chart(
                f"{id}-change-{number}",
                figures.changes_figure(change.by_class),
                f"Bars by class. {sentences.changed(change)}",
                caption,
            ),
            _draw_changes(part, change, pictures),
            frame_table(
                change.by_edge,
                f"Edges that most classes gain or lose under {name}. Floor: in how many of {len(change.by_class)} "
                "classes the edge changes as much between halves of the natural images. Scores: means over classes.",
                most=ROWS,
            ),
            frame_table(change.by_class, "Sizes, changes and noise floor by class."),
        )


def _draw_changes(part: Part, change: Changes, pictures: Pictures) -> Drawing | None:
    """Edges by how many classes gain them less how many lose them."""
    graph = part.study.graph
    net, table = np.zeros(graph.n_edges), change.by_edge
    beyond = table.loc[table[["gained_in", "lost_in"]].max(axis=1) > table["floor"].fillna(0)]
    net[[graph.edge_index[name] for name in beyond["edge"]]] = beyond["gained_in"] - beyond["lost_in"]
    least = 2 if len(change.by_class) > 3 else 1
    circuit = Circuit(graph, np.abs(net) >= least)
    if not circuit.n_edges:
        return None
    title = f"Edges gained and lost under {change.label}"
    svg = pictures.draw(
        circuit, net, label=title, most=80, key="classes that gain the edge (blue) less classes that lose it (orange)"
    )
    caption = (
        f"Edges that at least {count(least, 'class', 'classes')} more gain than lose, or lose than gain, "
        "and more than between halves of the natural images."
    )
    return Drawing(svg, title, caption) if svg else None


def _carriers(part: Part, id: str, pictures: Pictures) -> Iterator[CarrierView]:
    for number, (condition, table) in enumerate(part.carriers.items()):
        chart, label = None, part.study.short(condition)
        if "score" in table:
            alt = f"Bars. {sentences.carried(label, table)}"
            caption = "Edges of the largest mean score; whiskers: standard error over classes."
            chart = _chart(f"{id}-carriers-{number}", figures.carriers_figure(table), alt, caption)
        edges = frame_table(
            table,
            f"Edges that carry {label} most. By chance: circuits that would hold the edge if edges were "
            "drawn uniformly.",
            most=ROWS,
        )
        yield CarrierView(chart, _draw_carriers(part, condition, table, pictures), edges)


def _draw_carriers(part: Part, condition: str, table: pd.DataFrame, pictures: Pictures) -> Drawing | None:
    """Edges in at least half of the classes' circuits, by mean score."""
    graph, count = part.study.graph, len(part.study.rows(condition))
    common = table[table["circuits"] * 2 >= count]
    members = np.zeros(graph.n_edges, bool)
    members[[graph.edge_index[name] for name in common["edge"]]] = True
    values = None
    if "score" in common:
        values = np.zeros(graph.n_edges)
        values[members] = common.set_index("edge")["score"].loc[list(Circuit(graph, members).edges)]
    title = f"Edges that carry {part.study.short(condition)} in at least half of the classes"
    svg = pictures.draw(Circuit(graph, members), values, label=title, most=80) if members.any() else None
    return Drawing(svg, title, "Width and colour by the mean score over classes.") if svg else None


def _drawings(part: Part, pictures: Pictures) -> Iterator[ClassDrawings]:
    """The circuits of the first classes, all conditions on one scale."""
    circuits = part.study.circuits
    there = set(circuits["class"])
    for name in [name for name in part.study.classes if name in there][:DRAWN_CLASSES]:
        rows = [row for row in part.records if circuits["class"].iloc[row] == name]
        found = [_draw_row(part, row, _scale(part, rows), pictures) for row in rows]
        drawn = [d for d in found if d is not None]
        if not drawn:
            return
        yield ClassDrawings(name, drawn)


def _scale(part: Part, rows: Sequence[int]) -> float | None:
    scores = part.study.scores
    if scores is None:
        return None
    largest = [np.abs(scores[row][part.study.members[row]]).max(initial=0) for row in rows]
    return float(max(largest, default=0)) or None


def _draw_row(part: Part, row: int, scale: float | None, pictures: Pictures) -> Drawing | None:
    record = part.records[row]
    item, e = record.item, record.evaluation
    title = f"{item.target_class.name}, {part.study.short(item.condition.text)}"
    svg = pictures.draw(record.circuit, label=title, most=80, scale=scale)
    caption = f"Faithfulness {figure(e.faithfulness if e else None)}"
    if e:
        caption += (
            f" (random circuits {figure(e.faithfulness_random)}), accuracy of the circuit {e.accuracy_circuit:.2f}, "
            f"of the whole model {e.accuracy_full:.2f}"
        )
    caption += f"; circuit {record.id[:12]}."
    return Drawing(svg, title, caption) if svg else None


def _pairs(similarity: Similarity) -> HtmlTable:
    return frame_table(
        similarity.pairs,
        "Most alike first, by what is above chance. Floor: mean noise floor of the two classes.",
        most=ROWS,
        condition=similarity.label,
    )


def _faithfulness_table(part: Part) -> HtmlTable:
    return frame_table(
        part.listed.assign(condition=part.listed["condition"].map(part.study.short)),
        "On report images: n_eval of them. Metrics are means. Full: the whole model; empty: every edge corrupted; "
        "circuit: all other edges corrupted; random: mean of the random circuits. Nearer than random: faithfulness is "
        "nearer to 1 than that of the random circuits. Flagged circuits are listed only here.",
    )


def _reasons(part: Part) -> HtmlTable | None:
    circuits, reasons = part.study.circuits, part.reasons
    if not reasons:
        return None
    frame = circuits.iloc[list(reasons)][["class", "condition"]]
    frame = frame.assign(condition=frame["condition"].map(part.study.short), reason=list(reasons.values()))
    return frame_table(frame, "Circuits without faithfulness.", most=ROWS)


def asked_table(contents: Contents) -> HtmlTable:
    """One row per study: its recipe, conditions and size."""
    return frame_table(pd.DataFrame([_asked(part) for part in contents.parts]), "Studies and their recipes.")


def _asked(part: Part) -> dict[str, str]:
    c, study = part.study.common, part.study
    return {
        "study": part.title,
        "model": c["model"],
        "images": f"{c['dataset']}, {count(len(study.classes), 'class', 'classes')}",
        "recipe": f"{c['method']}, {c['form']} form, {c['metric']}, {c['direction']}, against {c['corruption']}",
        "conditions": ", ".join(study.conditions),
        "circuits from": c["extraction"],
    }


def images_table(contents: Contents) -> HtmlTable:
    """What each run's spec says of its images."""
    rows = [
        {
            "run": name,
            "source": _source(asked.get("source", NONE)),
            "images per class": str(asked.get("per_class", "default")),
            "chosen": str(asked.get("choose", "correct")),
        }
        for name, asked in contents.asked.items()
    ]
    caption = "Images; half of them score, a quarter finds sizes, a quarter is reported on."
    return frame_table(pd.DataFrame(rows), caption)


def _source(source: object) -> str:
    """The name of shipped images, or the folder that they are in."""
    return str(source.get("folder", NONE)) if isinstance(source, dict) else str(source)
