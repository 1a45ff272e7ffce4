"""The numbers of a report, as tables: everything here is computed from a study and its noise floors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from ..circuits import Evaluation
from ..circuits.similarity import jaccard_matrix
from .floors import Floor
from .studies import Study


@dataclass(frozen=True, eq=False)
class Similarity:
    """How alike the circuits of one condition's classes are.

    Attributes:
        condition: canonical text.
        classes: names, by class index.
        jaccard: edge Jaccard of all pairs, 1 on the diagonal.
        floors: noise floor per class; NaN where it is not known.
        chances: Jaccard of uniform random edge sets of the two circuits' sizes, of all pairs.
        label: short name of the condition.
    """

    condition: str
    classes: tuple[str, ...]
    jaccard: Float[np.ndarray, "class class"]
    floors: Float[np.ndarray, "class"]
    chances: Float[np.ndarray, "class class"]
    label: str

    @property
    def chance(self) -> float:
        """Mean chance level over pairs of classes."""
        return float(self.chances[np.triu_indices(len(self.classes), 1)].mean())

    @property
    def floor(self) -> float | None:
        """Mean noise floor; None where none is known."""
        return None if np.isnan(self.floors).all() else float(np.nanmean(self.floors))

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Columns `class_a, class_b, jaccard, chance, floor` (mean of the two classes' floors).

        Most alike first, by what is above chance: (jaccard − chance) / (1 − chance). Two large circuits
        share most edges by chance.
        """
        a, b = np.triu_indices(len(self.classes), 1)
        names = np.array(self.classes, dtype=object)
        frame = pd.DataFrame(
            {
                "class_a": names[a],
                "class_b": names[b],
                "jaccard": self.jaccard[a, b],
                "chance": self.chances[a, b],
                "floor": (self.floors[a] + self.floors[b]) / 2,
            }
        )
        above = (frame["jaccard"] - frame["chance"]) / np.maximum(1 - frame["chance"], 1e-9)
        order = np.argsort(-above.to_numpy(), kind="stable")
        return frame.iloc[order].reset_index(drop=True)


def similarity(study: Study, condition: str, floors: Mapping[int, Floor]) -> Similarity:
    """Edge Jaccard between the classes' circuits under one condition."""
    rows = study.rows(condition)
    members = study.members[rows]
    return Similarity(
        condition,
        tuple(study.circuits["class"].iloc[rows]),
        jaccard_matrix(members),
        np.array([floors[i].jaccard if i in floors else np.nan for i in rows.tolist()]),
        chance_levels(members.sum(axis=1), study.graph.n_edges),
        study.short(condition),
    )


def chance_levels(sizes: Int[np.ndarray, "circuit"], n_edges: int) -> Float[np.ndarray, "circuit circuit"]:
    """Jaccard of uniform random edge sets of all pairs of sizes, taken at the mean overlap.

    Within 0.01 of the exact mean, `circuits.similarity.expected_jaccard`, whose sum is too slow for
    all pairs of a thousand circuits.
    """
    sizes = sizes.astype(float)
    common = np.outer(sizes, sizes) / n_edges
    union = sizes[:, None] + sizes[None, :] - common
    return np.where(union > 0, common / np.maximum(union, 1e-9), 1.0)


@dataclass(frozen=True, eq=False)
class Changes:
    """What a condition does to the circuits, against the natural ones; in effect studies only.

    Attributes:
        condition: canonical text.
        label: its short name.
        by_class: columns `class, natural, attacked` (sizes), `kept, gained, lost, floor, jaccard, jaccard_floor`.
            `floor`: edges that seem gained (and as many lost) between halves of the natural images.
        by_edge: columns `edge, gained_in, lost_in, floor, score_natural, score_attacked`: in how many classes,
            in how many between halves of natural images, and mean scores over classes; only edges that changed,
            most often changed first.
    """

    condition: str
    label: str
    by_class: pd.DataFrame
    by_edge: pd.DataFrame

    @property
    def floor(self) -> float | None:
        """Mean over classes of the edges that seem gained where only the images differ."""
        floors = self.by_class["floor"].to_numpy(float)
        return None if np.isnan(floors).all() else float(np.nanmean(floors))


