"""The senders' outputs into the stream, as differences between two runs of the stock model.

Heads are never run separately: a hook records their concatenated outputs before the output projection, which is then
applied to each head's slice of the difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ..circuits import Form
from .vit import ViT, installed


@runtime_checkable
class HasSenderOutputs(Protocol):
    """A run with its senders' outputs: `SenderOutputs` or `Activations`."""

    @property
    def stream(self) -> Tensor: ...
    @property
    def heads(self) -> list[Tensor]: ...
    @property
    def mlp_out(self) -> list[Tensor]: ...


@dataclass(frozen=True)
class SenderOutputs:
    """The outputs of all senders in one run; the run's own tensors, not copies.

    Attributes:
        stream: output of `input`, which enters block 0.
        heads: heads' outputs before the output projection, concatenated, per layer.
        mlp_out: output of the MLP per layer, LayerScale included.
    """

    stream: Float[Tensor, "image token d_model"]
    heads: list[Float[Tensor, "image token heads"]] = field(default_factory=list)
    mlp_out: list[Float[Tensor, "image token d_model"]] = field(default_factory=list)

    @classmethod
    @torch.no_grad()
    def of(
        cls, model: ViT, stream: Float[Tensor, "image token d_model"]
    ) -> tuple[SenderOutputs, Float[Tensor, "image class"]]:
        """Run the plain model from a stream; return the senders' outputs and the logits."""
        sent = cls(stream)
        with sent.recording(model):
            return sent, model.readout(model.through_blocks(stream))

    @contextmanager
    def recording(self, model: ViT) -> Iterator[None]:
        """Record the one run of the model in the `with` block."""

        def hooks(layer: int) -> Iterator[RemovableHandle]:
            block = model.blocks[layer]
            yield block.attn.proj.register_forward_pre_hook(lambda _, args: self.heads.append(args[0].detach()))
            yield block.ls2.register_forward_hook(lambda _, __, out: self.mlp_out.append(out.detach()))

        with installed(*(hook for layer in range(model.n_layers) for hook in hooks(layer))):
            yield


def sender_differences(
    model: ViT, form: Form, clean: HasSenderOutputs, corrupted: HasSenderOutputs
) -> Float[Tensor, "image sender token d_model"]:
    """Compute Δ = clean − corrupted of every sender's output, in the model's exact dtype.

    Examples:
        >>> clean, _ = SenderOutputs.of(model, model.embed(pairs.clean))
        >>> corrupted, _ = SenderOutputs.of(model, model.embed(pairs.corrupted))
        >>> sender_differences(model, "block", clean, corrupted).shape  # image, sender, token, d_model
        torch.Size([8, 9, 65, 64])
    """
    graph, merged = model.graph(form), form == "block"
    images, tokens, width = clean.stream.shape
    values = torch.empty(images, graph.n_senders, tokens, width, dtype=model.exact_dtype, device=clean.stream.device)
    _subtract(clean.stream, corrupted.stream, values[:, 0])
    heads = torch.empty(clean.heads[0].shape, dtype=values.dtype, device=values.device)
    for layer, writing in enumerate(model.writings):
        senders = graph.attention_senders(layer)
        _subtract(clean.mlp_out[layer], corrupted.mlp_out[layer], values[:, graph.mlp_sender(layer)])
        _subtract(clean.heads[layer], corrupted.heads[layer], heads)
        for image, moved in enumerate(heads):
            into = values[image, senders.start : senders.stop]
            if merged:
                torch.mm(moved, writing.flatten(0, 1), out=into[0])
            else:
                torch.bmm(moved.unflatten(1, writing.shape[:2]).transpose(0, 1), writing, out=into)
    return values


def _subtract(clean: Tensor, corrupted: Tensor, into: Tensor) -> None:
    """Subtract in the type of `into`: bfloat16 loses small differences of large numbers."""
    torch.sub(clean.to(into.dtype), corrupted.to(into.dtype), out=into)
