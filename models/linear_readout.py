"""The read-out with its norms frozen: an affine function of the stream, from which every component's logits follow.

    logits = Σ_t w_t (stream_t · M) + b

w has the pooling and the frozen scale of each norm (and of a zero-shot head's division by ‖z‖), per image. M has
everything else: centring, the norms' weights, the head. b has the biases of norms and head. A read-out that takes
several vectors from the tokens, such as the class token and the mean of the patches, is a sum over these.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ..errors import InputError
from .folding import normalise
from .pooling import ClassAndMean
from .representable import NORMS
from .vit import ViT
from .zero_shot import ZeroShotHead

_INSTEAD = "use the logit lens, or patch_nodes, which measures effects exactly"


@dataclass(frozen=True)
class LinearReadout:
    """The read-out of one run with its norms frozen.

    Attributes:
        weights: weight of each token in each vector that the head reads.
        matrix: logits of each vector.
        bias: what the logits are without the stream.
    """

    weights: Float[Tensor, "vector image token"]
    matrix: Float[Tensor, "vector d_model class"]
    bias: Float[Tensor, "image class"]

    @classmethod
    @torch.no_grad()
    def of(cls, model: ViT, final: Float[Tensor, "image token d_model"]) -> LinearReadout:
        """Freeze the read-out at a run's last stream, in the model's exact dtype.

        Raises:
            InputError: pooling or head is not linear in the tokens; the message names it.

        Examples:
            >>> from circuitstore.models import capture
            >>> run = capture(model, pairs.clean)
            >>> frozen = LinearReadout.of(model, run.final)
            >>> torch.allclose(frozen.logits(run.final) + frozen.bias, run.logits, atol=1e-4)
            True
        """
        module, final = model.module, final.to(model.exact_dtype)
        _check_norm("norm", module.norm, model)
        poolings = pool_weights(model).to(final)
        weights = poolings[:, None] * normalise(module.norm, final)[1][None, :, :, 0]
        matrix = torch.block_diag(*[_norm_matrix(module.norm, final)] * len(poolings))
        constant = _bias(module.norm, final).repeat(len(poolings))
        value = torch.einsum("vbt,btd->bvd", weights, final).flatten(1) @ matrix + constant
        for step in _steps(model, value):
            matrix, constant = matrix @ step.matrix, (constant @ step.matrix) * step.scale + step.constant
            weights = weights * step.scale[None]
        return cls(weights, matrix.unflatten(0, (len(poolings), -1)), constant)

    def pooled(self, values: Float[Tensor, "image token *any"]) -> Float[Tensor, "vector image *any"]:
        """Return the weighted sums over tokens."""
        return torch.einsum("vbt,bt...->vb...", self.weights, values.to(self.weights))

    def logits(self, values: Float[Tensor, "image token d_model"]) -> Float[Tensor, "image class"]:
        """Return what a part of the stream adds to the logits."""
        return torch.einsum("vbd,vdc->bc", self.pooled(values), self.matrix)


def pool_weights(model: ViT) -> Float[Tensor, "vector token"]:
    """Return the weight of each token in each vector that the head reads; each row sums to 1.

    Raises:
        InputError: the pooling is not a fixed weighted sum; the message names it.

    Examples:
        >>> weights = pool_weights(model)  # of the class token
        >>> weights.shape, weights[0, :2].tolist()
        (torch.Size([1, 65]), [1.0, 0.0])
    """
    module: Any = model.module
    prefix, count = module.num_prefix_tokens, model.n_tokens
    first, patches = torch.eye(count, dtype=torch.float64)[:2], torch.zeros(count, dtype=torch.float64)
    patches[prefix:] = 1 / (count - prefix)
    if isinstance(module, VisionTransformerDistilled):
        return first
    if isinstance(module.attn_pool, ClassAndMean):
        return torch.stack([first[0], patches])
    if type(module).forward_head is VisionTransformer.forward_head and module.attn_pool is None:
        if module.global_pool == "token":
            return first[:1]
        if module.global_pool == "avg":
            return (patches if not module.pool_include_prefix else torch.full_like(patches, 1 / count))[None]
    raise InputError(
        f"{model.name} pools its tokens by {module.global_pool!r}, which is not linear in them, so they have no fixed "
        "weights; expected the class token or the average"
    )


class _Step(NamedTuple):
    """One part of the head, frozen: `value @ matrix · scale + constant`."""

    matrix: Float[Tensor, "before after"]
    scale: Float[Tensor, "image 1"]
    constant: Float[Tensor, "after"]


def _steps(model: ViT, value: Float[Tensor, "image pooled"]) -> Iterator[_Step]:
    """Yield the parts after pooling, frozen at the pooled value."""
    module: Any = model.module
    parts = [("fc_norm", module.fc_norm), *_flat("head", module.head)]
    if isinstance(module, VisionTransformerDistilled):
        parts = [("head", _mean_head(module.head, module.head_dist))]
    for name, part in parts:
        if isinstance(part, nn.Identity | nn.Dropout):
            continue
        step = _step(name, part, value, model)
        yield step
        value = value @ step.matrix * step.scale + step.constant


def _flat(name: str, part: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of nested sequences, with their names."""
    if not isinstance(part, nn.Sequential):
        yield name, part
        return
    for index, inner in enumerate(part):
        yield from _flat(f"{name}.{index}", inner)