def changes(study: Study, condition: str, floors: Mapping[int, Floor]) -> Changes | None:
    """Gained and lost edges per class; None where a class has no circuit under both conditions."""
    natural = study.natural
    pairs = list(study.pairs(natural, condition)) if natural else []
    if not pairs:
        return None
    before, after = (np.array([p[i] for p in pairs]) for i in (1, 2))
    was, now = study.members[before], study.members[after]
    known = [floors.get(row) for row in before.tolist()]
    kept = (was & now).sum(axis=1)
    by_class = pd.DataFrame(
        {
            "class": [name for name, _, _ in pairs],
            "natural": was.sum(axis=1),
            "attacked": now.sum(axis=1),
            "kept": kept,
            "gained": (now & ~was).sum(axis=1),
            "lost": (was & ~now).sum(axis=1),
            "floor": [np.nan if f is None else float(f.changed.sum()) for f in known],
            "jaccard": kept / np.maximum((was | now).sum(axis=1), 1),
            "jaccard_floor": [np.nan if f is None else f.jaccard for f in known],
        }
    )
    return Changes(condition, study.short(condition), by_class, _by_edge(study, before, after, known))


def _by_edge(study: Study, before: np.ndarray, after: np.ndarray, floors: Sequence[Floor | None]) -> pd.DataFrame:
    was, now = study.members[before], study.members[after]
    known = [f.changed for f in floors if f is not None]
    floor = np.mean(known, axis=0) * len(before) if known else np.full(study.graph.n_edges, np.nan)
    frame = pd.DataFrame(
        {
            "edge": study.graph.edge_names,
            "gained_in": (now & ~was).sum(axis=0),
            "lost_in": (was & ~now).sum(axis=0),
            "floor": floor,
            "score_natural": np.nan if study.scores is None else study.scores[before].mean(axis=0),
            "score_attacked": np.nan if study.scores is None else study.scores[after].mean(axis=0),
        }
    )
    frame = frame[(frame["gained_in"] > 0) | (frame["lost_in"] > 0)]
    most = frame[["gained_in", "lost_in"]].max(axis=1)
    return frame.assign(_most=most).sort_values("_most", ascending=False, kind="stable").drop(columns="_most")


def carriers(study: Study, condition: str) -> pd.DataFrame:
    """The edges that carry an attack: members of at least one class's circuit, largest mean score first.

    Columns `edge, circuits` (how many classes' circuits hold it), `by_chance` (how many uniform random
    ones of these sizes would), `score` (mean over classes), `error` (standard error over classes, NaN
    for one class), `positive` (classes in which it scores above zero). Without scores by `circuits` alone.
    """
    rows = study.rows(condition)
    members = study.members[rows]
    frame = pd.DataFrame(
        {
            "edge": study.graph.edge_names,
            "circuits": members.sum(axis=0),
            "by_chance": members.sum() / study.graph.n_edges,
        }
    )
    if study.scores is None:
        return frame.loc[frame["circuits"] > 0].sort_values("circuits", ascending=False, kind="stable")
    scores = study.scores[rows].astype(np.float64)
    spread = scores.std(axis=0, ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else np.nan
    frame = frame.assign(score=scores.mean(axis=0), error=spread, positive=(scores > 0).sum(axis=0))
    return frame.loc[frame["circuits"] > 0].sort_values("score", ascending=False, kind="stable")


def random_faithfulness(evaluation: Evaluation) -> list[float]:
    """Faithfulness of each size-matched random circuit; empty where faithfulness has no meaning."""
    if evaluation.faithfulness is None:
        return []
    gap = evaluation.metric_full - evaluation.metric_empty
    return [(m - evaluation.metric_empty) / gap for m in evaluation.metric_random]


_ABOUT = ("word", "target", "against", "flag")
"""What distinguishes a circuit besides class and condition; columns only where some circuit has it."""

_FIGURES = (
    *("metric_full", "metric_empty", "metric_circuit", "faithfulness", "faithfulness_random"),
    *("accuracy_full", "accuracy_circuit", "accuracy_empty", "retention"),
)


def faithfulness(circuits: pd.DataFrame) -> pd.DataFrame:
    """One row per circuit: sizes, metrics, faithfulness beside the random circuits' mean, accuracies, retention.

    Columns of the catalog, and `nearer_than_random`: whether faithfulness is nearer to 1 than the mean of the random
    circuits; missing where one of them is. Faithfulness over 1 is as far from the model as one as much under 1.
    """
    about = [name for name in _ABOUT if any(circuits[name].fillna(""))]
    table = circuits.loc[:, ["class", "condition", *about, "n_edges", "n_eval", *_FIGURES]]
    table = table.astype(dict.fromkeys(_FIGURES, float)).astype({"n_edges": int, "n_eval": int})
    own, random = ((1 - table[name]).abs() for name in ("faithfulness", "faithfulness_random"))
    nearer = (own < random).astype("boolean").mask(own.isna() | random.isna())
    table.insert(table.columns.get_loc("accuracy_full"), "nearer_than_random", nearer)
    return table
