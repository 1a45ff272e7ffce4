"""Plain runs with a changed input to one receiver: only what follows that receiver is computed.

Before the receiver, the run is the stored base run; after it, the stock blocks run, in the last block only for the
tokens that the read-out reads.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ..circuits import ComputationGraph
from .heads import attend, project
from .patched_runs import Activations, port_receivers
from .vit import ViT


def tokens_read(model: ViT) -> int | None:
    """Return how many of the first tokens the read-out reads; None means all."""
    module = model.module
    if isinstance(module, VisionTransformerDistilled):
        return 2
    own = type(module).forward_head is VisionTransformer.forward_head
    return 1 if own and module.global_pool == "token" and module.attn_pool is None else None


def logits_from_block(model: ViT, layer: int, stream: Float[Tensor, "run token d_model"]) -> Float[Tensor, "run class"]:
    """Return the logits from the stream that enters a block; the last block only computes the tokens that are read."""
    for at in range(layer, model.n_layers):
        block, middle = model.blocks[at], after_heads(model, at, stream)
        stream = middle + block.ls2(block.mlp(block.norm2(middle)))
    return model.readout(stream)


def after_heads(
    model: ViT, layer: int, stream: Float[Tensor, "run token d_model"], *, whole: bool = False
) -> Float[Tensor, "run place d_model"]:
    """Return the stream after a layer's heads have written to it.

    Args:
        layer: the layer.
        stream: what enters the block.
        whole: whether all tokens are returned after the last layer's heads, and not only those that are read out.
    """
    block, read = model.blocks[layer], tokens_read(model)
    if whole or read is None or layer < model.n_layers - 1:
        return stream + block.ls1(block.attn(block.norm1(stream)))
    attn, normal = block.attn, block.norm1(stream)
    q = project(attn, normal[:, :read], 0).transpose(1, 2)
    k, v = project(attn, normal, slice(1, 3)).permute(2, 0, 3, 1, 4)
    out = attend(attn, q, k, v)
    return stream[:, :read] + block.ls1(attn.proj(out.transpose(1, 2).flatten(2)))


class ReceiverRuns:
    """Runs on one batch in which one receiver's input is shifted and everything after it is recomputed.

    Args:
        model: the model.
        graph: graph with the receiver.
        base: the run that is used up to the receiver.
    """

    def __init__(self, model: ViT, graph: ComputationGraph, base: Activations) -> None:
        self.model, self.graph, self.base = model, graph, base
        self.read = slice(0, tokens_read(model))
        self.port_receiver = port_receivers(graph)

    @torch.no_grad()
    def logits(
        self, receiver: int, shifts: Float[Tensor, "row image token d_model"]
    ) -> Float[Tensor, "row image class"]:
        """Return the logits of runs in which a receiver reads the base run's stream plus a shift.

        Args:
            receiver: index of the receiver in the graph.
            shifts: one shift per run.
        """
        shape = shifts.shape[:2]
        layer, part = self.graph.receiver_place(receiver)
        if layer is None:
            logits = self.model.readout(self._shifted(self.base.final, shifts, self.read))
        elif part is None:
            logits = self._mlp(layer, shifts)
        else:
            logits = self._attention(layer, part, shifts)
        return logits.unflatten(0, shape)

    @torch.no_grad()
    def from_stream(
        self, start: int, shifts: Float[Tensor, "row image token d_model"]
    ) -> Float[Tensor, "row image class"]:
        """Return the logits of runs in which the stream itself is shifted, for all later receivers.

        Args:
            start: number of components that have already written to the stream, see `ViT.through_blocks`.
            shifts: one shift per run.
        """
        layer, attended = divmod(start, 2)
        if layer == self.graph.n_layers:
            logits = self.model.readout(self._shifted(self.base.final, shifts, self.read))
        elif attended:
            block = self.model.blocks[layer]
            stream = self._shifted(self.base.mlp_in[layer], shifts, self._tokens(layer))
            logits = self._from_block(layer + 1, stream + block.ls2(block.mlp(block.norm2(stream))))
        else:
            logits = self._from_block(layer, self._shifted(self.base.attention_in[layer], shifts, slice(None)))
        return logits.unflatten(0, shifts.shape[:2])

    def _shifted(self, stream: Tensor, shifts: Tensor, tokens: slice) -> Float[Tensor, "run token d_model"]:
        return (stream[:, tokens] + shifts[:, :, tokens]).to(stream.dtype).flatten(0, 1)

    def _tokens(self, layer: int) -> slice:
        """Return the tokens that matter after the heads of a layer."""
        return self.read if layer == self.graph.n_layers - 1 else slice(None)

    def _mlp(self, layer: int, shifts: Tensor) -> Tensor:
        block, tokens = self.model.blocks[layer], self._tokens(layer)
        stream = self.base.mlp_in[layer]
        added = block.ls2(block.mlp(block.norm2(self._shifted(stream, shifts, tokens))))
        return self._from_block(layer + 1, self._repeated(stream, len(shifts))[:, tokens] + added)

    def _attention(self, layer: int, part: int, shifts: Tensor) -> Tensor:
        """Run the heads that read at this receiver, and add the change of their outputs to the stream."""
        model, tokens = self.model, self._tokens(layer)
        block, port, head = model.blocks[layer], *np.nonzero(self.port_receiver == part)
        heads = np.unique(head)
        base = self.base.ports[layer].unflatten(-1, (3, model.n_heads, model.d_head))
        ports = self._repeated(base[:, :, :, heads], len(shifts))
        attn = block.attn
        moved = block.norm1(self._shifted(self.base.attention_in[layer], shifts, slice(None)))
        ports[:, :, port, np.searchsorted(heads, head)] = project(attn, moved, (port, head))
        q, k, v = ports.permute(2, 0, 3, 1, 4)  # run head token d_head
        out = attend(attn, q[:, :, tokens], k, v, heads)
        old = self.base.heads[layer].unflatten(-1, (model.n_heads, -1))[:, tokens, heads]
        change = out.transpose(1, 2).to(model.exact_dtype) - self._repeated(old, len(shifts)).to(model.exact_dtype)
        added = change.flatten(2) @ model.writings[layer][heads].flatten(0, 1)
        stream = self._repeated(self.base.mlp_in[layer], len(shifts))[:, tokens]
        stream = (stream + added).to(model.dtype)
        return self._from_block(layer + 1, stream + block.ls2(block.mlp(block.norm2(stream))))

    @staticmethod
    def _repeated(value: Tensor, count: int) -> Tensor:
        """Return a writable copy of the base run's value for every row."""
        return value.repeat(count, *[1] * (value.ndim - 1))

    def _from_block(self, layer: int, stream: Tensor) -> Float[Tensor, "run class"]:
        return logits_from_block(self.model, layer, stream)
