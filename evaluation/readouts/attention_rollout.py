"""Attention rollout: attention of all layers multiplied, as if values only mixed tokens.

    Â_l = (1 − r) A_l + r I, rows scaled to sum 1 ;   rollout = Â_L ⋯ Â_1

A_l is the mean, maximum or minimum over the heads of layer l; `discard` sets its smallest entries to 0. Rows sum to 1.
Rollout is the same for every class, so it is no evidence for one. Maximum, discarding and r change it more than the
model does; they are part of the recipe. Abnar & Zuidema 2020, arXiv 2005.00928; heads and discarding as in the code of
Gildenblat (vit-explain), whose rows do not sum to 1 because it divides columns.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...circuits import Readout
from ...circuits.kinds import choice, number
from ...errors import InputError
from ...models import ViT, attention_of, runs_model
from ..execution import DEFAULT, Execution
from .batched import Images, image_axis, read_images
from .kind import ReadoutKind, of_clean
from .queries import EACH_QUERY, Queries, n_row_numbers, requested_rows, row_axes

HEADS = choice("mean", "max", "min")
RESIDUAL = number(0.5, "a number from 0 to 1", lambda share: 0 <= share <= 1)
_DISCARD = number(0.0, "a number from 0 to below 1", lambda share: 0 <= share < 1)


@runs_model
def attention_rollout(
    model: ViT,
    images: Images,
    *,
    heads: str = "mean",
    residual: float = 0.5,
    discard: float = 0.0,
    queries: Queries = None,
    execution: Execution = DEFAULT,
) -> Readout:
    """Multiply the attention of all layers, with the residual stream mixed in.

    Args:
        images: normalised images.
        heads: how the heads of a layer are joined: `mean`, `max` or `min`.
        residual: r, the share of the residual stream.
        discard: share of the entries of each layer that are set to 0, the smallest first.
        queries: None returns the row of what the classifier pools: of the class token, or the mean over the rows of
            the patches. "each" returns the row of each token.
        execution: batch size and progress; progress counts images.

    Returns:
        Attention `[image, token]` or `[image, query, token]`.

    Raises:
        InputError: images that do not fit the model, a parameter out of range, `discard` without a residual, or no
            `queries` with map pooling.

    Examples:
        >>> rollout = attention_rollout(model, pairs.clean, queries="each")
        >>> np.allclose(rollout.values.sum(axis=2), 1)
        True
    """
    use = ATTENTION_ROLLOUT.use(heads=heads, residual=residual, discard=discard, queries=queries)
    if discard and not residual:
        raise InputError("discard: expected a residual above 0 with it, because a row may lose all of its entries")
    rows = requested_rows(model, queries)

    def read(batch: Images) -> Float[Tensor, "image *query token"]:
        steps = transitions(attention_of(model, batch), heads, residual, discard)
        total = steps[:, 0]
        for step in steps[:, 1:].unbind(dim=1):
            total = step @ total
        return rows(total)

    values = read_images(model, images, read, execution)
    return Readout(use, (image_axis(len(images)), *row_axes(model, queries)), values, unit="attention")


def transitions(
    attention: Float[Tensor, "image layer head query token"], heads: str, residual: float, discard: float = 0.0
) -> Float[Tensor, "image layer query token"]:
    """Return Â of every layer."""
    joined = {"mean": attention.mean, "max": attention.amax, "min": attention.amin}[heads](dim=2)
    flat = joined.flatten(2)
    smallest = flat.topk(int(discard * flat.shape[-1]), dim=-1, largest=False).indices
    joined = flat.scatter(-1, smallest, 0.0).view_as(joined)
    same = torch.eye(joined.shape[-1], dtype=joined.dtype, device=joined.device)
    mixed = (1 - residual) * joined + residual * same
    return mixed / mixed.sum(dim=-1, keepdim=True)


ATTENTION_ROLLOUT = ReadoutKind(
    key="attention-rollout",
    name="Attention of all layers multiplied, with the residual stream mixed in; the same for every class",
    source="Abnar & Zuidema 2020, arXiv 2005.00928",
    function=of_clean(attention_rollout),
    passes=lambda model, **params: (1, 0),
    numbers=lambda model, queries=None, **params: n_row_numbers(model, queries),
    params={"heads": HEADS, "residual": RESIDUAL, "discard": _DISCARD, "queries": EACH_QUERY},
)
