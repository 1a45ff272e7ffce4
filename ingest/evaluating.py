"""Evaluation of circuits on report images, and the records that the store keeps of circuits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from ..circuits import (
    ROLES,
    Circuit,
    CircuitRecord,
    Discovery,
    EdgeScores,
    Evaluation,
    Extraction,
    Response,
    Role,
    Trial,
    Universe,
    bootstrap_frequency,
    random_circuit,
)
from ..discovery import EXTRACTIONS, is_absolute
from ..evaluation import DEFAULT, Execution, ImagePairs, Outcome, evaluation_of, outcomes
from ..models import ViT
from .provenance import versions

RANDOM_CIRCUITS = 10
"""Number of random connected circuits of the same size that are evaluated with every circuit."""


@dataclass(frozen=True)
class Evaluated:
    """The evaluation of a circuit on report images.

    Attributes:
        evaluation: the figures.
        responses: the values per image that they were computed from; empty for an evaluation by the user.
    """

    evaluation: Evaluation
    responses: Mapping[Role, Response] = field(default_factory=dict)


def circuit_record(
    discovery: Discovery, extraction: Extraction, circuit: Circuit, outcome: Evaluated | None
) -> CircuitRecord:
    """Return the stored form of a circuit of a discovery."""
    item, scores = discovery.item, discovery.scores
    return CircuitRecord(
        item=item,
        extraction=extraction,
        circuit=replace(circuit, score=None, std=None) if scores is None else circuit.scored(scores),
        n_images=len(discovery.images),
        evaluation=outcome and outcome.evaluation,
        frequency=scores and _frequency(scores, extraction, circuit, item.recipe.seed),
        full_in=scores and scores.inflow,
        full_out=scores and scores.outflow,
        notes=(*_warnings(discovery), *_shortfall(circuit)),
        responses={role: response.id for role, response in outcome.responses.items()} if outcome else {},
    )


def evaluate_circuit(
    model: ViT,
    pairs: ImagePairs,
    circuit: Circuit,
    trials: Mapping[Role, Trial],
    *,
    known: Mapping[str, Response] | None = None,
    execution: Execution = DEFAULT,
) -> Evaluated:
    """Evaluate a circuit, and random connected circuits of the same size, on report images.

    Args:
        model: the model.
        pairs: the report images.
        circuit: the circuit.
        trials: the runs to record, as returned by `trials_of`.
        known: stored responses by id, which are reused, so that every evaluation follows from stored responses.
        execution: batch size and progress.

    Raises:
        InputError: pairs or circuit do not fit the model.
    """
    metric, seed = trials["full"].metric, trials["full"].seed
    randoms = random_circuits(circuit.universe, circuit.n_edges, seed) if circuit.n_edges else ()
    measured = outcomes(model, pairs, [circuit, *randoms], metric=metric, execution=execution)
    responses: dict[Role, Response] = {}
    for role, outcome in zip(ROLES, measured, strict=False):
        trial = trials[role]
        stored = known.get(trial.id) if known else None
        responses[role] = stored or outcome.response(trial, pairs, versions(model))
    evaluation = evaluation_of(*(Outcome.of(responses[role]) for role in ROLES))
    random = tuple(float(outcome.metric.mean()) for outcome in measured[len(ROLES) :])
    return Evaluated(replace(evaluation, metric_random=random), responses)


@lru_cache(maxsize=64)
def random_circuits(universe: Universe, n_edges: int, seed: int) -> tuple[Circuit, ...]:
    """Return the random circuits of a size. Cached: circuits of classes and conditions have them in common.

    Raises:
        InputError: `n_edges` is not between 1 and the number of edges.
    """
    return tuple(random_circuit(universe, n_edges, seed=s) for s in range(seed, seed + RANDOM_CIRCUITS))


def _frequency(
    scores: EdgeScores, extraction: Extraction, circuit: Circuit, seed: int
) -> Float[np.ndarray, "edge"] | None:
    """Return the bootstrap frequency of each edge; None if edges have no order or scores per image were not kept."""
    size = circuit.size_requested
    ordered = extraction.kind in EXTRACTIONS and EXTRACTIONS[extraction.kind].take is not None
    if scores.per_image is None or scores.shares or not ordered or not size:
        return None
    return bootstrap_frequency(scores.per_image, size, absolute=is_absolute(extraction), seed=seed)


def _warnings(discovery: Discovery) -> Iterator[str]:
    for kind in ("image_warnings", "warnings"):
        yield from discovery.provenance.get(kind, ())


def _shortfall(circuit: Circuit) -> Iterator[str]:
    """Yield a note if the circuit is the whole graph, with the reason."""
    if circuit.n_edges == circuit.universe.n_edges:
        why = circuit.extraction if "all edges" in circuit.extraction else f"{circuit.extraction} leaves nothing out"
        yield f"the circuit is the whole graph: {why}"
