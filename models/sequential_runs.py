"""Runs for methods that decide a circuit receiver by receiver, from `logits` backwards.

A receiver that is not decided yet reads every sender's clean output. Everything before the receiver in question is
therefore the clean run, and only what follows it is computed, as differences from the current run, in which all later
receivers are decided. Heads and MLPs without a changed input or without a path to `logits` are skipped, and so are
tokens that nothing reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..circuits import ComputationGraph
from .heads import attend, project
from .patched_runs import Activations, port_receivers
from .receiver_runs import tokens_read
from .vit import ViT


class SequentialRuns:
    """The current run of one batch, and the runs in which a receiver loses senders.

    Args:
        model: the model.
        graph: graph with the edges.
        clean: the run in which all edges are open, which is the first current run.
        corrupted: the run whose values closed edges carry.

    Attributes:
        logits: logits of the current run.
    """

    def __init__(self, model: ViT, graph: ComputationGraph, clean: Activations, corrupted: Activations) -> None:
        self.model, self.graph = model, graph
        self.port_receiver = port_receivers(graph)
        self.read = slice(0, tokens_read(model))
        self.open = graph.to_matrix(np.ones(graph.n_edges, bool))
        self.live = np.zeros(graph.n_senders, bool)  # on an open path to logits
        self.whole = np.zeros(graph.n_senders, bool)  # read at all tokens
        self.inputs = [*self._inputs_of(clean), clean.final]
        self.ports, self.heads, self.mlps = list(clean.ports), list(clean.heads), list(clean.mlp_out)
        self.logits = clean.logits
        self._lost = _Lost(self, clean, corrupted)
        self._closed: Tensor | None = None
        self._memory: dict[bool, Tensor] = {}

    def _inputs_of(self, run: Activations) -> list[Tensor]:
        return [
            stream
            for layer, (attention, mlp) in enumerate(zip(run.attention_in, run.mlp_in, strict=True))
            for stream in (*[attention] * len(self.graph.attention_receivers(layer)), mlp)
        ]

    @cached_property
    def head_senders(self) -> Int[np.ndarray, "layer head"]:
        """The sender that each head belongs to."""
        layers = map(self.graph.attention_senders, range(self.graph.n_layers))
        return np.stack(
            [np.resize(senders, self.graph.n_heads) for senders in layers]
        )  # in the block form they are one sender

    def matters(self, receiver: int) -> bool:
        """Return whether the receiver has a path to `logits`; all later receivers must be settled."""
        layer, part = self.graph.receiver_place(receiver)
        if layer is None:
            return True
        if part is None:
            return bool(self.live[self.graph.mlp_sender(layer)])
        return bool(self.live[self.head_senders[layer]][(self.port_receiver == part).any(axis=0)].any())

    def reads_whole(self, receiver: int) -> bool:
        """Return whether the receiver matters at all tokens, or only at those that the read-out reads."""
        layer, part = self.graph.receiver_place(receiver)
        if self.read.stop is None:
            return True
        if layer is None:
            return False
        if part is None:
            return bool(self.whole[self.graph.mlp_sender(layer)])
        reads = self.port_receiver == part
        if reads[1:].any():  # heads mix keys and values of all tokens; a query matters where its head's output does
            return True
        return bool(self.whole[self.head_senders[layer]][reads[0]].any())

    def tokens(self, whole: bool) -> slice:
        return slice(None) if whole else self.read

    @torch.no_grad()
    def without(self, receiver: int, senders: Sequence[int], stay: Sequence[bool]) -> Float[Tensor, "row image class"]:
        """Return the logits of runs in which the receiver loses one sender, in addition to those lost by `close`.

        Args:
            receiver: the receiver; all later receivers are settled, and no earlier one.
            senders: the sender lost in each run.
            stay: whether the sender stays lost in the following runs.
        """
        rows, lost = [], self._closed
        for sender, stays in zip(senders, stay, strict=True):
            rows.append(self._losing(lost, receiver, sender))
            lost = rows[-1] if stays else lost
        return _Run(self, receiver, torch.stack(rows)).logits()

    @torch.no_grad()
    def close(self, receiver: int, sender: int) -> None:
        """Close an edge to the receiver, the next to be settled, for good."""
        self.open[sender, receiver] = False
        if self.matters(receiver):
            self._closed = self._losing(self._closed, receiver, sender)

    def _losing(self, lost: Tensor | None, receiver: int, sender: int) -> Float[Tensor, "image token d_model"]:
        change = self._lost.by(sender, self.tokens(self.reads_whole(receiver)))
        return -change if lost is None else lost - change

    @torch.no_grad()
    def settle(self, receiver: int) -> None:
        """Finish a receiver: its run becomes the current one, and the receiver before it is next."""
        if self._closed is not None:
            run = _Run(self, receiver, self._closed[None], keep=True)
            self.logits = run.logits()[0]
            self._closed = None
        if self.matters(receiver):
            self.live |= self.open[:, receiver]
            if self.reads_whole(receiver):
                self.whole |= self.open[:, receiver]

    def memory(self, whole: bool, shape: tuple[int, ...]) -> Tensor:
        """Return a buffer of this shape; the next run reuses its memory."""
        size = int(np.prod(shape))
        if whole not in self._memory or self._memory[whole].numel() < size:
            self._memory[whole] = torch.empty(size, dtype=self.model.exact_dtype, device=self.logits.device)
        return self._memory[whole][:size].view(shape)


class _Lost:
    """Clean minus corrupted outputs of senders: what a receiver loses when an edge is closed."""

    def __init__(self, runs: SequentialRuns, clean: Activations, corrupted: Activations) -> None:
        dtype = runs.model.exact_dtype

        def minus(new: Tensor, old: Tensor) -> Tensor:
            return new.to(dtype) - old.to(dtype)

        self.runs = runs
        self.stream = minus(clean.stream, corrupted.stream)
        self.heads = [minus(*pair) for pair in zip(clean.heads, corrupted.heads, strict=True)]
        self.mlps = [minus(*pair) for pair in zip(clean.mlp_out, corrupted.mlp_out, strict=True)]

    def by(self, sender: int, tokens: slice) -> Float[Tensor, "image token d_model"]:
        layer, part = self.runs.graph.sender_place(sender)
        if layer is None:
            return self.stream[:, tokens]
        if part is None:
            return self.mlps[layer][:, tokens]
        heads, writing = self.heads[layer][:, tokens], self.runs.model.writings[layer]
        if self.runs.graph.form == "block":
            return heads @ writing.flatten(0, 1)
        return heads.unflatten(-1, writing.shape[:2])[..., part, :] @ writing[part]


class _Run:
    """One pass over what follows a receiver, as a growing list of differences from the current run, row by row.

    Differences at all tokens and differences at the tokens that are read out have separate buffers.
    """

    def __init__(
        self,
        runs: SequentialRuns,
        receiver: int,
        shifts: Float[Tensor, "row image token d_model"],
        *,
        keep: bool = False,
    ) -> None:
        """With `keep`, make the only row the current run."""
        self.runs, self.model, self.receiver, self.shifts, self.keep = runs, runs.model, receiver, shifts, keep
        self.rows = len(shifts)
        self.senders: dict[bool, list[int]] = {True: [], False: []}
        behind = runs.graph.sender_depth >= runs.graph.receiver_depth[receiver]
        self.buffers = {w: self._buffer(w, int((behind & runs.live & (runs.whole == w)).sum())) for w in (True, False)}
        self.normal: dict[int, Tensor] = {}

    def _buffer(self, whole: bool, senders: int) -> Float[Tensor, "sender row image token d_model"]:
        images, tokens, width = self.runs.inputs[-1].shape
        tokens = tokens if whole else self.runs.read.stop or tokens
        return self.runs.memory(whole, (senders, self.rows, images, tokens, width))

    def logits(self) -> Float[Tensor, "row image class"]:
        graph = self.runs.graph
        first = graph.receiver_place(self.receiver).layer
        for layer in range(graph.n_layers if first is None else first, graph.n_layers):
            self._attention(layer)
            self._mlp(layer)
        last = graph.logits_receiver
        if not self._changed(last):
            return self.runs.logits.expand(self.rows, *self.runs.logits.shape)
        return self.model.readout(self._input(last)).unflatten(0, (self.rows, -1))

    def _changed(self, receiver: int) -> bool:
        moved = [*self.senders[True], *self.senders[False]]
        return receiver == self.receiver or bool(self.runs.open[moved, receiver].any())

    def _input(self, receiver: int) -> Float[Tensor, "run token d_model"]:
        """Return a receiver's input: the current one plus the differences of its open senders."""
        runs = self.runs
        whole = runs.reads_whole(receiver)
        tokens = runs.tokens(whole)
        read = runs.inputs[receiver][:, tokens].to(self.shifts.dtype)
        if receiver == self.receiver:
            read = read + self.shifts
        else:
            read = read.repeat(self.rows, 1, 1, 1)
            for kind, senders in self.senders.items():
                self._add(read, self.buffers[kind][:, :, :, tokens], runs.open[senders, receiver])
        if self.keep:
            self._keep(runs.inputs, receiver, read[0], tokens)
        return read.flatten(0, 1).to(self.model.dtype)

    @staticmethod
    def _add(read: Tensor, differences: Tensor, chosen: Bool[np.ndarray, "sender"]) -> None:
        """Add differences: one matrix product if many are chosen and contiguous, else one by one."""
        rows = np.flatnonzero(chosen)
        if 3 * len(rows) > len(chosen) and differences.is_contiguous():
            mask = torch.from_numpy(chosen).to(read)[None]
            read.view(1, -1).addmm_(mask, differences[: len(chosen)].flatten(1))
        else:
            for row in rows:
                read += differences[row]

    def _moved(self, whole: bool, senders: list[int]) -> Float[Tensor, "sender row image token d_model"]:
        """Return rows of the buffer for the senders' differences."""
        first = len(self.senders[whole])
        self.senders[whole] += senders
        return self.buffers[whole][first : first + len(senders)]

    def _mlp(self, layer: int) -> None:
        runs, graph = self.runs, self.runs.graph
        sender, receiver = graph.mlp_sender(layer), graph.mlp_receiver(layer)
        if not (runs.live[sender] and self._changed(receiver)):
            return
        block, whole = self.model.blocks[layer], bool(runs.whole[sender])
        added = block.ls2(block.mlp(block.norm2(self._input(receiver)))).unflatten(0, (self.rows, -1))
        old = runs.mlps[layer][:, runs.tokens(whole)]
        torch.sub(added.to(self.shifts.dtype), old.to(self.shifts.dtype), out=self._moved(whole, [sender])[0])
        if self.keep:
            self._keep(runs.mlps, layer, added[0], runs.tokens(whole))

    def _attention(self, layer: int) -> None:
        """Run the heads with a changed input and a path to `logits`."""
        runs = self.runs
        changed = np.array([self._changed(receiver) for receiver in runs.graph.attention_receivers(layer)])
        senders = runs.head_senders[layer]
        on = changed[runs.port_receiver].any(axis=0) & runs.live[senders]
        self.normal.clear()
        for whole in (True, False):
            heads = np.flatnonzero(on & (runs.whole[senders] == whole))
            if len(heads):
                self._heads(layer, heads, whole, changed)

    def _heads(
        self, layer: int, heads: Int[np.ndarray, "head"], whole: bool, changed: Bool[np.ndarray, "part"]
    ) -> None:
        runs, attn, tokens = self.runs, self.model.blocks[layer].attn, self.runs.tokens(whole)
        q, k, v = (
            self._port(layer, port, heads, changed, tokens if port == 0 else slice(None)).transpose(1, 2)
            for port in range(3)
        )
        out = attend(attn, q, k, v, heads)
        out = out.unflatten(0, (self.rows, -1)).permute(2, 0, 1, 3, 4)  # head row image token d_head
        old = runs.heads[layer].unflatten(-1, (runs.graph.n_heads, -1))[:, tokens, heads].permute(2, 0, 1, 3)
        change = out.to(self.shifts.dtype) - old[:, None].to(self.shifts.dtype)
        writing = self.model.writings[layer][heads]
        if runs.graph.form == "block":
            into = self._moved(whole, [int(runs.head_senders[layer, 0])])[0]
            into.copy_(torch.einsum("hrbtk,hkd->rbtd", change, writing))
        else:
            into = self._moved(whole, runs.head_senders[layer, heads].tolist())
            torch.bmm(change.flatten(1, 3), writing, out=into.flatten(1, 3))
        if self.keep:
            value = runs.heads[layer].clone()
            value.unflatten(-1, (runs.graph.n_heads, -1))[:, tokens, heads] = out[:, 0].permute(1, 2, 0, 3)
            runs.heads[layer] = value

    def _port(
        self, layer: int, port: int, heads: Int[np.ndarray, "head"], changed: Bool[np.ndarray, "part"], tokens: slice
    ) -> Float[Tensor, "run token head d_head"]:
        """Return q, k or v of some heads, recomputed for those with a changed input."""
        runs, shape = self.runs, (3, self.runs.graph.n_heads, self.model.d_head)
        parts = runs.port_receiver[port, heads]
        value = None
        if not changed[parts].all():
            value = runs.ports[layer].unflatten(-1, shape)[:, tokens, port, heads].repeat(self.rows, 1, 1, 1)
        for part in np.unique(parts[changed[parts]]):
            chosen = parts == part
            normal = self._normal(layer, int(part))[:, tokens]
            ports = project(self.model.blocks[layer].attn, normal, (port, heads[chosen]))
            if value is None and chosen.all():
                value = ports
                break
            if value is None:
                value = ports.new_empty(*ports.shape[:2], len(heads), self.model.d_head)
            value[:, :, chosen] = ports
        assert value is not None
        if self.keep:
            kept = runs.ports[layer].clone()
            kept.unflatten(-1, shape)[:, tokens, port, heads] = value
            runs.ports[layer] = kept
        return value

    def _normal(self, layer: int, part: int) -> Float[Tensor, "run token d_model"]:
        """Return the normalised input of an attention's receiver."""
        if part not in self.normal:
            receivers = self.runs.graph.attention_receivers(layer)
            self.normal[part] = self.model.blocks[layer].norm1(self._input(receivers[part]))
        return self.normal[part]

    @staticmethod
    def _keep(into: list[Tensor], index: int, value: Float[Tensor, "image token d_model"], tokens: slice) -> None:
        """Store the current run's value at the computed tokens; the others are never read."""
        kept = into[index].to(value.dtype, copy=True)
        kept[:, tokens] = value
        into[index] = kept
