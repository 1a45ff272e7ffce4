"""What was found in words, each beside its noise floor; a summary and a report say the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from ..query import Similarity
from .changes import Changes
from .model_pairs import ModelPair
from .study_overview import StudyOverview
from .wording import count, figure, named, size_range

NAMED = 3
"""Edges or pairs that a sentence names."""


def asked(shown: StudyOverview) -> str:
    """Return the recipe in one line."""
    c = shown.study.common
    return (
        f"{c['model']} on {c['dataset']}: {c['method']}, {c['form']} form, metric {c['metric']}, "
        f"corruption {c['corruption']}, {c['extraction']}"
    )


def extent(shown: StudyOverview) -> str:
    """Return how much was found."""
    study = shown.study
    sizes = study.circuits["n_edges"].tolist()
    if not sizes:
        return f"No circuit of {study.graph.n_edges} edges without a flag"
    return (
        f"{count(len(study.circuits), 'circuit')} of {size_range(sizes)} of {study.graph.n_edges} edges: "
        f"{count(len(study.classes), 'class', 'classes')} under {', '.join(map(study.short, study.conditions))}"
    )


def in_short(shown: StudyOverview) -> Iterator[str]:
    """Yield what was found, in a handful of sentences."""
    yield from (alike(shown.study.short(condition), square) for condition, square in shown.similarities.items())
    yield from faithful(shown)
    yield from (changed(c) for c in shown.changes)
    yield from (carried(shown.study.short(condition), table) for condition, table in shown.carriers.items())


def alike(label: str, similarity: Similarity) -> str:
    """Return the pairs of classes that share most under a condition."""
    pairs = similarity.above_chance
    best = [_pair(pair) for pair in pairs.head(NAMED).to_dict("records")]
    least = pairs.iloc[-1].to_dict()
    text = f"{label}: most alike beyond chance are {', '.join(best)}"
    if len(pairs) > NAMED:
        text += f"; least beyond chance {_pair(least)}"
    floor = figure(similarity.noise_floor)
    return f"{text}. Edge Jaccard; noise floor {floor}: a class against itself, halves of its images."


def _pair(pair: Mapping[Any, Any]) -> str:
    return f"{pair['a']} and {pair['b']} ({figure(pair['jaccard'])}, chance {figure(pair['chance'])})"


def faithful(shown: StudyOverview) -> Iterator[str]:
    """Yield faithfulness under each condition beside that of the random circuits."""
    for condition in shown.study.conditions:
        table = shown.faithfulness.loc[shown.faithfulness["condition"] == condition]
        if len(table):
            yield f"{shown.study.short(condition)}: {_faithful(table)}."


def _faithful(table: pd.DataFrame) -> str:
    own = table["faithfulness"].dropna()
    undefined = len(table) - len(own)
    if own.empty:
        return f"no faithfulness is defined ({count(undefined, 'circuit')}); the reasons are in the table"
    text = f"faithfulness {own.median():.2f} in the median ({own.min():.2f} to {own.max():.2f})"
    nearer = table["nearer_than_random"].dropna()
    if len(nearer):
        random = table["faithfulness_random"].median()
        text += (
            f", that of random connected circuits of the same size {random:.2f}; {nearer.sum()} of "
            f"{count(len(nearer), 'circuit')} nearer to 1 than the mean of the random ones"
        )
    above = table.loc[table["faithfulness"] > 1, "class"].tolist()
    if above:
        text += f"; over 1, so that the circuit alone gives more than the whole model: {named(above)}"
    return f"{text}{f'; {undefined} undefined' if undefined else ''}"


def changed(changes: Changes) -> str:
    """Return what a condition adds and takes away."""
    table = changes.by_class
    text = (
        f"{changes.label} against natural: a class gains {table['gained'].mean():.1f} edges and loses "
        f"{table['lost'].mean():.1f} in the mean; noise floor {figure(changes.floor, 1)}"
    )
    n = len(table)
    for column in ("gained_in", "lost_in"):
        ordered = changes.by_edge.sort_values(column, ascending=False, kind="stable").to_dict("records")
        often = [row for row in ordered[:NAMED] if row[column] > 0]
        if often:
            edges = ", ".join(f"{row['edge']} ({row[column]} of {n})" for row in often)
            text += f". Most often {column.removesuffix('_in')}: {edges}"
    return text + "."


def between(pair: ModelPair) -> str:
    """Return what the circuits of one model have and those of another have not."""
    mean, classes = pair.means, count(len(pair.table), "class", "classes")
    text = (
        f"Edge Jaccard {figure(mean['jaccard'])} in the mean of {classes}; noise floor {figure(mean['noise_floor'])}, "
        f"chance {figure(mean['chance'])}."
    )
    if pair.by_class.empty:
        return f"{text} No edges are said to be gained or lost: images or recipes differ as well."
    return (
        f"From {pair.before} to {pair.after} a class gains {mean['gained']:.1f} edges and loses {mean['lost']:.1f} in "
        f"the mean; noise floor {figure(mean['changed_floor'], 1)}. {text}"
    )


def carried(label: str, table: pd.DataFrame) -> str:
    """Return the edges that the attack uses most."""
    if "score" not in table:
        edges = [f"{row['edge']} (in {row['circuits']} circuits)" for row in table.head(NAMED).to_dict("records")]
    else:
        edges = [
            f"{row['edge']} ({figure(row['score'])}{_error(row['error'])}, in {row['circuits']})"
            for row in table.head(NAMED).to_dict("records")
        ]
    return f"{label} is carried most by {', '.join(edges)}: mean score over classes, number of circuits."


def _error(error: float) -> str:
    return "" if pd.isna(error) else f" ± {figure(error)}"
