"""Groups of circuits that may be compared with each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..circuits import NATURAL, UNATTACKED_TWIN
from ..errors import check_known
from .differences import differences
from .entries import STUDY, Entry, best_study, newest, precision
from .names import Models

FIELDS = (*STUDY[:2], "class", *STUDY[2:3], "condition", *STUDY[3:])
"""Properties of circuits; within a group all of them are the same except the compared one."""


@dataclass(frozen=True, eq=False)
class Group:
    """Circuits that differ in one field only, one for each of its values.

    Attributes:
        common: the values of the other fields.
        labels: the values of the compared field; classes by class index, `natural` before attacks.
        entries: the circuits, in that order, over one universe or in forms of one graph.
        notes: what else differs, and what was left out.
    """

    common: Mapping[str, str]
    labels: tuple[str, ...]
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()


def groups(loaded: Sequence[Entry], by: str, *, sets: bool = False, shapes: bool = False) -> Iterator[Group]:
    """Yield groups of at least two circuits that differ in `by`; models with the same name get different labels.

    Args:
        loaded: the circuits.
        by: one of `FIELDS`.
        sets: whether only sets of edges are compared, not scores.
        shapes: whether models of different shapes may be compared.

    Raises:
        InputError: the field does not exist.
        NotComparable: circuits that differ in `by` are not comparable.
    """
    check_known("field to compare by", by, FIELDS)
    models = Models((e.item.model.name, e.item.model.id) for e in loaded)
    labelled = [replace(e, row={**e.row, "model": models.label(e.item.model.id)}) for e in loaded]

    def value(entry: Entry) -> str:
        return str(entry.row[by])

    found: dict[tuple[str, ...], list[Entry]] = {}
    for entry in labelled:
        found.setdefault(tuple(str(entry.row[field]) for field in FIELDS if field != by), []).append(entry)
    for same in found.values():
        chosen = newest(best_study(same, precision, value), value)
        if len(chosen) == 1:  # no study has two circuits: take them from several, and note what differs
            chosen = newest(same, value)
        group = _group(by, chosen, len(same) - len(chosen))
        if len(group.labels) > 1:
            notes = differences(group.entries, by, sets=sets, shapes=shapes)
            yield replace(group, notes=(*group.notes, *notes))


def _group(by: str, entries: list[Entry], left_out: int) -> Group:
    notes = []
    if left_out:
        notes.append(f"{left_out} other circuits, older or with another seed or precision, are left out")
    if by == "condition" and entries[0].item.recipe.corruption.kind == UNATTACKED_TWIN:
        attacked = [e for e in entries if e.item.condition.kind != NATURAL]
        if len(attacked) < len(entries):
            notes.append("a mechanism study (unattacked-twin) compares attacks; natural circuits are left out")
        entries = attacked
    entries = sorted(entries, key=lambda e: _order(e, by))
    common = {f: str(entries[0].row[f]) for f in FIELDS if f != by} if entries else {}
    labels = tuple(str(e.row[by]) for e in entries)
    return Group(common, labels, tuple(entries), tuple(notes))


def _order(entry: Entry, by: str) -> tuple[Any, ...]:
    item = entry.item
    return (item.target_class.class_index, item.condition.kind != NATURAL, str(entry.row[by]), entry.id)
