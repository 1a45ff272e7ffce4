"""Modified backward rules: RelP and GIM, which replace single backward steps during a run.

The forward pass stays the stock model's, bit for bit: the outputs of norms, activations and attention are unchanged,
only their backward steps are replaced.

- norms (RelP's LN-rule, GIM's frozen statistics): the scale σ is a constant. LayerNorm still centres,
  `(γg − mean(γg)) / σ`; RMSNorm gives `γg / σ`.
- activations (RelP's identity rule): `act(z) = (act(z)/z) · z` with a constant quotient, so `g · act(z)/z`; at z = 0
  the derivative. The reference code adds 1e-6 to |z| instead.
- gated MLPs (RelP's half rule, GIM): both factors of the product get half of the gradient.
- attention (RelP's AH-rule): probabilities are constants, so q and k get no gradient. The reference code has the rule
  but does not use it by default; neither does `relp`. `relp-ah` uses it.
- attention (GIM): the softmax's backward is computed at scores / T, `s_T ⊙ (g − ⟨g, s_T⟩)` without a factor 1/T; the
  gradients of q and k are multiplied by a quarter, that of v by a half.

Map pooling follows the same rules, although it comes after the last receiver: its attention (a learnt query over all
tokens), its norms and the activation of its MLP. With `relp-ah` its weights over tokens are constants; with `gim` its
softmax has temperature 2 in the backward pass, with a quarter for its keys and a half for its values. The gradient of
every edge passes through it.

Everything else keeps its own backward: linear maps, other pooling, LayerScale, the normalisation of a zero-shot head.
Sources: RelP, Jafari et al. 2025, arXiv 2508.21258 and its code. GIM, Edin et al. 2025, arXiv 2505.17630 and its code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.mlp import GluMlp, SwiGLU
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from ..errors import InputError
from .folding import normalise
from .representable import NORMS
from .vit import ViT

Pull = Callable[[Tensor], tuple[Tensor | None, ...]]


@dataclass(frozen=True)
class AttentionRule:
    """How gradients pass through an attention.

    Attributes:
        temperature: temperature of the softmax in the backward pass.
        query_key: factor on the gradients of q and k; 0 makes the probabilities constants.
        value: factor on the gradient of v.
    """

    temperature: float = 1.0
    query_key: float = 1.0
    value: float = 1.0


@dataclass(frozen=True)
class GradientRules:
    """What a gradient mode replaces; by default nothing.

    Attributes:
        norms: whether the scales of norms are constants.
        activations: whether the quotients act(z)/z of activations are constants.
        products: factor on the gradients of both factors of a gated MLP.
        attention: rule for attention; None for its own backward.
    """

    norms: bool = False
    activations: bool = False
    products: float = 1.0
    attention: AttentionRule | None = None

    @contextmanager
    def during(self, model: ViT) -> Iterator[None]:
        """Apply the rules to backward passes of the runs in the `with` block.

        Raises:
            InputError: a rule cannot be applied to a part of the model; the message names the part.
        """
        with ExitStack() as stack:
            for hooks in (self._norm_hooks, self._activation_hooks, self._product_hooks):
                for hook in hooks(model):
                    stack.callback(hook.remove)
            if self.attention is not None:
                _check_fused(model)
                stack.enter_context(_AttentionRules(self.attention))
            yield

    def _norm_hooks(self, model: ViT) -> Iterator[RemovableHandle]:
        for name, part in model.module.named_modules() if self.norms else ():
            if isinstance(part, nn.Identity) or name.startswith("patch_embed."):  # before the stream
                continue
            if isinstance(part, NORMS):
                yield part.register_forward_hook(_frozen_norm)
            elif "norm" in name.rsplit(".", 1)[-1] and not list(part.children()):
                raise InputError(
                    f"gradient: {name} is a {type(part).__name__}, whose scale cannot be kept constant; expected "
                    "LayerNorm or RMSNorm; use gradient='plain'"
                )

    def _activation_hooks(self, model: ViT) -> Iterator[RemovableHandle]:
        for name, part in model.module.named_modules() if self.activations else ():
            if isinstance(act := getattr(part, "act", None), nn.Module):
                yield act.register_forward_hook(_quotient(f"{name}.act", act, model))

    def _product_hooks(self, model: ViT) -> Iterator[RemovableHandle]:
        for part in model.module.modules() if self.products != 1 else ():
            for factor in _factors(part):
                yield factor.register_forward_hook(self._share)

    def _share(self, _: Any, __: Any, out: Tensor) -> Tensor:
        return _replaced(out, lambda g: (g * self.products,), out)


GRADIENTS: dict[str, GradientRules] = {
    "plain": GradientRules(),
    "relp": GradientRules(norms=True, activations=True, products=0.5),
    "relp-ah": GradientRules(norms=True, activations=True, products=0.5, attention=AttentionRule(query_key=0.0)),
    "gim": GradientRules(norms=True, products=0.5, attention=AttentionRule(2.0, 0.25, 0.5)),
}
"""Gradient modes by name."""


class _Replaced(torch.autograd.Function):
    """The identity, with another backward rule."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, pull: Pull, *inputs: Tensor) -> Tensor:
        ctx.pull = pull
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return None, None, *ctx.pull(gradients[0])


