"""Steering: subtract from senders' outputs what exceeds an offset along a direction.

    D[u,p] = −α · ReLU( ⟨o_u,p , v[u,p]⟩ − b[u,p] ) · v[u,p]

On edges, receiver r reads its stream plus Σ D_u over the edges u → r, and all other receivers read the stream. At
senders, the output becomes o_u + D_u, which every receiver reads. In both cases o_u is the output in the edited run.
With b = 0 this is Algorithm 1 of Vi-CD, arXiv 2604.14477; the offset from clean images is ours.

D of all images is never stored per sender: only its length along v is, one number per image and token. The shift of a
receiver is one matrix product per token over its senders. Ports that no edge enters keep the values of the fused qkv.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ...circuits.response import Intervention
from ...errors import InputError
from ...models import ViT
from ...models.heads import project
from ...models.patched_runs import port_receivers
from .chosen import EdgeChoice, checked_strength, chosen_edges, chosen_senders, hash_of, warn_if_other_images
from .directions import Directions, Readings
from .edit import Changes, Edit, after, before

Lengths = Float[Tensor, "image token sender"]


class Steering(Changes):
    """What steering at edges and at senders have in common: the lengths of D along the directions.

    Args:
        model: the model.
        directions: the directions.
        senders: the steered senders, in order.
        strength: α.
    """

    vectors: Tensor
    offsets: Tensor

    def __init__(self, model: ViT, directions: Directions, senders: Sequence[int], strength: int | float) -> None:
        super().__init__()
        self.graph, self.senders, self.strength = directions.graph, tuple(senders), strength
        chosen = torch.from_numpy(directions.vectors).to(model.device, model.exact_dtype)
        readings, rows = Readings(model, self.graph, chosen), list(self.senders)
        self.register_buffer("vectors", chosen[rows].transpose(0, 1).contiguous())  # token sender d_model
        offsets = torch.from_numpy(directions.offsets[rows]).to(chosen)
        self.register_buffer("offsets", offsets.T.contiguous())  # token sender
        self.place = {sender: place for place, sender in enumerate(self.senders)}
        for layer in range(model.n_layers):
            if heads := self.heads_of(layer):
                self.register_buffer(f"reading{layer}", readings.of_heads(layer, heads).transpose(0, 1).contiguous())

    def heads_of(self, layer: int) -> list[int]:
        """Return the steered senders of a layer's attention."""
        return [sender for sender in self.graph.attention_senders(layer) if sender in self.place]

    def of_heads(self, layer: int, values: Float[Tensor, "image token heads"]) -> Lengths:
        """Return the lengths of the heads, from their outputs before the output projection."""
        heads, reading = self.heads_of(layer), getattr(self, f"reading{layer}")
        split = values.to(reading.dtype).unflatten(-1, (len(self.graph.attention_senders(layer)), -1))
        first = self.graph.attention_senders(layer).start
        found = (split[:, :, _index([head - first for head in heads])] * reading).sum(-1)
        return self._excess(found, heads)

    def of_output(self, sender: int, values: Float[Tensor, "image token d_model"]) -> Lengths:
        """Return the length of `input` or of an MLP, from its output."""
        found = (values.to(self.vectors.dtype) * self.vectors[:, self.place[sender]]).sum(-1, keepdim=True)
        return self._excess(found, [sender])

    def _excess(self, found: Lengths, senders: list[int]) -> Lengths:
        places = _index([self.place[sender] for sender in senders])
        return -self.strength * torch.relu(found - self.offsets[:, places])

    def shifted(self, stream: Float[Tensor, "image token d_model"], lengths: Lengths, senders: list[int]) -> Tensor:
        """Return the stream plus D of the senders that the columns of `lengths` are of."""
        vectors = self.vectors[:, _index([self.place[sender] for sender in senders])]
        moved = torch.bmm(lengths.transpose(0, 1), vectors).transpose(0, 1)
        return (stream + moved).to(stream.dtype)


def _index(places: list[int]) -> slice | list[int]:
    """Return consecutive places as a slice, which copies nothing."""
    return slice(places[0], places[-1] + 1) if places == list(range(places[0], places[-1] + 1)) else places


