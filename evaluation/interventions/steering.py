"""Steering: subtract from senders' outputs what exceeds an offset along a direction.

    D[u,p] = −α · ReLU( ⟨o_u,p , v[u,p]⟩ − b[u,p] ) · v[u,p]

On edges, receiver r reads its stream plus Σ D_u over the edges u → r, and all other receivers read the stream. At
senders, the output becomes o_u + D_u, which every receiver reads. In both cases o_u is the output in the edited run.
Several directions apply in turn: each reads the output that those before it have changed, and D_u is the sum.
With b = 0 this is Algorithm 1 of Vi-CD, arXiv 2604.14477; the offset from clean images is ours.

D of all images is never stored per sender: only its length along v is, one number per image and token. The shift of a
receiver is one matrix product per token over its senders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...circuits import digest
from ...circuits.response import Intervention
from ...errors import InputError
from ...models import ViT
from .chosen import EdgeChoice, checked_strength, chosen_edges, chosen_senders, hash_of, warn_if_other_images
from .directions import Directions, Readings
from .edge_changes import EdgeChanges
from .edit import Changes, Edit, Unchanged, after, before
from .kind import COUNT, HASH, STRENGTH, InterventionKind

InTurn = tuple[Directions, ...]
Lengths = Float[Tensor, "image token sender direction"]


class _Along(nn.Module):
    """The lengths of D along the directions of some senders, and D itself.

    Args:
        model: the model.
        directions: the directions, which apply in turn.
        senders: the senders, in order.
        strength: α.
    """

    vectors: Tensor
    offsets: Tensor
    overlaps: Tensor

    def __init__(self, model: ViT, directions: InTurn, senders: Sequence[int], strength: int | float) -> None:
        super().__init__()
        graph, rows = directions[0].graph, list(senders)
        self.strength, self.place = strength, {sender: place for place, sender in enumerate(rows)}
        vectors, offsets = (
            torch.from_numpy(np.stack([getattr(one, name) for one in directions])).to(model.device, model.exact_dtype)
            for name in ("vectors", "offsets")
        )
        chosen = vectors[:, rows].permute(2, 1, 0, 3).contiguous()  # token sender direction d_model
        self.register_buffer("vectors", chosen)
        self.register_buffer("offsets", offsets[:, rows].permute(2, 1, 0).contiguous())
        self.register_buffer("overlaps", chosen @ chosen.transpose(2, 3))
        self.first = [graph.attention_senders(layer).start for layer in range(model.n_layers)]
        self.n_heads, readings = len(graph.attention_senders(0)), [Readings(model, graph, one) for one in vectors]
        for layer in range(model.n_layers):
            if heads := [sender for sender in graph.attention_senders(layer) if sender in self.place]:
                read = torch.stack([one.of_heads(layer, heads) for one in readings], dim=2)
                self.register_buffer(f"reading{layer}", read.transpose(0, 1).contiguous())

    def of_heads(self, layer: int, senders: list[int], values: Float[Tensor, "image token heads"]) -> Lengths:
        """Return the lengths of all chosen heads of a layer, from their outputs before the output projection."""
        reading, first = getattr(self, f"reading{layer}"), self.first[layer]
        split = values.to(reading.dtype).unflatten(-1, (self.n_heads, -1))
        heads = _index([sender - first for sender in senders])
        return self._excess((split[:, :, heads, None] * reading).sum(-1), senders)

    def of_output(self, sender: int, values: Float[Tensor, "image token d_model"]) -> Lengths:
        """Return the length of `input` or of an MLP, from its output."""
        found = (values.to(self.vectors.dtype).unsqueeze(2) * self.vectors[:, self.place[sender]]).sum(-1)
        return self._excess(found.unsqueeze(2), [sender])

    def _excess(self, found: Lengths, senders: list[int]) -> Lengths:
        """Return the lengths from the projections; a direction reads the output that those before it have changed."""
        places = _index([self.place[sender] for sender in senders])
        offsets, overlaps = self.offsets[:, places], self.overlaps[:, places]
        lengths: list[Tensor] = []
        for k, projection in enumerate(found.unbind(-1)):
            for j, length in enumerate(lengths):
                projection = projection + length * overlaps[..., j, k]
            lengths.append(-self.strength * torch.relu(projection - offsets[..., k]))
        return torch.stack(lengths, dim=-1)

    def shift(self, senders: list[int], lengths: Lengths) -> Float[Tensor, "image token d_model"]:
        """Return Σ D of the senders that the columns of `lengths` are of."""
        vectors = self.vectors[:, _index([self.place[sender] for sender in senders])]
        return torch.bmm(lengths.flatten(2).transpose(0, 1), vectors.flatten(1, 2)).transpose(0, 1)


def _index(places: list[int]) -> slice | list[int]:
    """Return consecutive places as a slice, which copies nothing."""
    return slice(places[0], places[-1] + 1) if places == list(range(places[0], places[-1] + 1)) else places


class SenderSteering(Changes):
    """Steering of senders' outputs. The output of a layer's heads changes after their output projection."""

    def __init__(self, model: ViT, directions: InTurn, senders: Sequence[int], strength: int | float) -> None:
        super().__init__()
        self.graph, self.senders = directions[0].graph, senders
        self.along = _Along(model, directions, senders, strength)
        self._lengths: Tensor | None = None

    def hooks(self, module: Any) -> Iterator[RemovableHandle]:
        if 0 in self.senders:
            yield before(module.blocks[0], self._output, 0)
        for layer, block in enumerate(module.blocks):
            if heads := [sender for sender in self.graph.attention_senders(layer) if sender in self.senders]:
                yield before(block.attn.proj, self._heads, layer, heads)
                yield after(block.ls1, self._attention, heads)
            if (mlp := self.graph.mlp_sender(layer)) in self.senders:
                yield after(block.ls2, self._output, mlp)

    def _output(self, sender: int, values: Tensor) -> Tensor:
        return self._moved([sender], self.along.of_output(sender, values), values)

    def _heads(self, layer: int, heads: list[int], values: Tensor) -> None:
        self._lengths = self.along.of_heads(layer, heads, values)

    def _attention(self, heads: list[int], values: Tensor) -> Tensor:
        lengths, self._lengths = self._lengths, None
        assert lengths is not None
        return self._moved(heads, lengths, values)

    def _moved(self, senders: list[int], lengths: Lengths, values: Tensor) -> Tensor:
        return self.chosen((values + self.along.shift(senders, lengths)).to(values.dtype), values)


class EdgeSteering(EdgeChanges):
    """Steering of what single receivers read."""

    def __init__(self, model: ViT, directions: InTurn, edges: np.ndarray, strength: int | float) -> None:
        super().__init__(directions[0].graph, edges)
        self.along = _Along(model, directions, self.senders, strength)

    def of_heads(self, layer: int, senders: list[int], values: Tensor) -> list[Tensor]:
        return list(self.along.of_heads(layer, senders, values).unbind(2))

    def of_output(self, sender: int, values: Tensor) -> Tensor:
        return self.along.of_output(sender, values)[:, :, 0]

    def shift(self, senders: list[int], sent: list[Tensor]) -> Tensor:
        return self.along.shift(senders, torch.stack(sent, dim=2))


@dataclass(frozen=True, eq=False, repr=False)
class SteeredEdges(Edit):
    """Steering on edges; created by `steer_edges`."""

    directions: InTurn
    edges: tuple[str, ...]
    strength: float

    @property
    def intervention(self) -> Intervention:
        hashes = {"directions": _hash(self.directions), "edges": hash_of(self.edges)}
        return STEER_EDGES.use(**hashes, n=len(self.edges), strength=self.strength)

    @property
    def text(self) -> str:
        return _text(f"{len(self.edges)} edges", self)

    def changes(self, model: ViT) -> Changes:
        for one in self.directions:
            one.check_fit(model)
        if not self.strength:
            return Unchanged()
        indices = np.array([self.directions[0].graph.index_of(name) for name in self.edges])
        return EdgeSteering(model, self.directions, indices, self.strength)


@dataclass(frozen=True, eq=False, repr=False)
class SteeredSenders(Edit):
    """Steering at senders; created by `steer_senders`."""

    directions: InTurn
    senders: tuple[str, ...]
    strength: float

    @property
    def intervention(self) -> Intervention:
        return STEER_SENDERS.use(
            directions=_hash(self.directions),
            senders=hash_of(self.senders),
            n=len(self.senders),
            strength=self.strength,
        )

    @property
    def text(self) -> str:
        return _text(f"{len(self.senders)} senders", self)

    def changes(self, model: ViT) -> Changes:
        for one in self.directions:
            one.check_fit(model)
        return SenderSteering(
            model, self.directions, chosen_senders(self.directions[0].graph, self.senders), self.strength
        )


def _text(what: str, edit: SteeredEdges | SteeredSenders) -> str:
    first, *others = edit.directions
    sets = f"{1 + len(others)} directions in turn, " if others else ""
    return f"steer {what}, {sets}strength {edit.strength:g}, offset {first.offset}"


def _hash(directions: InTurn) -> str:
    """Return the hash of directions: of a single set, its own."""
    hashes = [one.sha256 for one in directions]
    return hashes[0] if len(hashes) == 1 else digest(hashes)


def in_turn(directions: Directions | Sequence[Directions]) -> InTurn:
    """Return directions that apply in turn.

    Raises:
        InputError: there are none, or they are of several forms or models.
    """
    found: InTurn = (directions,) if isinstance(directions, Directions) else tuple(directions)
    if not found:
        raise InputError("directions: expected at least one set of directions, got none")
    if len({(one.graph, one.model, one.vectors.shape) for one in found}) > 1:
        raise InputError("directions: expected sets of one model and form, to apply in turn, got sets of several")
    return found


def steer_edges(
    directions: Directions | Sequence[Directions],
    edges: EdgeChoice,
    strength: int | float = 1.0,
    *,
    found_on: Sequence[str] = (),
) -> SteeredEdges:
    """Return the edit that subtracts what exceeds the offset along each direction, on the given edges only.

    Args:
        directions: what `fit_directions` returns; or several, which apply in turn: each to the output that those before
            it have changed.
        edges: a circuit, a stored circuit, or names of edges, of the form of the directions.
        strength: α, at least 0; 1 removes exactly the excess, 0 changes nothing.
        found_on: hashes of the images that the edges were found on, if known. Warns if the directions were fitted on
            other images.

    Raises:
        InputError: no edges, edges of another form or model, or a strength that is negative or not finite.

    Examples:
        >>> edit = steer_edges(cs.fit_directions(model, pairs), circuit, strength=2)
        >>> edit
        SteeredEdges(steer ... edges, strength 2, offset quantile(0.95), model ...)
        >>> with edit.applied(model):
        ...     logits = model.logits(pairs.corrupted)
        >>> logits.shape
        torch.Size([8, 10])
    """
    sets = in_turn(directions)
    graph, model = sets[0].graph, sets[0].model
    indices = chosen_edges(graph, model, edges)
    warn_if_other_images([image for one in sets for image in one.images], found_on)
    return SteeredEdges(model, sets, tuple(graph.edge_names[i] for i in indices), checked_strength(strength))


def steer_senders(
    directions: Directions | Sequence[Directions],
    senders: Sequence[str] | None = None,
    strength: int | float = 1.0,
) -> SteeredSenders:
    """Return the edit that subtracts what exceeds the offset along each direction, from senders' outputs.

    Every receiver reads the steered output, so this equals steering on all edges of these senders, and is faster.

    Args:
        directions: what `fit_directions` returns; or several, which apply in turn: each to the output that those before
            it have changed.
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
    sets = in_turn(directions)
    graph = sets[0].graph
    names = tuple(graph.senders[sender] for sender in chosen_senders(graph, senders))
    return SteeredSenders(sets[0].model, sets, names, checked_strength(strength))


STEER_EDGES = InterventionKind(
    key="steer-edges",
    name="Subtract the excess along a direction from what single receivers read",
    source="Żukowska et al. 2026, arXiv 2604.14477 (Vi-CD), with an offset",
    function=steer_edges,
    params={"directions": HASH, "edges": HASH, "n": COUNT, "strength": STRENGTH},
)
STEER_SENDERS = InterventionKind(
    key="steer-senders",
    name="Subtract the excess along a direction from senders' outputs",
    function=steer_senders,
    params={"directions": HASH, "senders": HASH, "n": COUNT, "strength": STRENGTH},
)
