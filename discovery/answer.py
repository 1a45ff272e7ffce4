"""Discovery: answering one question with one method, and its cost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..circuits import ComputationGraph, EdgeScores, Form, MethodUse, Metric
from ..circuits.recipe import Direction, Scalar, digest
from ..errors import InputError
from ..evaluation import DEFAULT, Execution, ImagePairs, Journal, MeasuredPairs, measure
from ..models import ViT, runs_model
from .method import MethodOutput, Task
from .registry import METHODS
from .steps import AutoSteps


@runs_model
def discover(
    model: ViT,
    pairs: ImagePairs,
    method: str | MethodUse = "eap-ig",
    *,
    form: Form = "split",
    metric: str | Metric = "logit",
    direction: Direction = "noising",
    selection: ImagePairs | None = None,
    seed: int = 0,
    execution: Execution = DEFAULT,
) -> MethodOutput:
    """Find the edges that carry the contrast between clean and corrupted images.

    Args:
        method: a key of `METHODS`, or `METHODS.resolve(key, params)`.
        form: `split`, `head`, `attention` or `block`.
        metric: a key of `METRICS`, or `METRICS.resolve(key, params)`.
        direction: `noising` (clean run, an edge corrupted) or `denoising` (corrupted run, an edge restored).
        selection: pairs for methods that choose a threshold on separate images.
        seed: seed of all random choices of the method.
        execution: batch size, progress and journal; progress is in the method's unit.

    Returns:
        Scores, selected edges, or both; see `MethodOutput`. With token groups in the pairs, `scores.parts` has the
        scores summed over the tokens of each group; if every token is in one group, the parts sum to the scores.

    Raises:
        InputError: an unknown name, a parameter out of range, a method that is meaningless for this metric or
            direction, has no scores per token or needs corrupted images that the pairs do not have, or pairs or a
            metric that do not fit.

    Examples:
        >>> output = discover(model, pairs, METHODS.resolve("acdc", {"threshold": 0.05}), form="attention")
        >>> output.circuit.to_pandas().columns.tolist()
        ['edge', 'sender', 'receiver', 'port', 'rank', 'score', 'std']
    """
    measured = measure(model, pairs, metric)
    use = METHODS.resolve(method) if isinstance(method, str) else method
    kind = METHODS[use.kind]
    kind.check(form, direction, measured.metric.kind, dict(use.params))
    if not pairs.has_images:
        kind.check_without_images(direction)
    if pairs.token_groups is not None and not kind.tokens:
        raise InputError(
            f"token_groups: method {use.kind!r} has no scores per token; methods that have: {_methods_by_token()}; "
            "create the pairs without token_groups"
        )
    measured_selection = None if selection is None else measure(model, selection, metric)
    journal = execution.journal
    if isinstance(journal, Path | str):
        question = _question(model, use, form, direction, seed, measured, measured_selection)
        journal = Journal(Path(journal), question)
    task = Task(
        model=model,
        form=form,
        direction=direction,
        pairs=measured,
        selection=measured_selection,
        batch_size=execution.size(model, form),
        seed=seed,
        progress=execution.report,
        journal=journal or Journal(),
    )
    return kind.answer(task, use)


def _methods_by_token() -> str:
    return ", ".join(key for key, method in METHODS.items() if method.tokens)


def _question(
    model: ViT,
    use: MethodUse,
    form: str,
    direction: str,
    seed: int,
    pairs: MeasuredPairs,
    selection: MeasuredPairs | None,
) -> str:
    """Return the id of the question, for its journal."""
    images = [None if p is None else p.digest for p in (pairs, selection)]
    return digest([model.fingerprint, str(model.dtype), use.to_dict(), form, direction, seed, images])


def score_edges(
    model: ViT,
    pairs: ImagePairs,
    method: str | MethodUse = "eap-ig",
    *,
    form: Form = "split",
    metric: str | Metric = "logit",
    direction: Direction = "noising",
    seed: int = 0,
    execution: Execution = DEFAULT,
    **params: Scalar,
) -> EdgeScores:
    """Score every edge of the model's graph with a method that gives scores; arguments are those of `discover`.

    Args:
        params: parameters of the method, by name.

    Returns:
        Scores per image and their mean, float32 (float64 for a float64 model). Scores are in units of the metric,
        positive if an edge raises it. If `signed` is False, they are magnitudes in these units (`grad-drop`,
        `atp-star`), shares of what a receiver reads (`flow-routes`), probabilities or masks in [0, 1] (`ugs`,
        `edge-pruning`), or positions in an order, 1 for the first edge (`iterative-pruning`, `iterative-expansion`);
        the last four have no scores per image. `residual` and `residual_absolute` give the deviation from the method's
        conservation law (sums over edges out of `input`, across cuts, over all edges, or out of each node), as a share
        of the metric's difference and in its units. A residual above 5 % issues a `CircuitStoreWarning`.

    Raises:
        InputError: as for `discover`, or a method that selects edges without scoring them.

    Examples:
        >>> scores = score_edges(model, pairs, "eap-ig", steps=10)
        >>> scores.top(0.05)
        Circuit(...)
    """
    use = METHODS.resolve(method, params) if isinstance(method, str) else method
    output = discover(model, pairs, use, form=form, metric=metric, direction=direction, seed=seed, execution=execution)
    if output.scores is None:
        raise InputError(f"method {use.kind!r} selects edges without scoring them; use discover(…).circuit")
    return output.scores


@dataclass(frozen=True)
class Cost:
    """Number of images passed through the model.

    Attributes:
        forwards: forward passes.
        backwards: backward passes.
    """

    forwards: int | float
    backwards: int | float


def estimate_cost(graph: ComputationGraph, method_use: MethodUse, n_images: int) -> Cost:
    """Estimate the cost of a method for `n_images` pairs on a graph.

    An upper bound for `acdc` and `vi-cd`, whose runs depend on what was removed. With `steps = "auto"`, the common case
    of 5 and then 10 steps; a question may need fewer, or more up to the limit. Not included: one forward pass per clean
    image for the metrics `kl` and `logit-over-rival`, and runs of selection images.

    Examples:
        >>> estimate_cost(graph, METHODS.resolve("eap-ig", {"steps": 5}), n_images=8)
        Cost(forwards=56, backwards=40)
    """
    method, params = METHODS[method_use.kind], dict(method_use.params)
    auto = AutoSteps.parse(params.get("steps"))
    tries = [params] if auto is None else [params | {"steps": steps} for steps in auto.common]
    forwards, backwards = (sum(each) for each in zip(*(method.passes(graph, **one) for one in tries), strict=True))
    return Cost(forwards * n_images, backwards * n_images)
