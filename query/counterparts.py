"""Pairs the circuits of a base model with those of other models that differ only in the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import InputError
from .entries import Entry
from .groups import Group, groups
from .names import Models


@dataclass(frozen=True, eq=False)
class Counterparts:
    """Two circuits that differ only in the model.

    Attributes:
        common: the values of the other fields (`groups.FIELDS`).
        base: the circuit of the base model.
        other: the circuit of the other model.
    """

    common: Mapping[str, str]
    base: Entry
    other: Entry

    @property
    def question(self) -> tuple[str, ...]:
        """The fields in common, which are the same for all models."""
        return tuple(self.common.values())

    @property
    def same_graph(self) -> bool:
        """Whether the circuits have the same edges to choose from."""
        return self.base.universe == self.other.universe


def pair_with_base(
    loaded: Sequence[Entry], models: Models, base: str
) -> tuple[dict[str, list[Counterparts]], tuple[str, ...]]:
    """Return the pairs of each other model, by its id, and notes on what differs otherwise.

    Args:
        loaded: the circuits of all models.
        models: their names.
        base: the id of the base model.

    Raises:
        InputError: the base model has no circuit, or no other model has one that differs only in the model.
    """
    by_model: dict[str, list[Entry]] = {}
    for entry in loaded:
        by_model.setdefault(entry.item.model.id, []).append(entry)
    own = by_model.pop(base, [])
    if not own:
        raise InputError(f"nothing to compare: no circuit of the base model {models.label(base)} counts")
    found, notes = {}, []
    for id in sorted(by_model, key=models.label):
        same = list(groups([*own, *by_model[id]], "model", sets=True, shapes=True))
        found[id] = [_pair(group, base) for group in same]
        labels = models.label(base), models.label(id)
        notes += [*_other_classes(own, by_model[id], labels, bool(same)), *(n for group in same for n in group.notes)]
    notes = tuple(dict.fromkeys(notes))
    if not any(found.values()):
        reasons = notes or (f"the only model with such circuits is {models.label(base)}",)
        raise InputError(f"nothing to compare: {'; '.join(reasons)}")
    return {id: pairs for id, pairs in found.items() if pairs}, notes


def _pair(group: Group, base: str) -> Counterparts:
    first, second = sorted(group.entries, key=lambda entry: entry.item.model.id != base)
    return Counterparts(group.common, first, second)


def _other_classes(
    own: Sequence[Entry], others: Sequence[Entry], labels: tuple[str, str], paired: bool
) -> Iterator[str]:
    """Yield notes on classes that only one of two models has, and on classifiers with other sets of labels."""
    base, other = labels
    classes = [dict.fromkeys(e.item.target_class.name for e in entries) for entries in (own, others)]
    apart = [[name for name in classes[i] if name not in classes[1 - i]] for i in (0, 1)]
    if classes[0].keys().isdisjoint(classes[1]):
        yield f"{base} and {other} have no class in common: {_list(classes[0])} against {_list(classes[1])}"
    elif not paired:
        yield f"{base} and {other} have no circuits that differ only in the model; the query `studies` lists them"
    else:
        for model, names in zip(labels, apart, strict=True):
            if names:
                yield f"{base} and {other}: only {model} has circuits of {_list(names)}, which are left out"
    counts = own[0].item.model.n_classes, others[0].item.model.n_classes
    if counts[0] != counts[1]:
        yield (
            f"{base} and {other} have other sets of labels, of {counts[0]} and {counts[1]} classes: circuits are "
            "compared by the name of their class, and metrics of all logits have another meaning"
        )


def _list(names: Sequence[str] | Mapping[str, None]) -> str:
    shown = list(names)[:5]
    return ", ".join(shown) + (" …" if len(names) > len(shown) else "")
