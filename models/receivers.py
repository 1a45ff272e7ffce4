"""Gradients at receivers, summed over runs, from one ordinary backward pass of the stock model per run.

MLPs read through an alias of the stream, so that autograd gives the gradient through norm2 only. The same holds for an
attention whose heads share one input. If each head has an input of its own (`split`, `head`), only the gradient at the
fused qkv output comes from autograd; the backward pass through norm1 is folded (see `folding`) and done once for all
runs. With a gradient mode, see `gradients`, the same folding is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

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
    """Tensors recorded during one forward pass, per layer; `streams` and `ports` only if heads read separately."""

    streams: list[Tensor] = field(default_factory=list)
    ports: list[Tensor] = field(default_factory=list)
    attention_inputs: list[Tensor] = field(default_factory=list)
    mlp_inputs: list[Tensor] = field(default_factory=list)
    final: list[Tensor] = field(default_factory=list)
    heads: list[Tensor] = field(default_factory=list)

    @contextmanager
    def recording(self, model: ViT, separate: bool) -> Iterator[None]:
        """Record the run in the `with` block; `separate` means that heads read separately."""

        def alias(into: list[Tensor]):
            def hook(_, args: tuple[Tensor, ...]) -> tuple[Tensor]:
                into.append(args[0].view_as(args[0]))
                return (into[-1],)

            return hook

        def hooks(block: Any) -> Iterator[RemovableHandle]:
            yield block.norm2.register_forward_pre_hook(alias(self.mlp_inputs))
            yield block.attn.proj.register_forward_pre_hook(lambda _, args: self.heads.append(args[0]))
            if separate:
                yield block.norm1.register_forward_pre_hook(lambda _, args: self.streams.append(args[0].detach()))
                yield block.attn.qkv.register_forward_hook(lambda _, __, out: self.ports.append(out))
            else:
                yield block.norm1.register_forward_pre_hook(alias(self.attention_inputs))

        last = model.module.norm.register_forward_pre_hook(alias(self.final))
        with installed(last, *(hook for block in model.blocks for hook in hooks(block))):
            yield


class TapGradients(NamedTuple):
    """The metric's gradients at the taps of a run; lists are per layer.

    Attributes:
        final: at the input of the last norm.
        mlps: at the input of norm2.
        reads: at the output of qkv if heads read separately, else at the input of norm1.
        heads: at the heads' outputs before the output projection; empty if not requested.
    """

    final: Tensor
    mlps: list[Tensor]
    reads: list[Tensor]
    heads: list[Tensor]


class TappedRun:
    """One forward pass that supports several backward passes.

    Args:
        model: the model.
        form: form of the graph.
        stream: the stream to start from.
        metric: returns the metric per image from logits.
        gradient: gradient mode, a key of `GRADIENTS`.
        start: where the stream enters, see `ViT.through_blocks`; receivers before it are skipped.

    Attributes:
        taps: tensors recorded during the run.
        values: the metric per image.
    """

    def __init__(
        self,
        model: ViT,
        form: Form,
        stream: Float[Tensor, "image token d_model"],
        metric: PerImage,
        gradient: str = "plain",
        start: int = 0,
    ) -> None:
        self.taps, self._dropped, separate = Taps(), set[int](), form in ("split", "head")
        rules = GRADIENTS[gradient].during(model)
        with torch.enable_grad(), rules, self.taps.recording(model, separate), _droppable(model, self._dropped):
            values = metric(model.readout(model.through_blocks(stream.detach().requires_grad_(), start)))
            self._total = values.sum()
        self.values = values.detach()
        self._reads = self.taps.ports if separate else self.taps.attention_inputs

    def gradients(self, *, dropped: int | None = None, heads: bool = False, again: bool = False) -> TapGradients:
        """Return the metric's gradients at every tap.

        Args:
            dropped: a layer whose attention and MLP pass no gradient, so that it only flows along the stream.
            heads: whether to include gradients at the heads' outputs.
            again: whether another call will follow.
        """
        self._dropped.clear()
        if dropped is not None:
            self._dropped.add(dropped)
        groups = (self.taps.final, self.taps.mlp_inputs, self._reads, self.taps.heads if heads else [])
        at = [tap for group in groups for tap in group]
        found = iter(torch.autograd.grad(self._total, at, retain_graph=again, materialize_grads=True))
        final, *others = ([next(found) for _ in group] for group in groups)
        return TapGradients(final[0], *others)


@contextmanager
def _droppable(model: ViT, dropped: set[int]) -> Iterator[None]:
    """Let gradients of the runs in the `with` block pass the layers in `dropped` only along the stream."""

    def hook(layer: int, _: Any, __: Any, out: Tensor) -> None:
        if out.requires_grad:
            out.register_hook(lambda gradient: torch.zeros_like(gradient) if layer in dropped else None)

    parts = ((layer, part) for layer, block in enumerate(model.blocks) for part in (block.ls1, block.ls2))
    with installed(*(part.register_forward_hook(partial(hook, layer)) for layer, part in parts)):
        yield


class ReceiverGradients:
    """Weighted sums over runs of the metric's gradients, per receiver.

    Attributes:
        mlps: `[layer, image, token, d_model]`, at the input of norm2.
        final: `[image, token, d_model]`, at the input of the last norm.
        attentions: `[layer, image, token, d_model]`, at the input of norm1 if heads share it; else None.
        ports: `[layer, image, token, 3·H·d_head]`, Σ ĝ if heads read separately; else None.
        normal: x̂ of each run, `[layer][run]` of `[image, token, d_model]`.
        centre: c of each run, `[layer][run]` of `[image, token, port]`, weighted.
        runs: number of runs in the sums.
        gradient: gradient mode, a key of `GRADIENTS`.
    """

    def __init__(
        self, model: ViT, form: Form, stream: Float[Tensor, "image token d_model"], gradient: str = "plain"
    ) -> None:
        self.model, self.gradient = model, gradient
        self.form: Form = form
        self.separate = form in ("split", "head")
        zeros = partial(torch.zeros, dtype=model.exact_dtype, device=stream.device)
        self.mlps = zeros(model.n_layers, *stream.shape)
        self.final = zeros(stream.shape)
        self.attentions, self.ports = None, None
        if self.separate:
            self.ports = zeros(model.n_layers, *stream.shape[:2], 3 * model.n_heads * model.d_head)
        else:
            self.attentions = torch.zeros_like(self.mlps)
        self.normal: list[list[Tensor]] = [[] for _ in range(model.n_layers)]
        self.centre: list[list[Tensor]] = [[] for _ in range(model.n_layers)]
        self.runs = 0

    def clear(self) -> None:
        """Reset all sums."""
        for sums in (self.mlps, self.final, self.attentions, self.ports):
            if sums is not None:
                sums.zero_()
        for kept in (*self.normal, *self.centre):
            kept.clear()
        self.runs = 0

    def add(
        self, stream: Float[Tensor, "image token d_model"], metric: PerImage, weight: int | float, start: int = 0
    ) -> Float[Tensor, "image"]:
        """Run forward from `stream` and backward, add the gradients times `weight`, and return the metric per image.

        Args:
            stream: the stream to start from.
            metric: returns the metric per image from logits.
            weight: factor on the gradients.
            start: where the stream enters, see `ViT.through_blocks`; receivers before it get no gradient.
        """
        run = TappedRun(self.model, self.form, stream, metric, self.gradient, start)
        self.add_gradients(run, run.gradients(), weight)
        return run.values

    def add_gradients(self, run: TappedRun, gradients: TapGradients, weight: int | float) -> None:
        """Add the gradients of a run times `weight`."""
        n, taps = self.model.n_layers, run.taps
        self.final.add_(gradients.final, alpha=weight)
        for layer, gradient in zip(range(n - len(gradients.mlps), n), gradients.mlps, strict=True):
            self.mlps[layer].add_(gradient, alpha=weight)
        for at, gradient in enumerate(gradients.reads):
            layer = n - len(gradients.reads) + at
            if self.attentions is None:
                self._add_ports(layer, taps.streams[at], taps.ports[at], gradient, weight)
            else:
                self.attentions[layer].add_(gradient, alpha=weight)
        self.runs += 1

    def at(self, receiver: int) -> Float[Tensor, "image token d_model"]:
        """Return the sum of the gradients with respect to what one receiver reads.

        Args:
            receiver: index of the receiver in the graph of this form.
        """
        layer, part = self.model.graph(self.form).receiver_place(receiver)
        if layer is None:
            return self.final
        if part is None:
            return self.mlps[layer]
        return self._at_port(layer, part) if self.attentions is None else self.attentions[layer]

    def _at_port(self, layer: int, part: int) -> Float[Tensor, "image token d_model"]:
        """Return the gradient at a port of a head (`split`), or at its three ports together (`head`)."""
        assert self.ports is not None
        places = (3, self.model.n_heads)
        ports = self.ports[layer].unflatten(-1, (*places, self.model.d_head))
        weight = self.model.readings[layer].weight.unflatten(0, places)
        chosen = divmod(part, self.model.n_heads) if self.form == "split" else (slice(None), part)
        found = torch.tensordot(ports[:, :, *chosen].flatten(2), weight[chosen].reshape(-1, self.model.d_model), dims=1)
        for normal, centre in zip(self.normal[layer], self.centre[layer], strict=True):
            found = found - normal * centre[..., part, None]
        return found

    def _add_ports(self, layer: int, stream: Tensor, ports: Tensor, gradient: Tensor, weight: int | float) -> None:
        assert self.ports is not None
        reading = self.model.readings[layer]
        normal, inverse = reading.normalise(stream)
        gradient = gradient.to(normal.dtype)
        self.ports[layer].addcmul_(gradient, inverse, value=weight)
        if reading.is_linear or GRADIENTS[self.gradient].norms:  # no gradient through the scale
            return
        along = (ports.detach() * gradient).unflatten(-1, reading.bias.shape).sum(-1)
        along -= gradient @ reading.bias_products
        centre = along * (inverse * (weight / self.model.d_model))
        self.normal[layer].append(normal)
        self.centre[layer].append(centre if self.form == "split" else centre.unflatten(-1, (3, -1)).sum(-2))
