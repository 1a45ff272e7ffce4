"""Comparisons of groups of images: the circuits of the groups of each class, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..circuits import short_names
from ..errors import InputError, NotComparable
from ..query import Study, compare
from ..query.groups import FIELDS
from ..store import Store

UNDIVIDED = "undivided"
"""Stands for images that are not divided into groups."""

MAX_COMPARISONS = 6

_SHOWN = ("id", "class", "image_group", "flag", "n_images", "n_eval", "n_edges", "faithfulness", "faithfulness_random")
_ACCURACIES = ("accuracy_full", "accuracy_circuit", "retention")


@dataclass(frozen=True, eq=False)
class GroupComparison:
    """The groups of images under one condition and recipe.

    Attributes:
        label: what distinguishes condition and recipe from those of other comparisons; may be empty.
        circuits: one row per class and group, with columns of the catalog, `id` among them.
        pairs: one row per class and pair of groups `a`, `b`, with the columns of `compare` by image_group.
    """

    label: str
    circuits: pd.DataFrame
    pairs: pd.DataFrame


def read_group_comparisons(
    store: Store, studies: Sequence[Study], run: str | None
) -> tuple[tuple[GroupComparison, ...], tuple[str, ...]]:
    """Read the circuits that differ only in the group of images, and notes on them; nothing if there are no groups."""
    if not any(study.common["image_group"] for study in studies):
        return (), ()
    try:
        found = compare(store, "image_group", run=run)
    except (InputError, NotComparable) as error:
        return (), (f"groups of images: {error}",)
    all_found = list(_comparisons(found.frame, pd.concat([study.listed for study in studies])))
    more = len(all_found) - MAX_COMPARISONS
    left_out = [f"{more} more comparisons of groups are not shown; select a run"] if more > 0 else []
    return tuple(all_found[:MAX_COMPARISONS]), (*found.notes, *left_out)


def _comparisons(pairs: pd.DataFrame, circuits: pd.DataFrame) -> Iterator[GroupComparison]:
    """Split the comparison by condition and recipe, with the circuits of each."""
    context = [field for field in FIELDS if field in pairs and field != "class"]
    pairs, circuits = _named(pairs, ["a", "b"]), _named(circuits, ["image_group"])
    keys = pairs.loc[:, context].drop_duplicates().to_dict("records") if context else [{}]
    texts = [", ".join(map(str, key.values())) for key in keys]
    labels = short_names(texts)
    for text, key in zip(texts, keys, strict=True):
        own = _equal(circuits, key).sort_values(["class_index", "class", "image_group"])
        own = own.loc[:, [*_SHOWN, *_ACCURACIES]]
        rows = _equal(pairs, key).drop(columns=context)
        yield GroupComparison(labels[text], own.reset_index(drop=True), rows.reset_index(drop=True))


def _equal(frame: pd.DataFrame, values: Mapping[Any, object]) -> pd.DataFrame:
    """Return the rows that have these values."""
    for name, value in values.items():
        frame = frame.loc[frame[name] == value]
    return frame


def _named(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    return frame.assign(**{name: frame[name].replace("", UNDIVIDED) for name in columns})
