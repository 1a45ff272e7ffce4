"""Changes of what single receivers read: receiver r reads its stream plus Σ D_u over the changed edges u → r.

D_u follows from the output of sender u in the same run. Ports that no changed edge enters keep the values of the fused
qkv, and parts before the first changed edge run as they are.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ...circuits import ComputationGraph
from ...errors import InputError
from ...models.heads import project
from ...models.patched_runs import port_receivers
from .edit import Changes, after, before


@dataclass
class _Run:
    """What an edited run has computed so far.

    Attributes:
        stream: the stream that the running block reads.
        sent: what determines D of each sender that has sent.
        step: number of hooks that have run.
    """

    stream: Tensor | None = None
    sent: dict[int, Tensor] = field(default_factory=dict)
    step: int = 0


@dataclass(frozen=True)
class _Input:
    """An input that some ports of a layer share: the senders of its edges, and the ports' places in `[q k v, head]`."""

    senders: list[int]
    port: np.ndarray
    head: np.ndarray


class EdgeChanges(Changes):
    """Changes on edges.

    Args:
        graph: graph with the edges.
        edges: flat indices of the changed edges.
    """

    def __init__(self, graph: ComputationGraph, edges: Int[np.ndarray, "edge"]) -> None:
        super().__init__()
        self.graph = graph
        senders, receivers = graph.edge_sender[edges], graph.edge_receiver[edges]
        self.senders: list[int] = np.unique(senders).tolist()
        self.sent_to = {int(r): sorted(senders[receivers == r].tolist()) for r in np.unique(receivers)}
        self.inputs = [self._inputs(layer) for layer in range(graph.n_layers)]
        self._run, self._steps = _Run(), 0

    @abstractmethod
    def of_heads(self, layer: int, senders: list[int], values: Float[Tensor, "image token heads"]) -> list[Tensor]:
        """Return what determines D of some heads of a layer, from their outputs before the output projection."""

    @abstractmethod
    def of_output(self, sender: int, values: Float[Tensor, "image token d_model"]) -> Tensor:
        """Return what determines D of `input` or of an MLP, from its output."""

    @abstractmethod
    def shift(self, senders: list[int], sent: list[Tensor]) -> Float[Tensor, "image token d_model"]:
        """Return Σ D of some senders."""

    def heads_of(self, layer: int) -> list[int]:
        """Return the senders of a layer's attention that changed edges leave."""
        return [sender for sender in self.graph.attention_senders(layer) if sender in self.senders]

    def _inputs(self, layer: int) -> list[_Input]:
        first, places = self.graph.attention_receivers(layer).start, port_receivers(self.graph)
        shared: dict[tuple[int, ...], list[int]] = {}
        for receiver in self.graph.attention_receivers(layer):
            if receiver in self.sent_to:
                shared.setdefault(tuple(self.sent_to[receiver]), []).append(receiver - first)
        return [_Input(list(s), *np.nonzero(np.isin(places, receivers))) for s, receivers in shared.items()]

    def hooks(self, module: Any) -> Iterator[RemovableHandle]:
        graph, step = self.graph, 0
        for layer, block in enumerate(module.blocks):
            heads, mlp = self.heads_of(layer), graph.mlp_sender(layer)
            if layer == 0 or self.inputs[layer]:
                yield before(block.norm1, self._stream, step, layer)
                step += 1
            if self.inputs[layer]:
                yield after(block.attn.qkv, self._ports, step, layer, block)
                step += 1
            if heads:
                yield before(block.attn.proj, self._heads, step, layer, heads)
                step += 1
            if graph.mlp_receiver(layer) in self.sent_to:
                yield before(block.norm2, self._read, step, graph.mlp_receiver(layer))
                step += 1
            if mlp in self.senders:
                yield after(block.ls2, self._mlp, step, mlp)
                step += 1
        if graph.logits_receiver in self.sent_to:
            yield before(module.norm, self._read, step, graph.logits_receiver)
            step += 1
        self._steps = step

    def _in_order(self, step: int) -> _Run:
        """Return the run whose next hook this is.

        Raises:
            InputError: another hook is next, so this is no whole forward pass.
        """
        run = _Run() if step == 0 else self._run
        if step != run.step:
            raise InputError(
                "expected a whole forward pass of the edited model, from block 0 on; runs that compute only a part, "
                "such as patched runs, cannot be edited at edges"
            )
        run.step += 1
        self._run = _Run() if run.step == self._steps else run  # nothing is kept after the last hook
        return run

    def _stream(self, step: int, layer: int, stream: Tensor) -> None:
        run = self._in_order(step)
        run.stream = stream
        if layer == 0 and 0 in self.senders:
            run.sent[0] = self.of_output(0, stream)

    def _heads(self, step: int, layer: int, heads: list[int], values: Tensor) -> None:
        run = self._in_order(step)
        for sender, sent in zip(heads, self.of_heads(layer, heads, values), strict=True):
            run.sent[sender] = sent

    def _mlp(self, step: int, sender: int, values: Tensor) -> None:
        self._in_order(step).sent[sender] = self.of_output(sender, values)

    def _read(self, step: int, receiver: int, stream: Tensor) -> Tensor:
        return self.chosen(self._moved(self._in_order(step), self.sent_to[receiver], stream), stream)

    def _moved(self, run: _Run, senders: list[int], stream: Tensor) -> Tensor:
        return (stream + self.shift(senders, [run.sent[sender] for sender in senders])).to(stream.dtype)

    def _ports(self, step: int, layer: int, block: Any, plain: Float[Tensor, "image token ports"]) -> Tensor:
        """Compute the ports that changed edges enter again."""
        run, attn = self._in_order(step), block.attn
        assert run.stream is not None
        ports = plain.unflatten(-1, (3, attn.num_heads, attn.head_dim)).clone()
        for shared in self.inputs[layer]:
            places = (shared.port, shared.head)
            normal = block.norm1.forward(self._moved(run, shared.senders, run.stream))
            ports[:, :, *places] = project(attn, normal, places)
        return self.chosen(ports.flatten(2), plain)