class SenderSteering(Steering):
    """Steering of senders' outputs. The output of a layer's heads changes after their output projection."""

    def hooks(self, module: Any) -> Iterator[RemovableHandle]:
        if self.strength == 0:
            return
        self._running: Tensor | None = None
        if 0 in self.place:
            yield before(module.blocks[0], self._output, 0)
        for layer, block in enumerate(module.blocks):
            if self.heads_of(layer):
                yield before(block.attn.proj, self._heads, layer)
                yield after(block.ls1, self._attention, layer)
            if (mlp := self.graph.mlp_sender(layer)) in self.place:
                yield after(block.ls2, self._output, mlp)

    def _output(self, sender: int, values: Tensor) -> Tensor:
        return self.chosen(self.shifted(values, self.of_output(sender, values), [sender]), values)

    def _heads(self, layer: int, values: Tensor) -> None:
        self._running = self.of_heads(layer, values)

    def _attention(self, layer: int, values: Tensor) -> Tensor:
        lengths, self._running = self._running, None
        assert lengths is not None
        return self.chosen(self.shifted(values, lengths, self.heads_of(layer)), values)


@dataclass
class _Run:
    """What an edited run has computed so far.

    Attributes:
        stream: the stream that the running block reads.
        lengths: of the senders that have sent, in order.
        step: number of hooks that have run.
    """

    stream: Tensor | None = None
    lengths: list[Tensor] = field(default_factory=list)
    step: int = 0


class EdgeSteering(Steering):
    """Steering of what single receivers read.

    Args:
        model: the model.
        directions: the directions.
        edges: flat indices of the steered edges.
        strength: α.
    """

    def __init__(self, model: ViT, directions: Directions, edges: np.ndarray, strength: int | float) -> None:
        graph = directions.graph
        senders, receivers = graph.edge_sender[edges], graph.edge_receiver[edges]
        super().__init__(model, directions, np.unique(senders).tolist(), strength)
        self.sent_to = {int(r): sorted(senders[receivers == r].tolist()) for r in np.unique(receivers)}
        self.ports = port_receivers(graph)
        self._run, self._steps = _Run(), 0

    def hooks(self, module: Any) -> Iterator[RemovableHandle]:
        if self.strength == 0:
            return
        graph, step = self.graph, 0
        for layer, block in enumerate(module.blocks):
            attention = [r for r in graph.attention_receivers(layer) if r in self.sent_to]
            if layer == 0 or attention:
                yield before(block.norm1, self._attention_input, step, layer)
                step += 1
            if attention:
                yield after(block.attn.qkv, self._attention, step, layer, block)
                step += 1
            if self.heads_of(layer):
                yield before(block.attn.proj, self._heads, step, layer)
                step += 1
            if graph.mlp_receiver(layer) in self.sent_to:
                yield before(block.norm2, self._stream, step, graph.mlp_receiver(layer))
                step += 1
            if (mlp := graph.mlp_sender(layer)) in self.place:
                yield after(block.ls2, self._mlp, step, mlp)
                step += 1
        if graph.logits_receiver in self.sent_to:
            yield before(module.norm, self._stream, step, graph.logits_receiver)
            step += 1
        self._steps = step

    def _in_order(self, step: int) -> _Run:
        """Return the run whose next hook this is."""
        run = _Run() if step == 0 else self._run
        if step != run.step:
            raise InputError(
                "expected a whole forward pass of the edited model, from block 0 on; runs that compute only a part, "
                "such as patched runs, cannot be edited at edges"
            )
        run.step += 1
        self._run = _Run() if run.step == self._steps else run  # nothing is kept after the last hook
        return run

    def _attention_input(self, step: int, layer: int, stream: Tensor) -> None:
        run = self._in_order(step)
        run.stream = stream
        if layer == 0 and 0 in self.place:
            run.lengths.append(self.of_output(0, stream))

    def _heads(self, step: int, layer: int, values: Tensor) -> None:
        self._in_order(step).lengths.append(self.of_heads(layer, values))

    def _mlp(self, step: int, sender: int, values: Tensor) -> None:
        self._in_order(step).lengths.append(self.of_output(sender, values))

    def _stream(self, step: int, receiver: int, stream: Tensor) -> Tensor:
        run = self._in_order(step)
        return self.chosen(self._read(run, self.sent_to[receiver], stream), stream)

    def _read(self, run: _Run, senders: list[int], stream: Tensor) -> Tensor:
        """Return what a receiver with edges from these senders reads."""
        lengths = torch.cat(run.lengths, dim=2)
        return self.shifted(stream, lengths[:, :, _index([self.place[sender] for sender in senders])], senders)

    def _attention(self, step: int, layer: int, block: Any, plain: Float[Tensor, "image token ports"]) -> Tensor:
        """Compute the ports that steered edges enter again; receivers of the same senders share one input."""
        run, attn = self._in_order(step), block.attn
        assert run.stream is not None
        ports = plain.unflatten(-1, (3, attn.num_heads, attn.head_dim)).clone()
        for senders, (port, head) in self._inputs(layer):
            normal = block.norm1.forward(self._read(run, senders, run.stream))
            ports[:, :, port, head] = project(attn, normal, (port, head))
        return self.chosen(ports.flatten(2), plain)

    def _inputs(self, layer: int) -> Iterator[tuple[list[int], tuple[np.ndarray, np.ndarray]]]:
        """Yield each set of senders that some receivers of a layer's attention share, and the ports of these."""
        first, shared = self.graph.attention_receivers(layer).start, dict[tuple[int, ...], list[int]]()
        for receiver in self.graph.attention_receivers(layer):
            if receiver in self.sent_to:
                shared.setdefault(tuple(self.sent_to[receiver]), []).append(receiver - first)
        for senders, receivers in shared.items():
            port, head = np.nonzero(np.isin(self.ports, receivers))
            yield list(senders), (port, head)


