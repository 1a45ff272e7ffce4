"""Comparisons of models: the edges that circuits gain and lose from one model to another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from ..circuits import short_names
from ..errors import InputError, NotComparable
from ..query import Study, compare
from ..query.groups import FIELDS
from ..query.names import Models
from ..store import Store

MAX_PAIRS = 6


@dataclass(frozen=True, eq=False)
class ModelPair:
    """Two models under one condition and recipe.

    Attributes:
        before, after: the labels of the models.
        label: what distinguishes condition and recipe from those of other pairs; may be empty.
        table: one row per class (column `class`, if there are several), with the columns of `compare` by model.
    """

    before: str
    after: str
    label: str
    table: pd.DataFrame

    @property
    def means(self) -> dict[str, float]:
        """The mean over classes of each numeric column; NaN if no value is known."""
        numbers = self.table.select_dtypes("number").astype(float)
        return {str(name): float(value) for name, value in numbers.mean().items()}

    @cached_property
    def by_class(self) -> pd.DataFrame:
        """The classes whose circuits differ only in the model, with columns `class`, `gained`, `lost` and `floor`."""
        known = self.table.loc[self.table["gained"].notna()]
        names = known["class"] if "class" in known else ["all"] * len(known)
        counts = {name: known[name].astype(int) for name in ("gained", "lost")}
        return pd.DataFrame({"class": names, **counts, "floor": known["changed_floor"]})


def read_model_pairs(
    store: Store, studies: Sequence[Study], run: str | None
) -> tuple[tuple[ModelPair, ...], tuple[str, ...]]:
    """Read the pairs of models of the same shape whose circuits differ only in the model, and notes on them."""
    pairs, notes = [], []
    for models in _with_the_same_shape(studies):
        names = {study.common["model_id"]: study.common["model"] for study in models}
        try:
            found = compare(store, "model", run=run, model=list(names))
        except (InputError, NotComparable) as error:
            notes.append(f"{', '.join(names.values())}: {error}")
        else:
            pairs += _pairs(found.frame.replace({name: _report_labels(models) for name in ("a", "b")}))
            notes += found.notes
    if len(pairs) > MAX_PAIRS:
        notes.append(
            f"{len(pairs) - MAX_PAIRS} more comparisons are not shown; circuitstore compare --by model prints all"
        )
    return tuple(pairs[:MAX_PAIRS]), tuple(dict.fromkeys(notes))


def _with_the_same_shape(studies: Sequence[Study]) -> Iterator[list[Study]]:
    """Group the studies that have circuits by the shape of their models; yield groups with at least two models."""
    shapes: dict[tuple[int, int], list[Study]] = {}
    for study in studies:
        if study.entries:
            shapes.setdefault(study.entries[0].shape, []).append(study)
    yield from (models for models in shapes.values() if len({study.common["model_id"] for study in models}) > 1)


def _report_labels(studies: Sequence[Study]) -> dict[str, str]:
    """Map the labels of models among those compared to their labels among all models of the report."""
    compared = Models((study.entries[0].item.model.name, study.common["model_id"]) for study in studies)
    return {compared.label(study.common["model_id"]): study.common["model"] for study in studies}


def _pairs(frame: pd.DataFrame) -> Iterator[ModelPair]:
    """Split the comparison by pair of models, condition and recipe."""
    context = [f for f in FIELDS if f in frame and f != "class"]
    groups = [(_texts(key), rows) for key, rows in frame.groupby(["a", "b", *context], sort=False)]
    labels = short_names([", ".join(values) for (_, _, *values), _ in groups])
    for (a, b, *values), rows in groups:
        yield ModelPair(a, b, labels[", ".join(values)], rows.drop(columns=["a", "b", *context]))


def _texts(key: object) -> tuple[str, ...]:
    assert isinstance(key, tuple)
    return tuple(map(str, key))
