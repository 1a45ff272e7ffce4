"""Model diff: what changes in the circuits from a base model to each other model, by class and by edge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from ..circuits import short_names
from ..errors import InputError, NotComparable
from ..query import ModelChange, Study, read_model_changes
from ..query.groups import FIELDS
from ..query.model_changes import change_rows
from ..results import Table
from ..store import Store

MAX_PAIRS = 6

_NOT_SHOWN = ("a", "b", "condition", "circuit_a", "circuit_b")


@dataclass(frozen=True)
class ModelRoles:
    """The models that the others are compared with, each by name, id or the first digits of its id.

    Attributes:
        base: the model from which edges are gained and lost; None for the one whose circuits were stored first.
        control: a fine-tuning of the base from which no change of interest is expected; None if there is none.
    """

    base: str | None = None
    control: str | None = None


FIRST_STORED = ModelRoles()
"""The roles if none are given."""


@dataclass(frozen=True, eq=False)
class ModelPair:
    """Two models under one condition and recipe.

    Attributes:
        label: what distinguishes condition and recipe from those of other pairs; may be empty.
        changes: what differs, class by class; at least one.
    """

    label: str
    changes: tuple[ModelChange, ...]

    @property
    def before(self) -> str:
        """The label of the base model."""
        return self.changes[0].a

    @property
    def after(self) -> str:
        """The label of the other model."""
        return self.changes[0].b

    @property
    def same_graph(self) -> bool:
        """Whether the models are compared edge by edge."""
        return self.changes[0].pair.same_graph

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per class, with the columns of `compare_models` that are known."""
        return change_rows(self.changes).drop(columns=list(_NOT_SHOWN)).dropna(axis=1, how="all")

    @cached_property
    def means(self) -> dict[str, float]:
        """The mean over classes of each numeric column."""
        numbers = self.table.select_dtypes("number").astype(float)
        return {str(name): float(value) for name, value in numbers.mean().items()}

    @cached_property
    def by_class(self) -> pd.DataFrame:
        """The classes whose circuits differ only in the model, with columns `class`, `gained`, `lost` and `floor`."""
        known = [{**change.row(), **change.pair.common} for change in self.changes if change.by_model]
        columns = {"class": "class", "gained": "gained", "lost": "lost", "floor": "changed_floor"}
        return pd.DataFrame({name: [row[column] for row in known] for name, column in columns.items()})

    @cached_property
    def by_edge(self) -> pd.DataFrame:
        """The edges that the tests call changed in most classes, first those beyond the control.

        Columns: `edge`; `beyond_control_in`, `changed_in`, `gained_in`, `lost_in` (numbers of classes), `before` and
        `after` (mean scores over the tested classes). Without rows if nothing was tested, or no edge changed.
        """
        tested = [(c, c.test) for c in self.changes if c.test is not None]
        if not tested:
            return pd.DataFrame(columns=["edge"])
        counts = {
            "beyond_control_in": [c.beyond_control for c, _ in tested if c.beyond_control is not None],
            "changed_in": [test.changed() for _, test in tested],
            "gained_in": [c.gained for c, _ in tested],
            "lost_in": [c.lost for c, _ in tested],
        }
        columns = {name: np.sum(found, axis=0) for name, found in counts.items() if found}
        means = {name: np.mean([getattr(t, name) for _, t in tested], axis=0) for name in ("before", "after")}
        frame = pd.DataFrame({"edge": tested[0][1].universe.edge_names, **columns, **means})
        frame["moved"] = (frame["after"] - frame["before"]).abs()
        order = [name for name in ("beyond_control_in", "changed_in", "moved") if name in frame]
        ordered = frame.loc[frame["changed_in"] > 0].sort_values(order, ascending=False, kind="stable")
        return ordered.drop(columns="moved").reset_index(drop=True)


def read_model_pairs(
    store: Store,
    studies: Sequence[Study],
    run: str | None,
    roles: ModelRoles = FIRST_STORED,
    cross: Table | None = None,
) -> tuple[tuple[ModelPair, ...], tuple[str, ...]]:
    """Compare a base model with the others whose circuits differ only in the model; return the pairs, and notes.

    Raises:
        InputError: a model that is named does not exist, or has nothing to be compared with.
    """
    names = {study.common["model_id"]: study.common["model"] for study in studies if study.entries}
    if roles == FIRST_STORED and len(names) < 2:
        return (), ()
    try:
        base = roles.base or _oldest(studies)
        changes, notes = read_model_changes(store, base, control=roles.control, cross=cross, run=run)
    except (InputError, NotComparable) as error:
        if roles != FIRST_STORED:
            raise
        return (), (f"{', '.join(names.values())}: {error}",)
    pairs = tuple(_pairs(changes))
    left_out = (
        f"{len(pairs) - MAX_PAIRS} more comparisons are not shown; circuitstore compare --by model --base "
        f"{changes[0].a!r} prints all"
    )
    return pairs[:MAX_PAIRS], (*notes, left_out) if len(pairs) > MAX_PAIRS else notes


def _oldest(studies: Sequence[Study]) -> str:
    """Return the id of the model whose circuits were stored first."""
    ages = [(e.age[0], study.common["model"], study.common["model_id"]) for study in studies for e in study.entries]
    return min(ages)[2]


def _pairs(changes: Sequence[ModelChange]) -> Iterator[ModelPair]:
    """Group what changes by pair of models, condition and recipe."""
    fields = [f for f in FIELDS if f not in ("class", "model") and len({c.pair.common[f] for c in changes}) > 1]
    found: dict[tuple[str, str], list[ModelChange]] = {}
    for change in changes:
        found.setdefault((change.b, ", ".join(change.pair.common[f] for f in fields)), []).append(change)
    labels = short_names([text for _, text in found])
    for (_, text), same in found.items():
        yield ModelPair(labels[text], tuple(same))
