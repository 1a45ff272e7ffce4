"""Patched runs: each edge carries the current, the clean or the corrupted value.

Receiver v reads `stream'_v + Σ_u (value_u − u')` over its upstream senders, where stream' and u' come from the
corrupted run and value_u is what the edge carries: the sender's output in this run (current), in the clean run, or u'
itself, which adds nothing. Constants such as the attention's output bias are in stream'. Only differences from the
corrupted run are computed: receivers with the same open edges share one input, and parts that no open edge reaches are
skipped, unless the corrupted run has constant senders: then they differ from their constants without any open edge.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ..circuits import ComputationGraph
from ..errors import InputError
from .heads import attend, project
from .vit import ViT, installed

CORRUPTED, CURRENT, CLEAN = 0, 1, 2
"""What an edge carries. As booleans: closed edges carry the corrupted value, open edges the current one."""


@dataclass(frozen=True)
class Activations:
    """Everything that senders and receivers of one plain run send and receive; lists are per layer.

    Attributes:
        stream: output of `input`, which enters block 0.
        attention_in: input of norm1.
        ports: output of qkv.
        heads: heads' outputs before the output projection, concatenated.
        mlp_in: input of norm2.
        mlp_out: output of the MLP, LayerScale included.
        final: output of the last block.
        logits: logits of the run.
        constant: senders send constants instead of what they compute from what they read, see `constants`.
    """

    stream: Float[Tensor, "image token d_model"]
    attention_in: list[Float[Tensor, "image token d_model"]]
    ports: list[Float[Tensor, "image token ports"]]
    heads: list[Float[Tensor, "image token heads"]]
    mlp_in: list[Float[Tensor, "image token d_model"]]
    mlp_out: list[Float[Tensor, "image token d_model"]]
    final: Float[Tensor, "image token d_model"]
    logits: Float[Tensor, "image class"]
    constant: bool


@torch.no_grad()
def capture(model: ViT, images: Float[Tensor, "image channel height width"]) -> Activations:
    """Run the plain model and return what every receiver reads and every sender writes.

    Examples:
        >>> run = capture(model, pairs.clean)
        >>> run.logits.shape, len(run.heads)
        (torch.Size([8, 10]), 4)
    """
    return captured(model, model.embed(images))


@torch.no_grad()
def captured(model: ViT, stream: Float[Tensor, "image token d_model"]) -> Activations:
    """Run the plain model from a stream, and return the same as `capture`."""
    kept: dict[str, list[Tensor]] = defaultdict(list)

    def hooks(block: Any) -> Iterator[RemovableHandle]:
        yield block.norm1.register_forward_pre_hook(lambda _, args: kept["attention_in"].append(args[0]))
        yield block.attn.qkv.register_forward_hook(lambda _, __, out: kept["ports"].append(out))
        yield block.attn.proj.register_forward_pre_hook(lambda _, args: kept["heads"].append(args[0]))
        yield block.norm2.register_forward_pre_hook(lambda _, args: kept["mlp_in"].append(args[0]))
        yield block.ls2.register_forward_hook(lambda _, __, out: kept["mlp_out"].append(out))

    with installed(*(hook for block in model.blocks for hook in hooks(block))):
        final = model.through_blocks(stream)
    return Activations(stream=stream, final=final, logits=model.readout(final), constant=False, **kept)


class PatchedRuns:
    """Patched runs of one model on one batch, with one corrupted run; they share buffers.

    Args:
        model: the model.
        stream: what `input` sends in these runs: the clean stream for noising, the corrupted one for denoising.
        corrupted: the run whose values closed edges carry.
        clean: the run whose values CLEAN edges carry; required if there are any.
    """

    def __init__(
        self,
        model: ViT,
        stream: Float[Tensor, "image token d_model"],
        corrupted: Activations,
        clean: Activations | None = None,
    ) -> None:
        self.model, self.stream, self.corrupted, self.clean = model, stream, corrupted, clean
        self._buffers: dict[str, Tensor] = {}

    @torch.no_grad()
    def logits(
        self, graph: ComputationGraph, carries: Int[np.ndarray, "edge"] | Bool[np.ndarray, "edge"]
    ) -> Float[Tensor, "image class"]:
        """Return the logits of the run in which each edge carries the given value.

        Args:
            graph: graph with the edges.
            carries: CORRUPTED, CURRENT or CLEAN per edge, in flat edge order; booleans mean closed and open.

        Raises:
            InputError: `carries` does not fit the graph, or there are CLEAN edges but no clean run.
        """
        if len(carries) != graph.n_edges:
            raise InputError(
                f"carries: expected one value per edge of the {graph.form} form ({graph.n_edges}), got {len(carries)}"
            )
        return _Patched(self, graph, graph.to_matrix(np.asarray(carries, np.int8))).run()

    def rows(self, name: str, count: int) -> Float[Tensor, "row image token d_model"]:
        """Return the first rows of a named buffer, which grows as needed and is never cleared."""
        if name not in self._buffers or len(self._buffers[name]) < count:
            shape = (count, *self.stream.shape)
            self._buffers[name] = torch.empty(shape, dtype=self.model.exact_dtype, device=self.stream.device)
        return self._buffers[name][:count]


class _Patched:
    """One run, as a growing list of differences from the corrupted run, one per sender that differs."""

    def __init__(self, runs: PatchedRuns, graph: ComputationGraph, carried: Int[np.ndarray, "sender receiver"]) -> None:
        self.runs, self.model, self.graph, self.corrupted = runs, runs.model, graph, runs.corrupted
        self.current, cached = carried == CURRENT, carried == CLEAN
        self.port_receiver = port_receivers(graph)
        from_clean = np.flatnonzero(cached.any(axis=1))
        if len(from_clean) and runs.clean is None:
            raise InputError("carries: some edges carry the clean value, but there is no clean run; pass clean=")
        self.gates = [cached[sender] for sender in from_clean]  # per difference, which receivers read it
        self.differences = runs.rows("differences", len(from_clean) + int(self.current.any(axis=1).sum()))
        for row, sender in enumerate(from_clean):
            assert runs.clean is not None
            self.differences[row] = self._cached(runs.clean, int(sender))

    def run(self) -> Tensor:
        if self.current[0].any():
            self._rows([0])[0] = self._minus(self.runs.stream, self.corrupted.stream)
        for layer in range(self.graph.n_layers):
            self._attention(layer)
            self._mlp(layer)
        final = self._inputs(
            self._columns(range(self.graph.logits_receiver, self.graph.n_receivers)), self.corrupted.final
        )
        return self.model.readout(final[0])

    def _cached(self, run: Activations, sender: int) -> Tensor:
        """Return a sender's difference between a cached run and the corrupted one."""
        layer, part = self.graph.sender_place(sender)
        if layer is None:
            return self._minus(run.stream, self.corrupted.stream)
        if part is None:
            return self._minus(run.mlp_out[layer], self.corrupted.mlp_out[layer])
        heads, writing = self._minus(run.heads[layer], self.corrupted.heads[layer]), self.model.writings[layer]
        if self.graph.form == "block":
            return heads @ writing.flatten(0, 1)
        return heads.unflatten(-1, writing.shape[:2])[..., part, :] @ writing[part]

    def _minus(self, value: Tensor, reference: Tensor) -> Tensor:
        return value.to(self.differences.dtype) - reference.to(self.differences.dtype)

    def _rows(self, senders: list[int]) -> Tensor:
        """Return the buffer's next rows and register the senders whose differences they hold."""
        first = len(self.gates)
        self.gates += [self.current[sender] for sender in senders]
        return self.differences[first : len(self.gates)]

    def _columns(self, receivers: range) -> Bool[np.ndarray, "receiver row"]:
        """Return which rows of the buffer each of consecutive receivers reads."""
        gates = [gate[receivers.start : receivers.stop] for gate in self.gates]
        return np.stack(gates, axis=1) if gates else np.zeros((len(receivers), 0), bool)

    def _inputs(self, columns: np.ndarray, stream: Tensor) -> Float[Tensor, "receiver image token d_model"]:
        """Return the inputs of receivers with these columns: the corrupted stream plus one matrix product."""
        mask = torch.from_numpy(columns).to(self.differences)
        moved = self.runs.rows("inputs", len(columns))
        torch.mm(mask, self.differences[: columns.shape[1]].flatten(1), out=moved.flatten(1))
        return moved.add_(stream).to(stream.dtype)

    def _recomputed(self, reached: Any) -> Any:
        """Return which parts differ from the corrupted run, given which ones an open edge reaches."""
        return np.asarray(reached) | self.corrupted.constant

    def _mlp(self, layer: int) -> None:
        sender, receiver = self.graph.mlp_sender(layer), self.graph.mlp_receiver(layer)
        columns = self._columns(range(receiver, receiver + 1))
        if not (self._recomputed(columns.any()) and self.current[sender].any()):
            return
        block = self.model.blocks[layer]
        read = self._inputs(columns, self.corrupted.mlp_in[layer])[0]
        self._rows([sender])[0] = self._minus(block.ls2(block.mlp(block.norm2(read))), self.corrupted.mlp_out[layer])

    def _attention(self, layer: int) -> None:
        """Run the heads with an open edge into them and out of them."""
        columns = self._columns(self.graph.attention_receivers(layer))
        sender = np.resize(
            self.graph.attention_senders(layer), self.model.n_heads
        )  # in the block form they are one sender
        reads = self._recomputed(columns.any(axis=1))[self.port_receiver].any(axis=0)
        heads = np.flatnonzero(reads & self.current[sender].any(axis=1))
        if not len(heads):
            return
        moved = self._attend(layer, heads, self._ports(layer, heads, columns))
        writing = self.model.writings[layer][heads]
        if self.graph.form == "block":
            self._rows([int(sender[0])])[0] = torch.einsum("hbtk,hkd->btd", moved, writing)
        else:
            torch.bmm(moved.flatten(1, 2), writing, out=self._rows(sender[heads].tolist()).flatten(1, 2))

    def _ports(self, layer: int, heads: np.ndarray, columns: np.ndarray) -> Float[Tensor, "image token 3 head d_head"]:
        """Return q, k and v of some heads, recomputed for those that an open edge reaches."""
        block, model = self.model.blocks[layer], self.model
        ports = self.corrupted.ports[layer].unflatten(-1, (3, model.n_heads, model.d_head))[:, :, :, heads]
        receiver = self.port_receiver[:, heads]
        distinct, which = np.unique(columns[receiver.ravel()], axis=0, return_inverse=True)
        inputs = self._inputs(distinct, self.corrupted.attention_in[layer])
        for index, read in enumerate(inputs):
            if not distinct[index].any():
                continue
            port, head = np.nonzero(which.reshape(receiver.shape) == index)
            ports[:, :, port, head] = project(block.attn, block.norm1(read), (port, heads[head]))
        return ports

    def _attend(self, layer: int, heads: np.ndarray, ports: Tensor) -> Float[Tensor, "head image token d_head"]:
        """Return the differences of the heads' outputs, before the output projection."""
        attn = self.model.blocks[layer].attn
        q, k, v = ports.permute(2, 0, 3, 1, 4)  # image head token d_head
        out = attend(attn, q, k, v, heads)
        old = self.corrupted.heads[layer].unflatten(-1, (self.model.n_heads, -1))[:, :, heads]
        return self._minus(out.transpose(0, 1), old.permute(2, 0, 1, 3)).contiguous()


def port_receivers(graph: ComputationGraph) -> Int[np.ndarray, "3 head"]:
    """Return the receiver of each port of each head, counted from the layer's first receiver."""
    heads = np.arange(graph.n_heads)
    match graph.form:
        case "split":
            return heads + graph.n_heads * np.arange(3)[:, None]
        case "head":
            return np.tile(heads, (3, 1))
        case _:
            return np.zeros((3, graph.n_heads), int)
