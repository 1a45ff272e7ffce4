"""Studies: sets of circuits that differ only in class and condition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from ..circuits import NATURAL, Recipe, Selection, StudyKind, Universe, short_names, study_kind
from ..store import Store
from .entries import STUDY, Entry, best_study, entries_of, images_of, newest, precision
from .names import Models

COMMON = ("model_id", *STUDY, "seed")
"""Properties that all circuits of a study share. `model` is the name, with digits of the id if models share it."""


@dataclass(frozen=True, eq=False)
class Study:
    """Circuits that may be compared by class and by condition.

    Attributes:
        common: the values of `COMMON`.
        recipe: the recipe of its circuits; versions may differ.
        circuits: the circuits without a flag, one per row, natural first, then by class index; columns of the catalog.
        flagged: the flagged circuits, in the same form; they are listed, but enter no figure.
        entries: the circuits with the questions that they answer, in the order of the rows of `circuits`.
        universe: the universe of the circuits.
        members: the edges of each circuit, in the order of the rows.
        scores: the mean scores from which each circuit was extracted; None for methods that only select edges.
        notes: what was left out to make the circuits comparable.
    """

    common: Mapping[str, str]
    recipe: Recipe
    circuits: pd.DataFrame
    flagged: pd.DataFrame
    entries: tuple[Entry, ...]
    universe: Universe
    members: Bool[np.ndarray, "circuit edge"]
    scores: Float[np.ndarray, "circuit edge"] | None = None
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> StudyKind:
        """Whether it is an effect study, a mechanism study or neither."""
        return study_kind(self.recipe)

    @cached_property
    def listed(self) -> pd.DataFrame:
        """All circuits including flagged ones, in the order of `circuits`."""
        return in_order(pd.concat([t for t in (self.circuits, self.flagged) if len(t)]))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes by class index, including those of flagged circuits."""
        return tuple(self.listed.sort_values(["class_index", "class"])["class"].drop_duplicates())

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """The canonical texts of the conditions, natural first, including those of flagged circuits."""
        return tuple(self.listed["condition"].drop_duplicates())

    @property
    def other_conditions(self) -> tuple[str, ...]:
        """The conditions other than natural: attacks, controls and distortions."""
        other = self.listed["attack"] != NATURAL
        return tuple(self.listed.loc[other, "condition"].drop_duplicates())

    def short(self, condition: str) -> str:
        """Return the shortest name that distinguishes a condition from the others of the study."""
        return short_names(self.conditions)[condition]

    def rows(self, condition: str) -> Int[np.ndarray, "circuit"]:
        """Return the positions of the circuits of a condition, by class index."""
        return np.flatnonzero(self.circuits["condition"] == condition)

    def aligned(self, *conditions: str) -> tuple[list[str], Int[np.ndarray, "condition class"]]:
        """Return the classes that have circuits under all of these conditions, and the positions of these circuits."""
        at = [dict(zip(self.circuits["class"].iloc[rows], rows, strict=True)) for rows in map(self.rows, conditions)]
        names = [name for name in at[0] if all(name in of for of in at)]
        return names, np.array([[of[name] for name in names] for of in at], int).reshape(len(at), len(names))


def read_studies(store: Store, run: str | None = None) -> tuple[Study, ...]:
    """Return the studies of a run or of the whole store: effect studies, then mechanism studies, then others.

    Raises:
        InputError: the run does not exist.

    Examples:
        >>> [(study.kind, len(study.circuits)) for study in read_studies(store)]
        [('effect', 8), ('mechanism', 4)]
    """
    circuits = store.circuits(run)
    if circuits.empty:
        return ()
    models = Models(zip(circuits["model"], circuits["model_id"], strict=True))
    labelled = circuits.assign(model=circuits["model_id"].map(models.label))
    found = [_read(store, dict(zip(COMMON, key, strict=True)), rows) for key, rows in _by_study(labelled)]
    order = ("effect", "mechanism", "other")
    return tuple(sorted(found, key=lambda study: order.index(study.kind)))


def _by_study(circuits: pd.DataFrame) -> Iterator[tuple[tuple[str, ...], pd.DataFrame]]:
    for key, rows in circuits.groupby(list(COMMON), sort=False, dropna=False):
        assert isinstance(key, tuple)
        yield tuple(map(str, key)), rows


def _read(store: Store, common: Mapping[str, str], rows: pd.DataFrame) -> Study:
    entries = {entry.id: entry for entry in _one_each(store, rows)}
    older, flags, chosen = len(rows) - len(entries), rows["flag"] != "", rows["id"].isin(list(entries))
    circuits, flagged = in_order(rows.loc[chosen & ~flags]), in_order(rows.loc[chosen & flags])
    first = next(iter(entries.values()))
    return Study(
        common,
        first.item.recipe,
        circuits,
        flagged,
        tuple(entries[id] for id in circuits["id"]),
        first.universe,
        *_arrays(store, circuits, first.universe),
        notes=tuple(_left_out(older)),
    )


def _left_out(circuits: int) -> Iterator[str]:
    if circuits:
        noun = "circuit" if circuits == 1 else "circuits"
        yield f"not shown: {circuits} {noun}, older or with other images or precision; select a run to see more"


def _arrays(
    store: Store, circuits: pd.DataFrame, universe: Universe
) -> tuple[Bool[np.ndarray, "circuit edge"], Float[np.ndarray, "circuit edge"] | None]:
    """Load the members and scores of circuits on one universe."""
    if circuits.empty:
        return np.zeros((0, universe.n_edges), bool), None
    scored = store.circuit(circuits["id"].iloc[0]).circuit.score is not None
    return store.members(list(circuits["id"])), store.scores(list(circuits["discovery_id"])) if scored else None


def _one_each(store: Store, rows: pd.DataFrame) -> list[Entry]:
    """Return the newest circuit per class and condition; the circuits of a class have the same images."""

    def condition(entry: Entry) -> str:
        return entry.row["condition"]

    by_class: dict[str, list[Entry]] = {}
    latest = entries_of(store, rows.loc[rows["newest"].astype(bool)])
    for entry in best_study(latest, precision, lambda e: (e.row["class"], e.row["condition"])):
        by_class.setdefault(entry.row["class"], []).append(entry)
    return [e for group in by_class.values() for e in newest(best_study(group, _images, condition), condition)]


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Sort the circuits of a study: natural first, then by class index."""
    marked = rows.assign(_other=rows["attack"] != NATURAL)
    ordered = marked.sort_values(["_other", "condition", "class_index", "class"])
    return ordered.drop(columns="_other").reset_index(drop=True)


def _images(entry: Entry) -> Selection:
    """Return how the images were selected; those on which an attack succeeds are a part of the correct ones."""
    images = images_of(entry.item)
    return replace(images, rule="correct") if images.rule == "successful" else images
