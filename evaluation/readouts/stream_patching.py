"""Activation patching of the residual stream: at each point, at all tokens or token by token.

noising: s(p, t) = m(x) − m(x with the stream at point p and token t of x'), what the metric loses.
denoising: s(p, t) = m(x' with the stream at point p and token t of x) − m(x'), what it gains.

Everything after the point is recomputed, so all tokens together have the effect m(x) − m(x') at any point. After the
last block, only tokens that the read-out reads have an effect. A stream that is the same in both runs has the effect 0.

Meng et al. 2022, arXiv 2202.05262.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...circuits import Axis, Metric, Readout
from ...circuits.kinds import choice
from ...circuits.recipe import DIRECTIONS, Direction
from ...models import ReceiverRuns, ViT, capture, runs_model
from ...models.receiver_runs import tokens_read
from ..execution import DEFAULT, Execution
from ..measured import MeasuredPairs, measure
from ..nodes import token_places, token_shifts
from ..pairs import ImagePairs
from ..reference import check_direction, reference
from .batched import image_axis
from .kind import ReadoutKind
from .logit_lens import point_axis, points_of

Tokens = Sequence[int] | Literal["each"] | None


@runs_model
def patch_stream(
    model: ViT,
    pairs: ImagePairs,
    *,
    points: Sequence[str] | None = None,
    tokens: Tokens = "each",
    metric: str | Metric = "logit",
    direction: Direction = "noising",
    execution: Execution = DEFAULT,
) -> Readout:
    """Patch the residual stream at each point, token by token or at all tokens.

    Args:
        points: names such as `resid_pre.0`, `resid_mid.2` (after the attention of block 2) and `resid_post.2` (after
            its MLP); all points by default.
        tokens: "each" or a list of positions patches one token at a time; None patches all at once.
        metric: a key of `METRICS`, or `METRICS.resolve(key, params)`.
        direction: `noising` (clean run, the stream corrupted) or `denoising` (corrupted run, the stream restored).
        execution: batch size and progress; progress counts runs of all images.

    Returns:
        Effects `[image, point, token]` or `[image, point]`, in units of the metric; positive if the stream raises it.

    Raises:
        InputError: an unknown point, tokens that the model does not have, pairs or a metric that do not fit, or
            `denoising` without corrupted images.

    Examples:
        >>> patch_stream(model, pairs, points=["resid_pre.0", "resid_post.3"], tokens=[0]).mean().to_pandas()
                  point  token  value       std
        0   resid_pre.0      0 ...
        1  resid_post.3      0 ...
    """
    axis = point_axis(model) if points is None else Axis("point", tuple(points))
    return _patched(model, measure(model, pairs, metric), axis, tokens, direction, execution)


def _patched(
    model: ViT, pairs: MeasuredPairs, axis: Axis, tokens: Tokens, direction: Direction, execution: Execution
) -> Readout:
    check_direction(direction, pairs)
    at, size = [point_axis(model).position(label) for label in axis.labels], execution.size(model, "block")
    places = token_places(tokens, model.n_tokens)
    done, total, parts = 0, len(at) * (1 if places is None else len(places)), []
    for batch in pairs.batches(size):
        columns = []
        for column in _effects(model, batch, at, places, direction, size):
            columns.append(column)
            done += column.shape[1] * len(batch)
            execution.report(done // len(pairs), total)
        parts.append(torch.stack(columns, dim=1))
    values = torch.cat(parts).numpy()
    use = STREAM_PATCHING.use(direction=direction, tokens="all" if places is None else "each")
    axes = (image_axis(len(pairs)), axis) if places is None else (image_axis(len(pairs)), axis, Axis("token", places))
    values = values[:, :, 0] if places is None else values
    return Readout(use, axes, values, unit=pairs.metric.text, metric=pairs.metric)


def _effects(
    model: ViT,
    batch: MeasuredPairs,
    at: Sequence[int],
    places: tuple[int, ...] | None,
    direction: Direction,
    at_once: int,
) -> Iterator[Float[Tensor, "image place"]]:
    """Yield the effects point by point, with one column per token, or one for all tokens."""
    clean, corrupted = capture(model, batch.clean), reference(model, batch)
    sign, base = (-1, clean) if direction == "noising" else (1, corrupted)
    runs, start = ReceiverRuns(model, model.graph("block"), base), batch.values(base.logits.to(model.exact_dtype))
    streams = [[point.to(model.exact_dtype) for point in points_of(run)] for run in (clean, corrupted)]
    for point in at:
        change, moved = streams[0][point] - streams[1][point], []
        for shifts in token_shifts(sign * change, places, max(1, at_once // len(batch))):
            moved += [batch.values(logits.to(model.exact_dtype)) for logits in runs.from_stream(point, shifts)]
        effects = sign * (torch.stack(moved, dim=1) - start[:, None])
        yield torch.where(_matters(model, change, places, last=point == 2 * model.n_layers), effects, 0.0).cpu()


def _matters(
    model: ViT, change: Float[Tensor, "image token d_model"], places: tuple[int, ...] | None, *, last: bool
) -> Bool[Tensor, "image place"]:
    """Return where the stream differs between the runs and is read later; elsewhere runs differ by rounding only."""
    differs = (change != 0).any(dim=2)
    if last and (read := tokens_read(model)) is not None:
        differs[:, read:] = False
    return differs.any(dim=1, keepdim=True) if places is None else differs[:, list(places)]


def _kind(model: ViT, pairs: MeasuredPairs, *, execution: Execution, direction: Direction, tokens: str) -> Readout:
    return _patched(model, pairs, point_axis(model), "each" if tokens == "each" else None, direction, execution)


def _passes(model: ViT, direction: str, tokens: str) -> tuple[float, int]:
    """Return two runs, and half a run for each point and token on average."""
    return 2 + (model.n_layers + 0.5) * (model.n_tokens if tokens == "each" else 1), 0


STREAM_PATCHING = ReadoutKind(
    key="stream-patching",
    name="Effect of patching the residual stream at each point and token",
    source="Meng et al. 2022, arXiv 2202.05262",
    function=_kind,
    passes=_passes,
    numbers=lambda model, direction, tokens: len(point_axis(model)) * (model.n_tokens if tokens == "each" else 1),
    params={"direction": choice(*DIRECTIONS), "tokens": choice("each", "all")},
    reads_metric=True,
)