def _mean_head(*heads: Any) -> nn.Linear:
    """Return the layer that averages the logits of heads, each of which reads its own vector."""
    weight = torch.cat([head.weight for head in heads], dim=1) / len(heads)
    mean = nn.Linear(weight.shape[1], len(weight), device="meta")
    mean.weight = nn.Parameter(weight)
    mean.bias = nn.Parameter(torch.stack([head.bias for head in heads]).mean(dim=0))
    return mean


def _step(name: str, part: nn.Module, value: Float[Tensor, "image pooled"], model: ViT) -> _Step:
    """Freeze one part of the head.

    Raises:
        InputError: it is not linear.
    """
    one = torch.ones_like(value[:, :1])
    if isinstance(part, NORMS):
        _, inverse = normalise(part, value)
        return _Step(_norm_matrix(part, value), inverse, _bias(part, value))
    if isinstance(part, nn.Linear):
        return _Step(part.weight.detach().to(value).T, one, _bias(part, value, part.out_features))
    if isinstance(part, ZeroShotHead):
        length = value.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        bias = value.new_zeros(len(part.text)) if part.bias is None else part.bias.to(value).expand(len(part.text))
        return _Step(part.scale.exp().to(value) * part.text.to(value).T, 1 / length, bias)
    raise InputError(
        f"{name} of {model.name} is a {type(part).__name__}, which is not linear in the stream, so logits are not sums "
        f"over components; {_INSTEAD}"
    )


def _check_norm(name: str, norm: nn.Module, model: ViT) -> None:
    if not isinstance(norm, NORMS):
        raise InputError(
            f"{name} of {model.name} is a {type(norm).__name__}, whose scale cannot be kept constant; expected "
            f"LayerNorm or RMSNorm; {_INSTEAD}"
        )


def _norm_matrix(norm: nn.Module, like: Float[Tensor, "*any width"]) -> Float[Tensor, "width width"]:
    """Return the matrix of a norm without its scale: centring, for LayerNorm, and its weight."""
    width = like.shape[-1]
    matrix = torch.eye(width, dtype=like.dtype, device=like.device)
    if isinstance(norm, nn.LayerNorm):
        matrix = matrix - 1 / width
    weight = getattr(norm, "weight", None)
    return matrix if weight is None else matrix * weight.detach().to(like)


def _bias(part: nn.Module, like: Tensor, width: int | None = None) -> Float[Tensor, "width"]:
    """Return the bias of a norm or a layer; zeros if it has none."""
    bias = getattr(part, "bias", None)
    return like.new_zeros(width or like.shape[-1]) if bias is None else bias.detach().to(like)
