"""Gradients at receivers, summed over runs, from one ordinary backward pass of the stock model each.

MLPs read through an alias of the stream, so that autograd gives the gradient through norm2 alone;
so does a whole attention where its heads share one input. Where heads read apart (`split`, `head`),
only the gradient of the fused qkv output is taken; the way back through norm1 is folded (`folding`)
and gone once for all runs. Of a gradient mode, see `gradients`, the way back through norm1 is folded likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ..circuits import Form
from .gradients import GRADIENTS
from .vit import ViT, installed

PerImage = Callable[[Float[Tensor, "image class"]], Float[Tensor, "image"]]


@dataclass
class Taps:
    """Where one forward pass is tapped, per layer passed; `streams` and `ports` only where heads read apart."""

    streams: list[Tensor] = field(default_factory=list)
    ports: list[Tensor] = field(default_factory=list)
    attention_inputs: list[Tensor] = field(default_factory=list)
    mlp_inputs: list[Tensor] = field(default_factory=list)
    final: list[Tensor] = field(default_factory=list)

    @contextmanager
    def into(self, model: ViT, apart: bool) -> Iterator[None]:
        """Install the hooks. `apart`: heads read apart."""

        def alias(into: list[Tensor]):
            def hook(_, args: tuple[Tensor, ...]) -> tuple[Tensor]:
                into.append(args[0].view_as(args[0]))
                return (into[-1],)

            return hook

        def hooks(block: Any) -> Iterator[RemovableHandle]:
            yield block.norm2.register_forward_pre_hook(alias(self.mlp_inputs))
            if apart:
                yield block.norm1.register_forward_pre_hook(lambda _, args: self.streams.append(args[0].detach()))
                yield block.attn.qkv.register_forward_hook(lambda _, __, out: self.ports.append(out))
            else:
                yield block.norm1.register_forward_pre_hook(alias(self.attention_inputs))

        last = model.module.norm.register_forward_pre_hook(alias(self.final))
        with installed(last, *(hook for block in model.blocks for hook in hooks(block))):
            yield


class ReceiverGradients:
    """Weighted sums over runs of the metric's gradients, per receiver.

    Attributes:
        mlps: `[layer, image, token, d_model]`, at the input of norm2.
        final: `[image, token, d_model]`, at the input of the last norm.
        attentions: `[layer, image, token, d_model]` at the input of norm1, where heads share it; else None.
        ports: `[layer, image, token, 3·H·d_head]`, Σ ĝ where heads read apart; else None.
        normal: x̂ of each run, `[layer][run]` of `[image, token, d_model]`.
        centre: c of each run, `[layer][run]` of `[image, token, port]`, weighted.
        runs: how many are summed.
        gradient: by whose rules they go back, a key of `GRADIENTS`.
    """

    def __init__(
        self, model: ViT, form: Form, stream: Float[Tensor, "image token d_model"], gradient: str = "plain"
    ) -> None:
        self.model, self.form, self.gradient = model, form, gradient
        self.apart = form in ("split", "head")
        zeros = partial(torch.zeros, dtype=model.exact_dtype, device=stream.device)
        self.mlps = zeros(model.n_layers, *stream.shape)
        self.final = zeros(stream.shape)
        self.attentions, self.ports = None, None
        if self.apart:
            self.ports = zeros(model.n_layers, *stream.shape[:2], 3 * model.n_heads * model.d_head)
        else:
            self.attentions = torch.zeros_like(self.mlps)
        self.normal: list[list[Tensor]] = [[] for _ in range(model.n_layers)]
        self.centre: list[list[Tensor]] = [[] for _ in range(model.n_layers)]
        self.runs = 0

    def clear(self) -> None:
        """Forget all runs."""
        for sums in (self.mlps, self.final, self.attentions, self.ports):
            if sums is not None:
                sums.zero_()
        for kept in (*self.normal, *self.centre):
            kept.clear()
        self.runs = 0

    def add(
        self, stream: Float[Tensor, "image token d_model"], metric: PerImage, weight: float, start: int = 0
    ) -> Float[Tensor, "image"]:
        """Run on from `stream` and back, and add the gradients times `weight`; gives the metric per image.

        Args:
            start: where the stream enters, see `ViT.through_blocks`; receivers before it get nothing.
        """
        taps, n = Taps(), self.model.n_layers
        with torch.enable_grad(), GRADIENTS[self.gradient].during(self.model), taps.into(self.model, self.apart):
            final = self.model.through_blocks(stream.detach().requires_grad_(), start)
            values = metric(self.model.readout(final))
            reads = taps.ports if self.apart else taps.attention_inputs
            inputs = [*taps.final, *taps.mlp_inputs, *reads]
            last, *gradients = torch.autograd.grad(values.sum(), inputs, materialize_grads=True)
        mlps, attentions = gradients[: len(taps.mlp_inputs)], gradients[len(taps.mlp_inputs) :]
        self.final.add_(last, alpha=weight)
        for layer, gradient in zip(range(n - len(mlps), n), mlps, strict=True):
            self.mlps[layer].add_(gradient, alpha=weight)
        for at, gradient in enumerate(attentions):
            layer = n - len(attentions) + at
            if self.attentions is None:
                self._add_ports(layer, taps.streams[at], taps.ports[at], gradient, weight)
            else:
                self.attentions[layer].add_(gradient, alpha=weight)
        self.runs += 1
        return values.detach()

    def _add_ports(self, layer: int, stream: Tensor, ports: Tensor, gradient: Tensor, weight: float) -> None:
        assert self.ports is not None
        reading = self.model.readings[layer]
        normal, inverse = reading.normalise(stream)
        gradient = gradient.to(normal.dtype)
        self.ports[layer].addcmul_(gradient, inverse, value=weight)
        if reading.is_linear or GRADIENTS[self.gradient].norms:  # nothing goes back through the scale
            return
        along = (ports.detach() * gradient).unflatten(-1, reading.bias.shape).sum(-1)
        along -= gradient @ reading.bias_products
        centre = along * (inverse * (weight / self.model.d_model))
        self.normal[layer].append(normal)
        self.centre[layer].append(centre if self.form == "split" else centre.unflatten(-1, (3, -1)).sum(-2))
