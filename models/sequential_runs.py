"""Runs of a circuit that is decided from `logits` backwards, receiver by receiver.

A receiver that is not decided yet reads every sender as it is. So all that comes before the receiver in question is the
clean run, and only what follows it is computed: as differences to the current run, in which the receivers behind are
decided. Left out are heads and MLPs that no difference reaches or that reach nothing, and tokens that nobody reads.
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
    """The current run of one batch, and what it gives when a receiver loses senders.

    Args:
        clean: the run in which all edges are open; the current one at first.
        corrupted: the run whose values closed edges carry.

    Attributes:
        logits: of the current run.
    """

    def __init__(self, model: ViT, graph: ComputationGraph, clean: Activations, corrupted: Activations) -> None:
        self.model, self.graph = model, graph
        self.port_receiver = port_receivers(graph)
        self.read = slice(0, tokens_read(model))
        self.open = graph.to_matrix(np.ones(graph.n_edges, bool))
        self.live = np.zeros(graph.n_senders, bool)  # on an open path to logits
        self.whole = np.zeros(graph.n_senders, bool)  # and read at all tokens
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
        """Which sender each head is."""
        layers = map(self.graph.attention_senders, range(self.graph.n_layers))
        return np.stack([np.resize(senders, self.graph.n_heads) for senders in layers])  # of a block, all are one

    def matters(self, receiver: int) -> bool:
        """Whether anything that the receiver reads gets to `logits`; those behind it must be settled."""
        layer, part = self.graph.receiver_place(receiver)
        if layer is None:
            return True
        if part is None:
            return bool(self.live[self.graph.mlp_sender(layer)])
        return bool(self.live[self.head_senders[layer]][(self.port_receiver == part).any(axis=0)].any())

    def reads_whole(self, receiver: int) -> bool:
        """Whether it is read at all tokens; else at those alone that the read-out reads."""
        layer, part = self.graph.receiver_place(receiver)
        if self.read.stop is None:
            return True
        if layer is None:
            return False
        if part is None:
            return bool(self.whole[self.graph.mlp_sender(layer)])
        reads = self.port_receiver == part
        if reads[1:].any():  # keys and values of all tokens mix; a query is read where its head is
            return True
        return bool(self.whole[self.head_senders[layer]][reads[0]].any())

    def tokens(self, whole: bool) -> slice:
        return slice(None) if whole else self.read

    @torch.no_grad()
    def without(self, receiver: int, senders: Sequence[int], stay: Sequence[bool]) -> Float[Tensor, "row image class"]:
        """Logits of runs in which the receiver loses one more sender each, beside those that it has lost by `close`.

        Args:
            receiver: all receivers behind it are settled, none before.
            senders: one run each.
            stay: whether the sender is lost in the runs that follow, too.
        """
        rows, lost = [], self._closed
        for sender, stays in zip(senders, stay, strict=True):
            rows.append(self._losing(lost, receiver, sender))
            lost = rows[-1] if stays else lost
        return _Run(self, receiver, torch.stack(rows)).logits()

    @torch.no_grad()
    def close(self, receiver: int, sender: int) -> None:
        """The receiver, the next to be settled, loses a sender for good."""
        self.open[sender, receiver] = False
        if self.matters(receiver):
            self._closed = self._losing(self._closed, receiver, sender)

    def _losing(self, lost: Tensor | None, receiver: int, sender: int) -> Float[Tensor, "image token d_model"]:
        change = self._lost.by(sender, self.tokens(self.reads_whole(receiver)))
        return -change if lost is None else lost - change

    @torch.no_grad()
    def settle(self, receiver: int) -> None:
        """Nothing more is closed at the receiver: its run is the current one, and the one before it is next."""
        if self._closed is not None:
            run = _Run(self, receiver, self._closed[None], keep=True)
            self.logits = run.logits()[0]
            self._closed = None
        if self.matters(receiver):
            self.live |= self.open[:, receiver]
            if self.reads_whole(receiver):
                self.whole |= self.open[:, receiver]

    def memory(self, whole: bool, shape: tuple[int, ...]) -> Tensor:
        """A buffer of this shape, whose memory is used again by the next run."""
        size = int(np.prod(shape))
        if whole not in self._memory or self._memory[whole].numel() < size:
            self._memory[whole] = torch.empty(size, dtype=self.model.exact_dtype, device=self.logits.device)
        return self._memory[whole][:size].view(shape)


class _Lost:
    """What a receiver loses when an edge is closed: the sender's clean minus its corrupted output."""

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
    """One pass over what follows a receiver: a growing list of differences to the current run, row by row.

    Differences at all tokens and those at the tokens that are read out lie in buffers of their own.
    """

    def __init__(
        self,
        runs: SequentialRuns,
        receiver: int,
        shifts: Float[Tensor, "row image token d_model"],
        *,
        keep: bool = False,
    ) -> None:
        """`keep`: of the one row, make the current run."""
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
        """What a receiver reads: the current input and the differences of its open senders."""
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
        """One product where most are chosen and lie densely, else one by one."""
        rows = np.flatnonzero(chosen)
        if 3 * len(rows) > len(chosen) and differences.is_contiguous():
            mask = torch.from_numpy(chosen).to(read)[None]
            read.view(1, -1).addmm_(mask, differences[: len(chosen)].flatten(1))
        else:
            for row in rows:
                read += differences[row]

    def _moved(self, whole: bool, senders: list[int]) -> Float[Tensor, "sender row image token d_model"]:
        """Rows of the buffer for the differences of senders."""
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
        """The heads that are read by someone and read something new."""
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
        """q, k or v of some heads: the current ones, and anew those that read something new."""
        runs, shape = self.runs, (3, self.runs.graph.n_heads, self.model.d_head)
        parts = runs.port_receiver[port, heads]
        value = None
        if not changed[parts].all():
            value = runs.ports[layer].unflatten(-1, shape)[:, tokens, port, heads].repeat(self.rows, 1, 1, 1)
        for part in np.unique(parts[changed[parts]]):
            chosen = parts == part
            normal = self._normal(layer, int(part))[:, tokens]
            made = project(self.model.blocks[layer].attn, normal, (port, heads[chosen]))
            if value is None and chosen.all():
                value = made
                break
            if value is None:
                value = made.new_empty(*made.shape[:2], len(heads), self.model.d_head)
            value[:, :, chosen] = made
        assert value is not None
        if self.keep:
            kept = runs.ports[layer].clone()
            kept.unflatten(-1, shape)[:, tokens, port, heads] = value
            runs.ports[layer] = kept
        return value

    def _normal(self, layer: int, part: int) -> Float[Tensor, "run token d_model"]:
        """What an attention's receiver reads, normalised."""
        if part not in self.normal:
            receivers = self.runs.graph.attention_receivers(layer)
            self.normal[part] = self.model.blocks[layer].norm1(self._input(receivers[part]))
        return self.normal[part]

    @staticmethod
    def _keep(into: list[Tensor], index: int, value: Float[Tensor, "image token d_model"], tokens: slice) -> None:
        """The current run's value, where it is computed; elsewhere nobody reads it."""
        kept = into[index].to(value.dtype, copy=True)
        kept[:, tokens] = value
        into[index] = kept
