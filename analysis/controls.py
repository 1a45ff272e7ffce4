"""The edges that an attack adds beyond those of its controls, which are harmless conditions of the same size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool

from ..circuits import NATURAL, Condition
from ..images import CONDITIONS, is_control
from ..query import Study


@dataclass(frozen=True, eq=False)
class Beyond:
    """The edges that circuits of an effect study gain under an attack, and those that they gain under its control.

    Attributes:
        attack, control: the short names of the conditions.
        by_class: columns `class, gained, gained_control, gained_both`: edges gained under the attack, under the
            control, under both.
        by_edge: columns `edge, only_attack, only_control`: the numbers of classes that gain the edge only under the
            attack, and only under the control. Edges that most classes gain only under the attack are first.
    """

    attack: str
    control: str
    by_class: pd.DataFrame
    by_edge: pd.DataFrame

    @property
    def only_attack(self) -> float:
        """Mean over classes of the edges gained only under the attack."""
        return float(np.mean(self.by_class["gained"] - self.by_class["gained_both"]))

    @property
    def only_control(self) -> float:
        """Mean over classes of the edges gained only under the control."""
        return float(np.mean(self.by_class["gained_control"] - self.by_class["gained_both"]))


def beyond_controls(study: Study) -> Iterator[Beyond]:
    """Yield each attack with each of its controls, if a class has circuits under both and under natural."""
    for attack in study.other_conditions:
        for control in controls_of(study, attack):
            names, rows = study.aligned(NATURAL, attack, control)
            if names:
                was, *now = study.members[rows]
                gained = [members & ~was for members in now]
                labels = study.short(attack), study.short(control)
                yield Beyond(*labels, _by_class(names, *gained), _by_edge(study.universe.edge_names, *gained))


def controls_of(study: Study, attack: str) -> list[str]:
    """Return the conditions of a study that are controls of an attack, as canonical texts."""
    known = conditions_of(study)
    return [text for text, c in known.items() if c.kind in CONDITIONS and is_control(c, known.get(attack, c))]


def conditions_of(study: Study) -> dict[str, Condition]:
    """Return the conditions of the circuits without a flag, by canonical text."""
    return {entry.item.condition.text: entry.item.condition for entry in study.entries}


def gained_beyond(study: Study, attack: str) -> float:
    """Return the edges gained under an attack and under none of its controls, as mean over classes.

    NaN if no class has circuits under all of these conditions, or the attack has no control.
    """
    controls = controls_of(study, attack)
    names, rows = study.aligned(NATURAL, attack, *controls)
    if not names or not controls:
        return float("nan")
    was, now, *others = study.members[rows]
    return float((now & ~was & ~np.any(others, axis=0)).sum(axis=1).mean())


def _by_class(
    names: Sequence[str], attack: Bool[np.ndarray, "class edge"], control: Bool[np.ndarray, "class edge"]
) -> pd.DataFrame:
    gained = {"gained": attack, "gained_control": control, "gained_both": attack & control}
    return pd.DataFrame({"class": names, **{name: edges.sum(axis=1) for name, edges in gained.items()}})


def _by_edge(
    names: Sequence[str], attack: Bool[np.ndarray, "class edge"], control: Bool[np.ndarray, "class edge"]
) -> pd.DataFrame:
    only_attack, only_control = (attack & ~control).sum(axis=0), (control & ~attack).sum(axis=0)
    frame = pd.DataFrame({"edge": names, "only_attack": only_attack, "only_control": only_control})
    order = np.lexsort([only_control, -only_attack])
    return frame.iloc[order[(only_attack + only_control)[order] > 0]].reset_index(drop=True)