def _replaced(value: Tensor, pull: Pull, *inputs: Tensor) -> Tensor:
    """Return `value`; `pull` computes the gradients of `inputs` from its gradient."""
    return _Replaced.apply(value.detach(), pull, *inputs) if torch.is_grad_enabled() else value


def _frozen_norm(norm: Any, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
    _, inverse = normalise(norm, args[0].detach())

    def pull(gradient: Tensor) -> tuple[Tensor]:
        if getattr(norm, "weight", None) is not None:
            gradient = gradient * norm.weight
        if isinstance(norm, nn.LayerNorm):
            gradient = gradient - gradient.mean(dim=-1, keepdim=True)
        return (gradient * inverse,)

    return _replaced(out, pull, args[0])


def _quotient(name: str, act: nn.Module, model: ViT) -> Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]:
    """Return the hook for an activation.

    Raises:
        InputError: the activation is not 0 at 0, so its quotient is unbounded.
    """
    with torch.enable_grad():
        zero = torch.zeros(1, dtype=model.dtype, device=model.device, requires_grad=True)
        at_zero = act(zero)
        (slope,) = torch.autograd.grad(at_zero.sum(), zero)
    if at_zero.item() != 0:
        raise InputError(
            f"gradient: RelP's identity rule divides an activation by its input, but {name} ({type(act).__name__}) "
            f"is {at_zero.item():.3g} at 0; use gradient='plain' or 'gim'"
        )

    def hook(_: Any, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        z, act_z = args[0].detach(), out.detach()
        return _replaced(out, lambda g: (g * torch.where(z == 0, slope, act_z / z),), args[0])

    return hook


def _factors(part: nn.Module) -> list[nn.Module]:
    """Return the layers of a gated MLP whose outputs are multiplied."""
    if isinstance(part, SwiGLU):
        return [part.fc1_g, part.fc1_x]
    return [part.fc1] if isinstance(part, GluMlp) else []


def _check_fused(model: ViT) -> None:
    for name, part in model.module.named_modules():
        if getattr(part, "fused_attn", True) is False:
            raise InputError(
                f"gradient: {name} does not use fused attention, which the rules for attention need; "
                "unset TIMM_FUSED_ATTN, or use gradient='plain' or 'relp'"
            )


class _AttentionRules(TorchFunctionMode):
    """Apply a rule to the backward pass of every fused attention, with or without norms of q and k."""

    def __init__(self, rule: AttentionRule) -> None:
        super().__init__()
        self.rule = rule

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func is not F.scaled_dot_product_attention:
            return out
        q, k, v = args
        scale = kwargs.get("scale") or q.shape[-1] ** -0.5
        if kwargs.get("attn_mask") is not None or kwargs.get("is_causal"):
            raise InputError("gradient: the rules for attention do not support masks; use gradient='plain' or 'relp'")
        return _replaced(out, _attention_pull(self.rule, q.detach(), k.detach(), v.detach(), scale), q, k, v)


def _attention_pull(rule: AttentionRule, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Pull:
    def pull(gradient: Tensor) -> tuple[Tensor | None, ...]:
        exact = torch.promote_types(q.dtype, torch.float32)
        scores = (q @ k.transpose(-1, -2)).to(exact) * scale
        to_v = (scores.softmax(-1).to(v.dtype).transpose(-1, -2) @ gradient) * rule.value
        if rule.query_key == 0:
            return None, None, to_v
        cooled = (scores / rule.temperature).softmax(-1)
        to_pattern = (gradient @ v.transpose(-1, -2)).to(exact)
        to_scores = cooled * (to_pattern - (to_pattern * cooled).sum(-1, keepdim=True))
        to_scores = (to_scores * (scale * rule.query_key)).to(q.dtype)
        return to_scores @ k, to_scores.transpose(-1, -2) @ q, to_v

    return pull
