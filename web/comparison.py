"""What the comparison page shows: the groups of circuits of a store, and the similarities of one group's pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from ..circuits import NATURAL, short_names
from ..errors import InputError, check_known
from ..query.compare import read_groups
from ..query.entries import ABBREVIATED
from ..query.groups import FIELDS
from ..query.matrices import Clock, Compared, add_floors, compared_group, with_floors
from ..query.measures import get_measure
from ..query.names import Models
from ..store import Store

MAX_CIRCUITS = 2_000
"""Maximum number of rows of a heat map: 2 million pairs."""

Half = Float[np.ndarray, "pair"]


@dataclass(frozen=True)
class Wanted:
    """What is compared.

    Attributes:
        by: the field in which the circuits differ.
        measure: key of the measure.
        run: only circuits of this run; None for the whole store.
        flagged: whether flagged circuits are compared, too.
        equals: values of other fields, which select one group.
    """

    by: str
    measure: str
    run: str | None
    flagged: bool
    equals: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups of circuits that differ in one field only, the largest first, natural before attacked ones.

    Attributes:
        common: the values of the other fields, for each group.
        sizes: the number of values of the field, for each group.
    """

    common: Sequence[Mapping[str, str]]
    sizes: Sequence[int]

    @property
    def varying(self) -> list[str]:
        """The fields in which the groups differ from each other, and by which one of them is selected."""
        return [field for field in FIELDS if len({one.get(field) for one in self.common}) > 1]


def find_groups(store: Store, by: str, run: str | None, *, flagged: bool) -> Groups:
    """Return the groups of a run or store, as the catalog lists them; `compare_group` checks if one is comparable.

    Raises:
        InputError: an unknown field or run.
    """
    check_known("field to compare by", by, FIELDS)
    rows = store.count_circuits([*FIELDS, "model_id", "flag"], run)
    rows = rows if flagged else rows.loc[rows["flag"] == ""]
    models = Models(zip(rows["model"], rows["model_id"], strict=True))
    labelled = rows.assign(model=[models.label(id) for id in rows["model_id"]])
    others = [field for field in FIELDS if field != by]
    found: list[tuple[dict[str, str], int]] = []
    for key, same in labelled.groupby(others):
        assert isinstance(key, tuple)
        size = len(set(same[by]))
        if size > 1:
            found.append((dict(zip(others, map(str, key), strict=True)), size))
    found.sort(key=lambda one: (-one[1], one[0].get("condition") != NATURAL))
    return Groups([values for values, _ in found], [size for _, size in found])


def compare_group(store: Store, wanted: Wanted) -> tuple[Compared, tuple[str, ...]]:
    """Return the similarities of the largest group that matches, without noise floors, and notes.

    Raises:
        InputError: an unknown field, measure, run or value; nothing to compare; or more than `MAX_CIRCUITS` circuits.
        NotComparable: circuits that differ in the field are not comparable.
    """
    measure, equals = get_measure(wanted.measure), dict(wanted.equals)
    found, notes = read_groups(store, wanted.by, measure, run=wanted.run, flagged=wanted.flagged, equals=equals)
    group = max(found, key=lambda group: len(group.labels))
    if len(group.labels) > MAX_CIRCUITS:
        raise InputError(
            f"a heat map shows up to {MAX_CIRCUITS:,} circuits, these are {len(group.labels):,}; select fewer by their "
            "properties, or write all pairs to a file with circuitstore compare"
        )
    return compared_group(store, group, measure, Clock(progress=False)), (*notes, *group.notes)


def with_noise_floors(store: Store, compared: Compared) -> Compared:
    """Return the similarities with the noise floors of as many circuits as ten seconds allow."""
    ((_, halved),) = with_floors([compared.group])
    return add_floors(store, compared, halved, Clock(progress=False))


def half(values: Float[np.ndarray, "circuit circuit"]) -> Half:
    """Return the pairs of a symmetric matrix, row by row, with the diagonal."""
    return values[np.triu_indices(len(values))]


def facts_of(compared: Compared, notes: Sequence[str]) -> dict[str, Any]:
    """Return what the arrays are about, as JSON values."""
    group, similarity = compared.group, compared.similarity
    by = next(field for field in FIELDS if field not in group.common)
    names = short_names(group.labels) if by in ABBREVIATED else {label: label for label in group.labels}
    return {
        "labels": [names[label] for label in group.labels],
        "circuits": [entry.id for entry in group.entries],
        "edges": np.diag(compared.common).tolist(),
        "common": dict(group.common),
        "measure": similarity.measure.key,
        "about": similarity.measure.about,
        "chance": similarity.chance_level,
        "notes": list(notes),
    }


def pairs_table(compared: Compared) -> pd.DataFrame:
    """Return the pairs with their circuits, the most similar first."""
    ids = np.array([entry.id for entry in compared.group.entries], dtype=object)
    a, b = np.triu_indices(len(ids), 1)
    pairs = compared.similarity.pairs.assign(circuit_a=ids[a], circuit_b=ids[b], common=compared.common[a, b])
    return pairs.sort_values(compared.similarity.measure.column, ascending=False, kind="stable", ignore_index=True)
