"""The conditions of an effect study side by side: what the model predicts, and what the circuits gain and lose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..circuits import NATURAL, Condition, Discovery
from ..images import CONDITIONS, role_of
from ..query import Study
from .changes import Changes
from .controls import conditions_of, gained_beyond
from .faithfulness import natural_gaps

_COUNTS = ("tried", "correct", "attacked_correct", "succeeded")
_CHANGED = ("gained", "lost", "floor", "swapped_floor", "swapped_high")


def side_by_side(study: Study, discoveries: Mapping[int, Discovery], changed: Sequence[Changes]) -> pd.DataFrame:
    """Return one row per condition, natural first.

    Args:
        study: the study.
        discoveries: discoveries by row, with their provenance, of the classes whose images are counted.
        changed: the edges that the circuits gain and lose, by condition.

    Returns:
        Columns `condition`; `role` (`natural`, `attack`, `control`, `distortion`; empty for an unknown kind); `images`
        (that were tried); `accuracy_natural, accuracy`; `predicted_as` (the target, or another class) and `success`,
        the share of the images classified correctly without the condition that are predicted so; `linf, l2` (medians of
        the norms of the perturbation); `gap, gap_circuit` (see `natural_gaps`, means over classes); `gained, lost,
        floor, swapped_floor, swapped_high` (edges, means over classes, see `Changes`); `beyond_controls` (see
        `gained_beyond`). Missing values are NaN.
    """
    by_condition: dict[str, list[Discovery]] = {condition: [] for condition in study.conditions}
    for row, discovery in discoveries.items():
        by_condition[study.circuits["condition"].iloc[row]].append(discovery)
    gaps = pd.DataFrame(natural_gaps(study.listed).groupby(study.listed["condition"]).mean())
    changes = {change.condition: change.by_class[list(_CHANGED)].mean() for change in changed}
    known = conditions_of(study)
    rows = [
        {
            "condition": study.short(text),
            "role": role(known[text]) if text in known else "",
            **_predictions(found, natural=text == NATURAL),
            **_norms(found),
            **gaps.loc[text],
            **changes.get(text, dict.fromkeys(_CHANGED, np.nan)),
            "beyond_controls": gained_beyond(study, text),
        }
        for text, found in by_condition.items()
    ]
    return pd.DataFrame(rows)


def role(condition: Condition) -> str:
    """Return the role of a condition; empty if its kind is not installed."""
    return role_of(condition) if condition.kind in CONDITIONS else ""


def _predictions(discoveries: Sequence[Discovery], *, natural: bool) -> dict[str, Any]:
    """Return the shares of images that the model classifies correctly, and as the target."""
    counts = dict.fromkeys(_COUNTS, 0)
    for tally in filter(None, (discovery.provenance.get("tally") for discovery in discoveries)):
        counts |= {name: counts[name] + (tally[name] or 0) for name in _COUNTS}
    right = counts["correct" if natural else "attacked_correct"]
    return {
        "images": counts["tried"],
        "accuracy_natural": _share(counts["correct"], counts["tried"]),
        "accuracy": _share(right, counts["tried"]),
        "predicted_as": "" if natural else _aim(discovery.item.contrast.target for discovery in discoveries),
        "success": np.nan if natural else _share(counts["succeeded"], counts["correct"]),
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else np.nan


def _aim(targets: Iterable[str | None]) -> str:
    return "the target" if any(targets) else "another class"


def _norms(discoveries: Sequence[Discovery]) -> dict[str, float]:
    images = [image for discovery in discoveries for image in discovery.provenance.get("images") or ()]
    values = {norm: [image[norm] for image in images if norm in image] for norm in ("linf", "l2")}
    return {norm: float(np.median(known)) if known else np.nan for norm, known in values.items()}


def hidden_gradients(study: Study, discoveries: Iterable[Discovery]) -> Iterator[str]:
    """Yield the signs that the model hides its gradients from the attacks of a study."""
    for discovery in discoveries:
        signs = (discovery.provenance.get("attack") or {}).get("suspicious")
        if signs:
            item = discovery.item
            yield f"{item.target_class.name}, {study.short(item.condition.text)}: {', '.join(signs)}"
