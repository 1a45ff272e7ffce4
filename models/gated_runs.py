"""Gated runs: every edge carries a mixture of the current and the corrupted value, differentiable in its gate.

With a gate g_e in [0, 1] on each edge, receiver v reads `stream'_v + Σ_u g_uv (o_u − o'_u)`, where o_u is the sender's
output in this run and primes denote the corrupted run. All gates 1 give the plain run of the clean images, all gates 0
the corrupted run, and gates of 0 and 1 the patched run of a circuit. The derivative at all gates 1 is EAP.

The inputs of a layer's receivers are computed together. In operations this adds a third of a forward on ViT-B's `split`
form. Measured on a CPU, a gated forward and backward takes 2.0 times a plain one on ViT-S's `attention` form, and 4.2
times on `split`, where each of a layer's 18 inputs is mixed and normalised.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..circuits import ComputationGraph
from ..errors import InputError
from .heads import attend
from .patched_runs import Activations
from .vit import ViT


class GatedRuns:
    """Gated runs of one model on one batch, with one corrupted run.

    Args:
        model: the model.
        graph: graph whose edges have gates.
        stream: what `input` sends: the clean stream.
        corrupted: the run whose values closed edges carry.
    """

    def __init__(
        self,
        model: ViT,
        graph: ComputationGraph,
        stream: Float[Tensor, "image token d_model"],
        corrupted: Activations,
    ) -> None:
        self.model, self.graph, self.corrupted = model, graph, corrupted
        self.moved = stream.to(model.exact_dtype) - corrupted.stream.to(model.exact_dtype)

    def logits(self, gates: Float[Tensor, "edge"] | Float[Tensor, "image edge"]) -> Float[Tensor, "image class"]:
        """Return the logits of the gated run; differentiable in `gates` if gradients are enabled.

        Args:
            gates: gates in flat edge order, for all images or one row per image.

        Raises:
            InputError: not one gate per edge, or neither one row nor one per image.
        """
        images, n_edges = len(self.moved), self.graph.n_edges
        if gates.shape[-1] != n_edges or (gates.ndim == 2 and len(gates) != images):
            raise InputError(
                f"gates: expected one per edge of the {self.graph.form} form ({n_edges}), for all images or each of "
                f"{images}, got {tuple(gates.shape)}"
            )
        gates = gates.to(dtype=self.moved.dtype, device=self.moved.device)
        return _Gated(self, gates.expand(images, n_edges)).run()


class _Gated:
    """One run, as a growing list of the senders' differences from the corrupted run."""

    def __init__(self, runs: GatedRuns, gates: Float[Tensor, "image edge"]) -> None:
        self.model, self.graph, self.corrupted, self.gates = runs.model, runs.graph, runs.corrupted, gates
        self.parts = [runs.moved.flatten(1)[:, None]]  # each image sender token·d_model

    def run(self) -> Tensor:
        for layer in range(self.graph.n_layers):
            self._attention(layer)
            self._mlp(layer)
        return self.model.readout(self._inputs(self.graph.logits_receiver, 1, self.corrupted.final)[:, 0])

    def _inputs(self, first: int, count: int, stream: Tensor) -> Float[Tensor, "image receiver token d_model"]:
        """Return the inputs of `count` receivers from `first` on, given the corrupted `stream`."""
        lo, hi = (int(self.graph.offsets[receiver]) for receiver in (first, first + count))
        gates = self.gates[:, lo:hi].unflatten(1, (count, -1))
        moved, start = gates.new_zeros(()), 0
        for part in self.parts:
            stop = start + part.shape[1]
            moved = torch.baddbmm(moved, gates[:, :, start:stop], part)
            start = stop
        return (stream[:, None] + moved.unflatten(-1, stream.shape[1:])).to(stream.dtype)

    def _mlp(self, layer: int) -> None:
        block = self.model.blocks[layer]
        read = self._inputs(self.graph.mlp_receiver(layer), 1, self.corrupted.mlp_in[layer])[:, 0]
        written = block.ls2(block.mlp(block.norm2(read))).to(self.gates.dtype)
        self.parts.append((written - self.corrupted.mlp_out[layer].to(self.gates.dtype)).flatten(1)[:, None])

    def _attention(self, layer: int) -> None:
        q, k, v = self._ports(layer).unbind(0)
        out = attend(self.model.blocks[layer].attn, q, k, v)
        old = self.corrupted.heads[layer].unflatten(-1, (self.model.n_heads, -1)).transpose(1, 2)
        moved, writing = out.to(self.gates.dtype) - old.to(self.gates.dtype), self.model.writings[layer]
        if self.graph.form == "block":
            written = torch.einsum("bhtk,hkd->btd", moved, writing)[:, None]
        else:
            written = moved @ writing
        self.parts.append(written.flatten(2))

    def _ports(self, layer: int) -> Float[Tensor, "3 image head token d_head"]:
        """Return q, k and v of every head, each computed from its own input."""
        block: Any = self.model.blocks[layer]
        receivers = self.graph.attention_receivers(layer)
        inputs = self._inputs(receivers.start, len(receivers), self.corrupted.attention_in[layer])
        read, qkv, shape = block.norm1(inputs), block.attn.qkv, (3, self.model.n_heads, self.model.d_head)
        if read.shape[1] == 1:
            return qkv(read[:, 0]).unflatten(-1, shape).permute(2, 0, 3, 1, 4)
        weight = qkv.weight.unflatten(0, shape)
        if self.graph.form == "split":
            ports = torch.einsum("bphtd,phkd->pbhtk", read.unflatten(1, shape[:2]), weight)
        else:
            ports = torch.einsum("bhtd,phkd->pbhtk", read, weight)
        if qkv.bias is not None:
            ports = ports + qkv.bias.unflatten(0, shape)[:, None, :, None]
        return ports
