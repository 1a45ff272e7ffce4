"""Discovery: one question, answered by one method; and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..circuits import ComputationGraph, EdgeScores, Form, MethodUse, Metric
from ..circuits.recipe import Direction, Scalar, digest
from ..errors import InputError
from ..evaluation import DEFAULT, Execution, ImagePairs, Journal, MeasuredPairs, measure
from ..models import ViT, runs_model
from .method import Found, Task
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
) -> Found:
    """Ask a method which edges carry the contrast between clean and corrupted images.

    Args:
        method: a key of `METHODS`, or `METHODS.resolve(key, params)`.
        form: `split`, `head`, `attention` or `block`.
        metric: a key of `METRICS`, or `METRICS.resolve(key, params)`.
        direction: `noising` (clean run, an edge corrupted) or `denoising` (corrupted run, an edge restored).
        selection: pairs for methods that choose a threshold on images of their own.
        seed: of everything random in the method.
        execution: its progress is in the method's unit.

    Returns:
        Scores, selected edges, or both; see `Found`. With token groups in the pairs, `scores.parts` has the scores
        summed over the tokens of each group; where every token is in one group, the parts sum to the scores.

    Raises:
        InputError: unknown names, parameters out of range, a method that means nothing for this metric or
            direction or has no scores per token, pairs or a metric that do not fit.

    Examples:
        >>> found = discover(model, pairs, METHODS.resolve("acdc", {"threshold": 0.05}), form="attention")
        >>> found.circuit.to_pandas()
    """
    measured = measure(model, pairs, metric)
    use = METHODS.resolve(method) if isinstance(method, str) else method
    kind = METHODS[use.kind]
    kind.check(form, direction, measured.metric.kind, dict(use.params))
    if pairs.token_groups is not None and not kind.tokens:
        raise InputError(
            f"token_groups: method {use.kind!r} has no scores per token; those that have: {_by_tokens()}; "
            "make the pairs without token_groups"
        )
    chosen_on = None if selection is None else measure(model, selection, metric)
    journal = execution.journal
    if isinstance(journal, Path | str):
        journal = Journal(Path(journal), _question(model, use, form, direction, seed, measured, chosen_on))
    task = Task(
        model=model,
        form=form,
        direction=direction,
        pairs=measured,
        selection=chosen_on,
        batch_size=execution.size(model, form),
        seed=seed,
        progress=execution.report,
        journal=journal or Journal(),
    )
    return kind.answer(task, use)


def _by_tokens() -> str:
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
    """Id of what is asked, for a journal."""
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
    """Score every edge of the model's graph: `discover` for methods that score; see there for the arguments.

    Args:
        params: of the method, by name.

    Returns:
        Scores per image and their mean, float32 (float64 for a float64 model). In units of the metric, positive where
        an edge raises it; where `signed` is False, magnitudes in these units (`grad-drop`, `atp-star`), shares of what
        a receiver reads (`flow-routes`), probabilities or masks in [0, 1] (`ugs`, `edge-pruning`), or places in an
        order, 1 the first (`iterative-pruning`, `iterative-expansion`); the last four without scores per image.
        `residual` and `residual_absolute`: how far off what the method conserves is (sums over edges out of `input`,
        across cuts, over all edges, out of each node), as a share of the metric's difference and in its units; above
        5 % a `CircuitStoreWarning`.

    Raises:
        InputError: as `discover`; a method that selects edges and does not score them.

    Examples:
        >>> scores = score_edges(model, pairs, "eap-ig", steps=10)
        >>> scores.top(0.05)
    """
    use = METHODS.resolve(method, params) if isinstance(method, str) else method
    found = discover(model, pairs, use, form=form, metric=metric, direction=direction, seed=seed, execution=execution)
    if found.scores is None:
        raise InputError(f"method {use.kind!r} selects edges and scores none; ask it by discover(…).circuit")
    return found.scores


@dataclass(frozen=True)
class Cost:
    """Passes of images through the model.

    Attributes:
        forwards: images run forward.
        backwards: images run back.
    """

    forwards: int | float
    backwards: int | float


def estimate_cost(graph: ComputationGraph, method_use: MethodUse, n_images: int) -> Cost:
    """What a method takes for `n_images` pairs on a graph.

    For `acdc` and `vi-cd` an upper bound, since what is tried depends on what was removed; with `steps = "auto"` what
    is common, 5 steps and then 10, since a question may need fewer, or more up to the limit. Not counted: the one
    forward a clean image that the metrics `kl` and `logit-over-rival` take for what they are held against, and runs of
    selection images.
    """
    method, params = METHODS[method_use.kind], dict(method_use.params)
    auto = AutoSteps.parse(params.get("steps"))
    tries = [params] if auto is None else [params | {"steps": steps} for steps in auto.common]
    forwards, backwards = (sum(each) for each in zip(*(method.passes(graph, **one) for one in tries), strict=True))
    return Cost(forwards * n_images, backwards * n_images)
