"""Sentences on the results, with their noise floors, for the summary and the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..query import Similarity
from .changes import Changes
from .controls import Beyond
from .cross_classes import nearest_on
from .group_comparison import GroupComparison
from .model_pairs import ModelPair
from .study_overview import StudyOverview
from .wording import count, format_number, join_names, size_range

MAX_NAMED = 3
"""Maximum number of edges or pairs that a sentence names."""


def recipe(shown: StudyOverview) -> str:
    """Return the recipe of a study in one line."""
    c = shown.study.common
    return (
        f"{c['model']} on {c['dataset']}: {c['method']}, {c['form']} form, metric {c['metric']}, "
        f"corruption {c['corruption']}, {c['extraction']}"
    )


def extent(shown: StudyOverview) -> str:
    """Return the numbers of circuits, edges, classes and conditions of a study."""
    study = shown.study
    sizes = study.circuits["n_edges"].tolist()
    if not sizes:
        return f"No circuit without a flag; the graph has {study.universe.n_edges} edges"
    return (
        f"{count(len(study.circuits), 'circuit')} with {size_range(sizes)} of {study.universe.n_edges} edges: "
        f"{count(len(study.classes), 'class', 'classes')} under {', '.join(map(study.short, study.conditions))}"
    )


def findings(shown: StudyOverview) -> Iterator[str]:
    """Yield the main results of a study."""
    yield from (similarity(shown.study.short(condition), square) for condition, square in shown.similarities.items())
    yield from faithfulness(shown)
    yield from (cross_faithfulness(shown.study.short(c), matrix) for c, matrix in shown.cross_classes.items())
    if len(shown.stability):
        yield stability(shown.stability)
    if shown.side_by_side is not None:
        yield from side_by_side(shown.side_by_side)
    yield from map(beyond, shown.beyond_controls)
    yield from (changes(c) for c in shown.changes)
    yield from (carriers(shown.study.short(condition), table) for condition, table in shown.carriers.items())


def similarity(label: str, square: Similarity) -> str:
    """Return the pairs of classes with the most and the least similar circuits under a condition."""
    pairs = square.above_chance
    best = ", ".join(_pair(pair) for pair in pairs.head(MAX_NAMED).to_dict("records"))
    text = f"{label}: similarity of the circuits of {best}"
    if len(pairs) > MAX_NAMED:
        least = _pair(pairs.iloc[-1].to_dict())
        text = f"{label}: most similar above chance are {best}; least similar {least}"
    floor = format_number(square.noise_floor)
    return f"{text}. Edge Jaccard; the noise floor, between halves of the images of a class, is {floor}."


def _pair(pair: Mapping[Any, Any]) -> str:
    return f"{pair['a']} and {pair['b']} ({format_number(pair['jaccard'])}, chance {format_number(pair['chance'])})"


def faithfulness(shown: StudyOverview) -> Iterator[str]:
    """Yield the faithfulness under each condition, compared with random circuits."""
    for condition in shown.study.conditions:
        table = shown.faithfulness.loc[shown.faithfulness["condition"] == condition]
        if len(table):
            yield f"{shown.study.short(condition)}: {_faithfulness(table)}."


def _faithfulness(table: pd.DataFrame) -> str:
    own = table["faithfulness"].dropna()
    undefined = len(table) - len(own)
    if own.empty:
        return f"faithfulness is undefined ({count(undefined, 'circuit')}); the table gives the reasons"
    text = f"faithfulness {own.iloc[0]:.2f}"
    if len(own) > 1:
        text = f"median faithfulness {own.median():.2f} ({own.min():.2f} to {own.max():.2f})"
    nearer = table["nearer_than_random"].dropna()
    if len(nearer):
        random = table["faithfulness_random"].median()
        text += (
            f", of random connected circuits of the same size {random:.2f}; {nearer.sum()} of "
            f"{count(len(nearer), 'circuit')} nearer to 1 than the mean of the random circuits"
        )
    above = table.loc[table["faithfulness"] > 1, "class"].tolist()
    if above:
        text += f"; above 1 (the circuit gives more of the metric than the whole model): {join_names(above)}"
    return f"{text}{f'; {undefined} undefined' if undefined else ''}"


def cross_faithfulness(label: str, matrix: pd.DataFrame) -> str:
    """Return the faithfulness of circuits on images of their own and of other classes."""
    values, own = matrix.to_numpy(float), np.eye(len(matrix), dtype=bool)
    medians = [format_number(np.nanmedian(v) if np.isfinite(v).any() else None) for v in (values[own], values[~own])]
    nearest = nearest_on(matrix)
    return (
        f"{label}: median faithfulness of a circuit on images of its own class {medians[0]}, on those of another class "
        f"{medians[1]}; for {(nearest == nearest.index).sum()} of {count(len(nearest), 'class', 'classes')}, no "
        "circuit of another class is nearer to 1 on its images."
    )


def changes(change: Changes) -> str:
    """Return the edges that classes gain and lose under a condition."""
    table = change.by_class
    text = (
        f"{change.label} against natural: on average, a class gains {table['gained'].mean():.1f} edges and loses "
        f"{table['lost'].mean():.1f}; noise floor {format_number(change.floor, 1)}"
    )
    n = len(table)
    for column in ("gained_in", "lost_in"):
        beyond = change.by_edge.loc[change.by_edge[column] > change.by_edge["floor"].fillna(0).clip(lower=1)]
        often = beyond.sort_values(column, ascending=False, kind="stable").head(MAX_NAMED).to_dict("records")
        if often:
            edges = ", ".join(f"{row['edge']} ({row[column]} of {n} classes)" for row in often)
            text += f". Most often {column.removesuffix('_in')}: {edges}"
    return text + "."


def stability(table: pd.DataFrame) -> str:
    """Return how much the circuits depend on the choice of images, as means over classes."""
    mean = table.select_dtypes("number").mean()
    return (
        f"Stability over images: {mean['certain']:.1f} edges are certain to be among the {mean['edges']:.0f} best, "
        f"whichever single image is added or removed; for {mean['abstained']:.1f} others, one image may decide it. "
        f"Another sample of {mean['images']:.0f} images is expected to find {mean['replication']:.0%} of the edges of "
        "a circuit. Two disjoint samples of "
        f"{mean['half']:.0f} images have Jaccard {mean['jaccard']:.2f} (chance {mean['chance']:.2f}), two of "
        f"{mean['images']:.0f} images are expected to have {mean['doubled']:.2f}. Means over "
        f"{count(len(table), 'circuit')}."
    )


def side_by_side(table: pd.DataFrame) -> Iterator[str]:
    """Yield what each condition other than natural does to predictions, gaps and circuits."""
    for row in table.loc[table["role"] != "natural"].to_dict("records"):
        about = f" ({row['role']})" if row["role"] else ""
        yield f"{row['condition']}{about}: {'; '.join(_about_condition(row))}."


def _about_condition(row: Mapping[Any, Any]) -> Iterator[str]:
    if not pd.isna(row["success"]):
        yield (
            f"{row['success']:.0%} of the correctly classified images are predicted as {row['predicted_as']}, accuracy "
            f"{row['accuracy_natural']:.0%} → {row['accuracy']:.0%}"
        )
    if not pd.isna(row["gap"]):
        yield f"the model keeps {row['gap']:.2f} of the natural gap, its circuits {row['gap_circuit']:.2f}"
    if not pd.isna(row["beyond_controls"]):
        yield (
            f"of {row['gained']:.1f} edges that a class gains on average (noise floor "
            f"{format_number(row['floor'], 1)}, swap floor "
            f"{format_number(row['swapped_floor'], 1)}), {row['beyond_controls']:.1f} are gained under none of its "
            "controls"
        )


def beyond(found: Beyond) -> str:
    """Return the edges that an attack adds beyond a control, and the reverse."""
    return (
        f"{found.attack} against its control {found.control}: on average, a class gains {found.only_attack:.1f} edges "
        f"only under the attack and {found.only_control:.1f} only under the control."
    )


def models(pair: ModelPair) -> str:
    """Return what changes from one model to another."""
    return " ".join([_of_models(pair), *_tested(pair), *_evaluated(pair)])


def _of_models(pair: ModelPair) -> str:
    mean, classes = pair.means, count(len(pair.table), "class", "classes")
    what = "edge Jaccard" if pair.same_graph else "overlap by kind of component and depth"
    text = (
        f"Mean {what} {format_number(mean['similarity'])} over {classes}; noise floor "
        f"{format_number(mean.get('noise_floor'))}, chance {format_number(mean.get('chance'))}."
    )
    if pair.by_class.empty:
        reason = "images or recipes also differ" if pair.same_graph else "the models have different graphs"
        return f"{text} No edges are called gained or lost, because {reason}."
    return (
        f"From {pair.before} to {pair.after}, a class gains {mean['gained']:.1f} edges and loses {mean['lost']:.1f} on "
        f"average; noise floor {format_number(mean.get('changed_floor'), 1)}. {text}"
    )


def _tested(pair: ModelPair) -> Iterator[str]:
    """Yield how many edges the tests call changed, and which of them exceed the control in most classes."""
    mean = pair.means
    if "changed" not in mean:
        return
    text = f"The scores of {mean['changed']:.1f} edges of a class changed"
    if "beyond_control" not in mean:
        yield f"{text}, as they do in any fine-tuning."
        return
    yield f"{text}, of {mean['beyond_control']:.1f} by more than in the control."
    often = pair.by_edge.head(MAX_NAMED).to_dict("records")
    edges = [f"{row['edge']} ({row['beyond_control_in']})" for row in often if row["beyond_control_in"]]
    if edges:
        yield f"Most often beyond the control (number of classes): {', '.join(edges)}."


def _evaluated(pair: ModelPair) -> Iterator[str]:
    """Yield how figures of the evaluation change."""
    changes = [
        f"{name} by {pair.means[f'{name}_change']:+.2f}"
        for name in ("faithfulness", "retention", "accuracy")
        if f"{name}_change" in pair.means
    ]
    if changes:
        yield f"Changes on average: {join_names(changes)}."
    if "faithfulness_cross" in pair.means:
        cross = format_number(pair.means["faithfulness_cross"])
        yield f"The circuits of {pair.before} have a faithfulness of {cross} in {pair.after}."


def groups(found: GroupComparison) -> str:
    """Return how many pairs of groups differ by more than the choice of images."""
    values, floors = (found.pairs[name].to_numpy(float) for name in ("jaccard", "noise_floor"))
    known = ~np.isnan(floors)
    floor, chance = floors[known].mean() if known.any() else None, found.pairs["chance"].to_numpy(float).mean()
    return (
        f"Mean edge Jaccard of the groups of a class {format_number(values.mean())}; noise floor "
        f"{format_number(floor)}, chance {format_number(chance)}; "
        f"{(values < floors).sum()} of {count(int(known.sum()), 'pair')} below the noise floor."
    )


def carriers(label: str, table: pd.DataFrame) -> str:
    """Return the edges that carry a condition most."""
    if "score" not in table:
        edges = [f"{row['edge']} (in {row['circuits']} circuits)" for row in table.head(MAX_NAMED).to_dict("records")]
    else:
        edges = [
            f"{row['edge']} ({format_number(row['score'])}{_error(row['error'])}, in {row['circuits']})"
            for row in table.head(MAX_NAMED).to_dict("records")
        ]
    return f"{label} is carried mainly by {', '.join(edges)} (mean score over classes, number of circuits)."


def _error(error: float) -> str:
    return "" if pd.isna(error) else f" ± {format_number(error)}"
