"""The findings in words, each beside its noise floor; a summary and a report say the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from .contents import Part
from .findings import Changes, Similarity

NAMED = 3
"""Edges or pairs that a sentence names."""


def figure(value: float | None, digits: int = 2) -> str:
    """A number for people: small ones keep two figures; a dash where there is none."""
    if value is None or pd.isna(value):
        return "–"
    return f"{value:.2g}" if 0 < abs(value) < 10.0**-digits else f"{value:.{digits}f}"


def size_range(sizes: Sequence[int]) -> str:
    low, high = min(sizes), max(sizes)
    return f"{low}" if low == high else f"{low} to {high}"


def heading(part: Part) -> str:
    """What kind of study it is."""
    return {"effect": "Effect study", "mechanism": "Mechanism study", "other": "Study"}[part.study.kind]


def asked(part: Part) -> str:
    """The recipe in one line."""
    c = part.study.common
    return (
        f"{c['model']} on {c['dataset']}: {c['method']}, {c['form']} form, metric {c['metric']}, "
        f"corruption {c['corruption']}, {c['extraction']}"
    )


def extent(part: Part) -> str:
    """How much was found."""
    study = part.study
    sizes = study.circuits["n_edges"].tolist()
    return (
        f"{count(len(study.circuits), 'circuit')} of {size_range(sizes)} of {study.graph.n_edges} edges: "
        f"{count(len(study.classes), 'class', 'classes')} under {', '.join(map(study.short, study.conditions))}"
    )


def count(n: int, one: str, many: str = "") -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"


def findings(part: Part) -> Iterator[str]:
    """The study in a handful of sentences."""
    yield from (alike(s) for s in part.similarities)
    yield faithful(part)
    yield from (changed(c) for c in part.changes)
    yield from (carried(part.study.short(condition), table) for condition, table in part.carriers.items())


def alike(similarity: Similarity) -> str:
    """The pairs of classes that share most."""
    pairs = similarity.pairs
    named = [
        f"{p['class_a']} and {p['class_b']} ({figure(p['jaccard'])}, chance {figure(p['chance'])})"
        for p in pairs.head(NAMED).to_dict("records")
    ]
    least = pairs.iloc[-1]
    text = f"{similarity.label}: most alike beyond chance are {', '.join(named)}"
    if len(pairs) > NAMED:
        text += f"; least {least['class_a']} and {least['class_b']} ({figure(least['jaccard'])})"
    return (
        f"{text}. Edge Jaccard; noise floor {figure(similarity.floor)}: a class against itself, halves of its images."
    )


def faithful(part: Part) -> str:
    """Faithfulness beside the random circuits'."""
    table = part.faithfulness.dropna(subset="faithfulness")
    if table.empty:
        return "No circuit has a faithfulness: the reasons are in the table."
    own, random = (table[name].to_numpy(float) for name in ("faithfulness", "faithfulness_random"))
    text = f"Faithfulness: median {np.median(own):.2f} ({own.min():.2f} to {own.max():.2f})"
    known = int((~np.isnan(random)).sum())
    if known:
        text += (
            f", random connected circuits of the same size {np.nanmedian(random):.2f}; "
            f"{int((own > random).sum())} of {known} circuits do better than their random ones in the mean"
        )
    undefined = len(part.faithfulness) - len(table)
    return f"{text}{f'; {undefined} undefined' if undefined else ''}."


def changed(changes: Changes) -> str:
    """What a condition adds and takes away."""
    table = changes.by_class
    text = (
        f"{changes.label} against natural: a class gains {table['gained'].mean():.1f} edges and loses "
        f"{table['lost'].mean():.1f} in the mean; noise floor {figure(changes.floor, 1)}"
    )
    n = len(table)
    for column in ("gained_in", "lost_in"):
        ordered = changes.by_edge.sort_values(column, ascending=False, kind="stable").to_dict("records")
        best = [row for row in ordered[:NAMED] if row[column] > 0]
        if best:
            named = ", ".join(f"{row['edge']} ({row[column]} of {n})" for row in best)
            text += f". Most often {column.removesuffix('_in')}: {named}"
    return text + "."


def carried(label: str, table: pd.DataFrame) -> str:
    """The edges that the attack uses most."""
    if "score" not in table:
        named = [f"{row['edge']} (in {row['circuits']} circuits)" for row in table.head(NAMED).to_dict("records")]
    else:
        named = [
            f"{row['edge']} ({figure(row['score'])}{_error(row['error'])}, in {row['circuits']})"
            for row in table.head(NAMED).to_dict("records")
        ]
    return f"{label} is carried most by {', '.join(named)}: mean score over classes, number of circuits."


def _error(error: float) -> str:
    return "" if pd.isna(error) else f" ± {figure(error)}"
