"""Choice of a defence on selection images: the most accurate one under the attack, at a bounded clean cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from ..errors import InputError
from ..evaluation.interventions import Edit
from ..models import ViT
from .sample import Sample, answers


@dataclass(frozen=True, eq=False)
class Candidate:
    """A defence that can be chosen.

    Attributes:
        edit: what it does to the model; None for nothing.
        settings: how it differs from the other candidates, such as its number of edges and its strength.
    """

    edit: Edit | None
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Chosen:
    """The chosen defence.

    Attributes:
        candidate: the chosen candidate.
        sweep: a row per candidate: its settings, `clean` and `attacked` (images that it classifies correctly),
            `allowed` (whether its clean loss is within the bound), `chosen`.
        images: number of selection images, unattacked and attacked.
    """

    candidate: Candidate
    sweep: pd.DataFrame
    images: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Hits:
    """Which selection images are classified correctly.

    Attributes:
        clean: hits on unattacked images.
        attacked: hits on attacked images.
    """

    clean: Bool[np.ndarray, "clean"]
    attacked: Bool[np.ndarray, "attacked"]

    @classmethod
    def of(cls, model: ViT, edit: Edit | None, clean: Sample, attacked: Sample) -> Hits:
        """Run a model with an edit on the selection images."""
        return cls(*(answers(model, edit, sample).hits(sample) for sample in (clean, attacked)))


def choose(
    model: ViT,
    candidates: Sequence[Candidate],
    clean: Sample,
    attacked: Sample,
    *,
    max_clean_loss: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Chosen:
    """Choose among candidates on selection images.

    Among the candidates that lose at most `max_clean_loss` of the unattacked images that the model classifies
    correctly, net of those that they gain, the one with the most correct attacked images; of equal ones the first. If
    none is within the bound, nothing is done to the model.

    Args:
        model: the model.
        candidates: the candidates, the cheapest first.
        clean: unattacked selection images.
        attacked: attacked selection images.
        max_clean_loss: number of unattacked images that may be lost.
        progress: called with the number of candidates that are done, and of all.

    Raises:
        InputError: no candidates, or a negative bound.
    """
    if not candidates:
        raise InputError("candidates: expected at least one, got none")
    if max_clean_loss < 0:
        raise InputError(f"max_clean_loss: expected a number of images of at least 0, got {max_clean_loss}")
    plain = Hits.of(model, None, clean, attacked)
    rows = []
    for i, candidate in enumerate(candidates):
        hits = Hits.of(model, candidate.edit, clean, attacked)
        rows.append({**candidate.settings, "clean": int(hits.clean.sum()), "attacked": int(hits.attacked.sum())})
        if progress is not None:
            progress(i + 1, len(candidates))
    sweep = pd.DataFrame(rows)
    sweep["allowed"] = sweep["clean"] >= int(plain.clean.sum()) - max_clean_loss
    chosen = best(sweep)
    sweep["chosen"] = [i == chosen for i in range(len(sweep))]
    nothing = Candidate(None, dict.fromkeys(candidates[0].settings))
    return Chosen(nothing if chosen is None else candidates[chosen], sweep, (len(clean), len(attacked)))


def best(sweep: pd.DataFrame) -> int | None:
    """Return the position of the allowed candidate with the most correct attacked images; None if none is allowed.

    Examples:
        >>> best(pd.DataFrame({"attacked": [9, 5, 5], "allowed": [False, True, True]}))
        1
    """
    allowed = np.flatnonzero(sweep["allowed"].to_numpy(bool))
    if not len(allowed):
        return None
    return int(allowed[np.argmax(sweep["attacked"].to_numpy()[allowed])])
