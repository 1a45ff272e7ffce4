"""Attention flow: the maximum flow from what the classifier pools back to each token of the input.

Each layer is a set of edges from its queries to its tokens, with Â of the rollout as capacities. The flow to a token is
at most what its column of the first layer lets in, `Σ_q Â_1[q, t]`; on vision transformers nearly all tokens reach this
bound, so flow ranks tokens by little else. Like rollout, it is the same for every class.

Abnar & Zuidema 2020, arXiv 2005.00928. Flows are computed with whole numbers, of which 2³⁰ are a capacity of 1. Costs a
forward pass and a maximum flow per token on the CPU.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow
from torch import Tensor

from ...circuits import Readout
from ...models import ViT, attention_of, runs_model
from ..execution import DEFAULT, Execution
from .attention_rollout import HEADS, RESIDUAL, transitions
from .batched import Images, image_axis, read_images, token_axis
from .kind import ReadoutKind, of_clean
from .queries import token_weights

_UNIT = 2**30
"""The capacity 1 as a whole number; scipy's flows have 32 bits."""


@runs_model
def attention_flow(
    model: ViT, images: Images, *, heads: str = "mean", residual: float = 0.5, execution: Execution = DEFAULT
) -> Readout:
    """Compute the maximum flow of attention from the pooled tokens to each token of the input.

    Args:
        images: normalised images.
        heads: how the heads of a layer are joined: `mean`, `max` or `min`.
        residual: share of the residual stream.
        execution: batch size and progress; progress counts images.

    Returns:
        Flow `[image, token]`, at most 1.

    Raises:
        InputError: images that do not fit the model, a parameter out of range, or map pooling, which has no source.

    Examples:
        >>> flow = attention_flow(model, pairs.clean[:1])
        >>> flow.names, bool(flow.values.max() <= 1)
        (('image', 'token'), True)
    """
    use = ATTENTION_FLOW.use(heads=heads, residual=residual)
    source = token_weights(model, "a flow needs a class token or average pooling; attention_patterns needs neither")

    def read(batch: Images) -> Float[Tensor, "image token"]:
        layers = transitions(attention_of(model, batch), heads, residual).double().cpu().numpy()
        return torch.from_numpy(np.stack([flows(own, source.numpy()) for own in layers]))

    values = read_images(model, images, read, execution)
    return Readout(use, (image_axis(len(images)), token_axis(model)), values, unit="flow")


def flows(
    capacities: Float[np.ndarray, "layer query token"], source: Float[np.ndarray, "token"]
) -> Float[np.ndarray, "token"]:
    """Return the maximum flow to each token of the input.

    Args:
        capacities: capacity of each query's edge to each token, first layer first.
        source: capacity from the source to each token after the last layer.

    Examples:
        >>> flows(np.array([[[0.5, 0.5], [0.25, 0.75]]]), np.array([1.0, 0.0])).tolist()
        [0.5, 0.5]
    """
    layers, tokens, _ = capacities.shape
    graph = _graph(_whole(capacities), _whole(source))
    found = [maximum_flow(graph, (layers + 1) * tokens, token).flow_value for token in range(tokens)]
    return np.array(found) / _UNIT


def _whole(capacities: Float[np.ndarray, "*any"]) -> Int[np.ndarray, "*any"]:
    return np.rint(capacities * _UNIT).astype(np.int32)


def _graph(capacities: Int[np.ndarray, "layer query token"], source: Int[np.ndarray, "token"]) -> csr_array:
    """Return the matrix of capacities: token t of layer l is node `l · tokens + t`, and the source is the last node."""
    layers, tokens, _ = capacities.shape
    layer, query, token = np.indices(capacities.shape)
    start = np.concatenate([((layer + 1) * tokens + query).ravel(), np.full(tokens, (layers + 1) * tokens)])
    end = np.concatenate([(layer * tokens + token).ravel(), layers * tokens + np.arange(tokens)])
    size = (layers + 1) * tokens + 1
    return csr_array((np.concatenate([capacities.ravel(), source]), (start, end)), shape=(size, size))


ATTENTION_FLOW = ReadoutKind(
    key="attention-flow",
    name="Maximum flow of attention from the pooled tokens to each token of the input; the same for every class",
    source="Abnar & Zuidema 2020, arXiv 2005.00928",
    function=of_clean(attention_flow),
    passes=lambda model, **params: (1, 0),
    numbers=lambda model, **params: model.n_tokens,
    params={"heads": HEADS, "residual": RESIDUAL},
)
