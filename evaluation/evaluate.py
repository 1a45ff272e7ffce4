"""Evaluation of circuits: metric and accuracy when all edges outside the circuit carry the corrupted value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..circuits import Circuit, Evaluation, Metric, Response, Trial
from ..errors import InputError
from ..models import PatchedRuns, ViT, runs_model
from .execution import DEFAULT, Execution
from .measured import MeasuredPairs, measure
from .pairs import ImagePairs
from .reference import reference

MIN_STANDARD_ERRORS = 3.0


class Outcome(NamedTuple):
    """Metric, hits (1 or 0) and top class per image."""

    metric: Float[Tensor, "image"]
    hit: Float[Tensor, "image"]
    predicted: Int[Tensor, "image"]

    @classmethod
    def of(cls, response: Response) -> Outcome:
        """The outcome that a response records."""
        arrays = (response.metric, response.hit.astype(np.float64), response.predicted.astype(np.int64))
        return cls(*(torch.from_numpy(np.array(values)) for values in arrays))

    def response(self, trial: Trial, pairs: ImagePairs, provenance: Mapping[str, Any]) -> Response:
        """The response that records the outcome.

        Args:
            trial: what was run.
            pairs: the images that it was run on, with their hashes.
            provenance: what it was run with.
        """
        metric, hit, predicted = (values.numpy() for values in self)
        true = pairs.labels.cpu().numpy().astype(np.int32)
        return Response(trial, pairs.hashes, metric, predicted.astype(np.int32), true, hit > 0, provenance)


def evaluate(
    model: ViT, pairs: ImagePairs, circuit: Circuit, *, metric: str | Metric = "logit", execution: Execution = DEFAULT
) -> Evaluation:
    """Evaluate one circuit on image pairs; see `evaluate_many`.

    Examples:
        >>> evaluate(model, pairs, scores.top(0.05)).faithfulness
        0...
    """
    return evaluate_many(model, pairs, [circuit], metric=metric, execution=execution)[0]


def evaluate_many(
    model: ViT,
    pairs: ImagePairs,
    circuits: Sequence[Circuit],
    *,
    metric: str | Metric = "logit",
    execution: Execution = DEFAULT,
) -> list[Evaluation]:
    """Evaluate circuits on the same images; the full and the empty run are shared.

    Edges outside a circuit carry the value of the corrupted run. `faithfulness` is (circuit − empty) / (full − empty)
    of the metric. `retention` is the same for the accuracy, the share of images whose top class is the one that the
    metric raises. Either is None, with the reason, if its gap is not positive or is under three standard errors of the
    paired differences over images.

    Progress counts runs of all images, including the full and the empty run.

    Raises:
        InputError: a circuit of another graph than the model's, or pairs or a metric that do not fit.

    Examples:
        >>> [e.metric_circuit for e in evaluate_many(model, pairs, [scores.top(0.05), scores.top(0.1)])]
        [..., ...]
    """
    full, empty, *alone = outcomes(model, pairs, circuits, metric=metric, execution=execution)
    return [evaluation_of(full, empty, outcome) for outcome in alone]


@runs_model
def outcomes(
    model: ViT,
    pairs: ImagePairs,
    circuits: Sequence[Circuit],
    *,
    metric: str | Metric = "logit",
    execution: Execution = DEFAULT,
) -> list[Outcome]:
    """Return metric and hits per image of the full model, of the empty circuit, then of each circuit.

    Arguments and errors are those of `evaluate_many`.

    Examples:
        >>> full, empty, of_circuit = outcomes(model, pairs, [circuit])
        >>> of_circuit.hit.mean() - empty.hit.mean()
        tensor(...)
    """
    for circuit in circuits:
        check_graph(model, circuit)
    measured = measure(model, pairs, metric)
    form = circuits[0].graph.form if circuits else "split"
    done, parts = 0, list[list[Outcome]]()
    for batch in measured.batches(execution.size(model, form)):
        parts.append([])
        for outcome in _outcomes(model, circuits, batch):
            parts[-1].append(outcome)
            done += len(batch)
            execution.report(done // len(pairs), len(circuits) + 2)
    return [Outcome(*map(torch.cat, zip(*runs, strict=True))) for runs in zip(*parts, strict=True)]


def check_graph(model: ViT, circuit: Circuit) -> None:
    """Check that a circuit is one of the model's graph.

    Raises:
        InputError: it is not.
    """
    expected = model.graph(circuit.graph.form)
    if circuit.graph != expected:
        raise InputError(
            f"circuit: its graph has {circuit.graph.n_layers} layers of {circuit.graph.n_heads} heads, but "
            f"{model.name} has {expected.n_layers} layers of {expected.n_heads} heads"
        )


def _outcomes(model: ViT, circuits: Sequence[Circuit], batch: MeasuredPairs) -> Iterator[Outcome]:
    """Yield the outcomes of the full model, of the empty circuit, then of each circuit."""

    def outcome(logits: Tensor) -> Outcome:
        return Outcome(batch.values(logits).double().cpu(), batch.hits(logits), logits.argmax(dim=1).cpu())

    corrupted = reference(model, batch)
    runs = PatchedRuns(model, model.embed(batch.clean), corrupted)
    yield outcome(model.logits(batch.clean))
    yield outcome(corrupted.logits)
    for circuit in circuits:
        yield outcome(runs.logits(circuit.graph, circuit.members))


def evaluation_of(full: Outcome, empty: Outcome, circuit: Outcome) -> Evaluation:
    """Return the evaluation that follows from the outcomes of the model, of the empty circuit and of a circuit.

    Examples:
        >>> full, empty, own = outcomes(model, pairs, [circuit])
        >>> evaluation_of(full, empty, own) == evaluate(model, pairs, circuit)
        True
    """
    reasons = {}
    ratios: dict[str, float | None] = {}
    for name, kind in (("faithfulness", "metric"), ("retention", "hit")):
        values = [getattr(outcome, kind) for outcome in (full, empty, circuit)]
        reason = undefined_reason(values[0] - values[1])
        if reason is not None:
            reasons[name] = reason
        gap = values[0].mean() - values[1].mean()
        ratios[name] = None if reason else float((values[2].mean() - values[1].mean()) / gap)
    return Evaluation(
        n=len(full.metric),
        metric_full=float(full.metric.mean()),
        metric_empty=float(empty.metric.mean()),
        metric_circuit=float(circuit.metric.mean()),
        faithfulness=ratios["faithfulness"],
        accuracy_full=float(full.hit.mean()),
        accuracy_empty=float(empty.hit.mean()),
        accuracy_circuit=float(circuit.hit.mean()),
        retention=ratios["retention"],
        reasons=reasons,
    )


def undefined_reason(differences: Float[Tensor, "image"]) -> str | None:
    """Return why a share of the mean of paired differences (full − empty) is undefined; None if it is defined."""
    gap = float(differences.mean())
    if not gap > 0:
        return f"the full model is not above the empty circuit (gap {gap:.4g})"
    if len(differences) < 2:
        return "one image gives no standard error"
    error = float(differences.std() / len(differences) ** 0.5)
    if gap < MIN_STANDARD_ERRORS * error:
        return f"the gap {gap:.4g} between full and empty is under 3 standard errors ({error:.4g} each)"
    return None
