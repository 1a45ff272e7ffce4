"""Model against model: what the circuits of one gain and lose in another, beyond the noise floor."""

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

MOST_PAIRS = 6


@dataclass(frozen=True, eq=False)
class ModelPair:
    """Two models under one condition and recipe.

    Attributes:
        before, after: what the models are called.
        label: what distinguishes condition and recipe from those of other pairs; may be empty.
        table: a row per class (column `class`, where there are several): columns of `compare` by model.
    """

    before: str
    after: str
    label: str
    table: pd.DataFrame

    @property
    def means(self) -> dict[str, float]:
        """Mean over classes of each number of the table; NaN where none is known."""
        numbers = self.table.select_dtypes("number").astype(float)
        return {str(name): float(value) for name, value in numbers.mean().items()}

    @cached_property
    def by_class(self) -> pd.DataFrame:
        """Classes whose circuits differ only in the model: columns `class, gained, lost, floor`."""
        known = self.table.loc[self.table["gained"].notna()]
        names = known["class"] if "class" in known else ["all"] * len(known)
        counts = {name: known[name].astype(int) for name in ("gained", "lost")}
        return pd.DataFrame({"class": names, **counts, "floor": known["changed_floor"]})


def read_model_pairs(
    store: Store, studies: Sequence[Study], run: str | None
) -> tuple[tuple[ModelPair, ...], tuple[str, ...]]:
    """Read pairs of models of one shape whose circuits differ in the model only, and what must be known of them."""
    pairs, notes = [], []
    for models in _of_one_shape(studies):
        names = {study.common["model_id"]: study.common["model"] for study in models}
        try:
            found = compare(store, "model", run=run, model=list(names))
        except (InputError, NotComparable) as error:
            notes.append(f"{', '.join(names.values())}: {error}")
        else:
            pairs += _pairs(found.frame.replace({name: _in_store(models) for name in ("a", "b")}))
            notes += found.notes
    if len(pairs) > MOST_PAIRS:
        notes.append(
            f"{len(pairs) - MOST_PAIRS} more comparisons are not shown; circuitstore compare --by model has all"
        )
    return tuple(pairs[:MOST_PAIRS]), tuple(dict.fromkeys(notes))


def _of_one_shape(studies: Sequence[Study]) -> Iterator[list[Study]]:
    """The studies with circuits that count of two models or more of one shape."""
    shapes: dict[tuple[int, int], list[Study]] = {}
    for study in studies:
        if study.entries:
            shapes.setdefault((study.graph.n_layers, study.graph.n_heads), []).append(study)
    yield from (models for models in shapes.values() if len({study.common["model_id"] for study in models}) > 1)


def _in_store(studies: Sequence[Study]) -> dict[str, str]:
    """What models are called among all of a report, by what they are called among those compared."""
    among = Models((study.entries[0].item.model.name, study.common["model_id"]) for study in studies)
    return {among.label(study.common["model_id"]): study.common["model"] for study in studies}


def _pairs(frame: pd.DataFrame) -> Iterator[ModelPair]:
    """The rows of each two models under each condition and recipe, classes by similarity."""
    context = [f for f in FIELDS if f in frame and f != "class"]
    groups = [(_texts(key), rows) for key, rows in frame.groupby(["a", "b", *context], sort=False)]
    labels = short_names([", ".join(of) for (_, _, *of), _ in groups])
    for (a, b, *of), rows in groups:
        yield ModelPair(a, b, labels[", ".join(of)], rows.drop(columns=["a", "b", *context]))


def _texts(key: object) -> tuple[str, ...]:
    assert isinstance(key, tuple)
    return tuple(map(str, key))