@dataclass(frozen=True, eq=False, repr=False)
class SteeredEdges(Edit):
    """Steering on edges; created by `steer_edges`."""

    directions: Directions
    edges: tuple[str, ...]
    strength: float

    @property
    def intervention(self) -> Intervention:
        return _identity("steer-edges", self, "edges", self.edges)

    @property
    def text(self) -> str:
        return f"steer {len(self.edges)} edges, strength {self.strength:g}, offset {self.directions.offset}"

    def changes(self, model: ViT) -> Changes:
        self.directions.check_fit(model)
        indices = np.array([self.directions.graph.index_of(name) for name in self.edges])
        return EdgeSteering(model, self.directions, indices, self.strength)


@dataclass(frozen=True, eq=False, repr=False)
class SteeredSenders(Edit):
    """Steering at senders; created by `steer_senders`."""

    directions: Directions
    senders: tuple[str, ...]
    strength: float

    @property
    def intervention(self) -> Intervention:
        return _identity("steer-senders", self, "senders", self.senders)

    @property
    def text(self) -> str:
        return f"steer {len(self.senders)} senders, strength {self.strength:g}, offset {self.directions.offset}"

    def changes(self, model: ViT) -> Changes:
        self.directions.check_fit(model)
        return SenderSteering(
            model, self.directions, chosen_senders(self.directions.graph, self.senders), self.strength
        )


def _identity(kind: str, edit: SteeredEdges | SteeredSenders, what: str, names: Sequence[str]) -> Intervention:
    hashes = {"directions": edit.directions.sha256, what: hash_of(names)}
    return Intervention.of(kind, {**hashes, "n": len(names), "strength": edit.strength})


def steer_edges(
    directions: Directions, edges: EdgeChoice, strength: int | float = 1.0, *, found_on: Sequence[str] = ()
) -> SteeredEdges:
    """Return the edit that subtracts what exceeds the offset along each direction, on the given edges only.

    Args:
        directions: what `fit_directions` returns.
        edges: a circuit, a stored circuit, or names of edges, of the form of the directions.
        strength: α, at least 0; 1 removes exactly the excess, 0 changes nothing.
        found_on: hashes of the images that the edges were found on, if known. Warns if the directions were fitted on
            other images.

    Raises:
        InputError: no edges, edges of another form or model, or a strength that is negative or not finite.

    Examples:
        >>> edit = steer_edges(cs.fit_directions(model, pairs), circuit, strength=2)
        >>> edit
        SteeredEdges(steer 48 edges, strength 2, offset quantile(0.95), model ...)
        >>> with edit.applied(model):
        ...     logits = model.logits(pairs.corrupted)
        >>> logits.shape
        torch.Size([8, 10])
    """
    indices = chosen_edges(directions.graph, directions.model, edges)
    warn_if_other_images(directions.images, found_on)
    names = tuple(directions.graph.edge_names[i] for i in indices)
    return SteeredEdges(directions.model, directions, names, checked_strength(strength))


def steer_senders(
    directions: Directions, senders: Sequence[str] | None = None, strength: int | float = 1.0
) -> SteeredSenders:
    """Return the edit that subtracts what exceeds the offset along each direction, from senders' outputs.

    Every receiver reads the steered output, so this equals steering on all edges of these senders, and is faster.

    Args:
        directions: what `fit_directions` returns.
        senders: names of senders; all by default.
        strength: α, at least 0; with 1 no projection exceeds its offset, 0 changes nothing.

    Raises:
        InputError: no senders, an unknown one, or a strength that is negative or not finite.

    Examples:
        >>> edit = steer_senders(cs.fit_directions(model, pairs), ["a0.h1", "m0"])
        >>> edit.intervention.kind
        'steer-senders'
        >>> edit.wrapped(model)(pairs.corrupted).shape
        torch.Size([8, 10])
    """
    graph = directions.graph
    names = tuple(graph.senders[sender] for sender in chosen_senders(graph, senders))
    return SteeredSenders(directions.model, directions, names, checked_strength(strength))
