"""Discovery: one question, answered by one method; and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ..circuits import ComputationGraph, EdgeScores, Form, MethodUse
from ..circuits.recipe import Direction, Scalar, digest
from ..errors import InputError
from ..models import ViT, runs_model
from .batches import Indices, Pairs
from .batches import batch_size as choose_batch_size
from .journal import Journal
from .method import Found, Task
from .metrics import get_metric
from .registry import METHODS, get_method, resolve_method
from .steps import AutoSteps
from .tokens import Masks


class Images(NamedTuple):
    """Image pairs of one split, as `discover` takes them for the selection images.

    Attributes:
        clean: normalised images `[image, channel, height, width]`.
        corrupted: what each is contrasted with.
        labels: true class per image.
        targets: target class per image, for `logit-diff`.
    """

    clean: Tensor
    corrupted: Tensor
    labels: Indices
    targets: Indices | None = None


@runs_model
def discover(
    model: ViT,
    clean: Tensor,
    corrupted: Tensor,
    labels: Indices,
    *,
    targets: Indices | None = None,
    method: str = "eap-ig",
    form: Form = "split",
    metric: str = "logit",
    direction: Direction = "noising",
    selection: Images | None = None,
    token_groups: Masks | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    journal: Journal | Path | str | None = None,
    **params: Scalar,
) -> Found:
    """Ask a method which edges carry the contrast between clean and corrupted images.

    Args:
        clean: normalised images `[image, channel, height, width]`.
        corrupted: what each is contrasted with.
        labels: true class per image.
        targets: target class per image, for `logit-diff`.
        method: a key of `METHODS`; its parameters follow by name.
        form: `split`, `head`, `attention` or `block`.
        metric: a key of `METRICS`.
        direction: `noising` (clean run, an edge corrupted) or `denoising` (corrupted run, an edge restored).
        selection: images for methods that choose a threshold on images of their own.
        token_groups: boolean masks `[token]` or `[image, token]` by name, see `token_groups`: for each, the scores
            are also summed over its tokens alone, at no further pass. They are in `scores.parts`; where every token
            is in one group, they sum to the scores.
        seed: of everything random in the method.
        batch_size: images at a time; by default what fits a fixed budget.
        progress: called with how much is done and of how much, in the method's unit.
        journal: a file in which a long method keeps what it has found; the same call goes on from there, or, where the
            file is damaged, anew, which is logged.

    Returns:
        Scores, selected edges, or both; see `Found`.

    Raises:
        InputError: unknown names, parameters out of range, a method that means nothing for this metric or
            direction or has no scores per token, images, classes or masks that do not fit.
    """
    use, found_by, kind = resolve_method(method, params), get_method(method), get_metric(metric)
    found_by.check(form, direction, metric, dict(use.params))
    if token_groups is not None and not found_by.tokens:
        raise InputError(f"token_groups: method {method!r} has no scores per token; those that have: {_by_tokens()}")
    pairs = Pairs.checked(model, clean, corrupted, labels, targets, kind, token_groups)
    chosen_on = selection and Pairs.checked(model, *selection, metric=kind)
    if isinstance(journal, Path | str):
        journal = Journal(Path(journal), _question(model, use, form, direction, seed, pairs, chosen_on))
    task = Task(
        model=model,
        form=form,
        direction=direction,
        pairs=pairs,
        selection=chosen_on,
        batch_size=choose_batch_size(model, form, batch_size),
        seed=seed,
        progress=progress or (lambda done, total: None),
        journal=journal or Journal(),
    )
    return found_by.answer(task, use)


def _by_tokens() -> str:
    return ", ".join(key for key, method in METHODS.items() if method.tokens)


def _question(
    model: ViT, use: MethodUse, form: str, direction: str, seed: int, pairs: Pairs, selection: Pairs | None
) -> str:
    """Id of what is asked, for a journal."""
    images = [None if p is None else p.digest for p in (pairs, selection)]
    return digest([model.fingerprint, str(model.dtype), use.to_dict(), form, direction, seed, images])


def score_edges(
    model: ViT,
    clean: Tensor,
    corrupted: Tensor,
    labels: Indices,
    *,
    targets: Indices | None = None,
    method: str = "eap-ig",
    form: Form = "split",
    metric: str = "logit",
    direction: Direction = "noising",
    token_groups: Masks | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **params: Scalar,
) -> EdgeScores:
    """Score every edge of the model's graph: `discover` for methods that score; see there for the arguments.

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
    """
    found = discover(
        model,
        clean,
        corrupted,
        labels,
        targets=targets,
        method=method,
        form=form,
        metric=metric,
        direction=direction,
        selection=None,
        token_groups=token_groups,
        seed=seed,
        batch_size=batch_size,
        progress=progress,
        journal=None,
        **params,
    )
    if found.scores is None:
        raise InputError(f"method {method!r} selects edges and scores none; ask it by discover(…).circuit")
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
    method, params = get_method(method_use.kind), dict(method_use.params)
    auto = AutoSteps.parse(params.get("steps"))
    tries = [params] if auto is None else [params | {"steps": steps} for steps in auto.common]
    forwards, backwards = (sum(each) for each in zip(*(method.passes(graph, **one) for one in tries), strict=True))
    return Cost(forwards * n_images, backwards * n_images)
