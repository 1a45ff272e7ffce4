"""Directions and pooled circuits as fits, which a store holds, and back."""

from __future__ import annotations

import numpy as np

from ..circuits import EdgeScores, Fit, FitUse, ModelInfo
from ..errors import InputError
from ..evaluation.interventions import Directions
from ..models import ViT


def directions_fit(directions: Directions, model: ModelInfo, dataset: str, use: FitUse) -> Fit:
    """Return directions as a fit.

    Args:
        directions: the directions.
        model: the model that they were fitted on.
        dataset: name of the images' data set.
        use: how they were fitted.
    """
    arrays = {name: getattr(directions, name) for name in ("vectors", "offsets", "coherence")}
    facts = {
        "form": directions.graph.form,
        "offset": directions.offset,
        "n": directions.n,
        "source": directions.source,
        "senders": list(directions.graph.senders),
    }
    return Fit("directions", use, model, dataset, directions.images, arrays, facts)


def fitted_directions(fit: Fit, model: ViT) -> Directions:
    """Return the directions of a fit.

    Raises:
        InputError: it is of another model, or not of directions.
    """
    _check(fit, "directions", model)
    facts = fit.facts
    rest = {name: np.array(fit.arrays[name]) for name in ("vectors", "offsets", "coherence")}
    return Directions(
        graph=model.graph(facts["form"]),
        model=fit.model.id,
        offset=facts["offset"],
        n=facts["n"],
        images=fit.images,
        source=facts["source"],
        **rest,
    )


def scores_fit(scores: EdgeScores, model: ModelInfo, dataset: str, images: tuple[str, ...], use: FitUse) -> Fit:
    """Return the mean of scores that are pooled over classes as a fit."""
    facts = {"form": scores.graph.form, "additive": scores.additive, "signed": scores.signed}
    return Fit("circuit", use, model, dataset, images, {"mean": scores.mean}, facts)


def fitted_scores(fit: Fit, model: ViT) -> EdgeScores:
    """Return the scores of a fit.

    Raises:
        InputError: it is of another model, or not of scores.
    """
    _check(fit, "circuit", model)
    facts = fit.facts
    mean = np.array(fit.arrays["mean"])
    return EdgeScores(model.graph(facts["form"]), mean, additive=facts["additive"], signed=facts["signed"])


def _check(fit: Fit, thing: str, model: ViT) -> None:
    if fit.thing != thing:
        raise InputError(f"fit {fit.id[:12]}: expected {thing}, got {fit.thing}")
    if fit.model.id != model.fingerprint:
        raise InputError(
            f"fit {fit.id[:12]}: it is of the model {fit.model.name} ({fit.model.id[:12]}), expected one of "
            f"{model.name} ({model.fingerprint[:12]}); fit it again on this model"
        )
