"""Sender differences times receiver gradients: the scores of all edges, once per image.

`score = ⟨Δ_u, Σ_k ∇_v m(z_k)⟩`. Receivers are made block by block for one image at a time, and each
block's edges are one matrix product of its upstream senders with them.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..circuits import ComputationGraph
from ..models.receivers import ReceiverGradients
from ..models.senders import SenderDifferences


class Contraction:
    """Gathers the scores of one batch, as a matrix `[image, sender, receiver]`."""

    def __init__(self, graph: ComputationGraph, differences: SenderDifferences, gradients: ReceiverGradients) -> None:
        self.graph, self.delta, self.gradients = graph, differences.values, gradients
        images, senders = self.delta.shape[:2]
        self.matrix = self.delta.new_zeros(images, senders, graph.n_receivers)
        self.per_layer = (graph.n_receivers - 1) // graph.n_layers
        self.rows = self.per_layer - 1

    def take_centres(self) -> None:
        """Subtract Σ_k (Δ·x̂_k) c_k of the pending runs, one number per sender, token and run, and forget them."""
        normal, centre = self.gradients.normal, self.gradients.centre
        if normal and normal[0]:
            for layer in range(self.graph.n_layers):
                for image in range(len(self.delta)):
                    self._centre(layer, image, [r[layer][image] for r in normal], [r[layer][image] for r in centre])
        normal.clear()
        centre.clear()

    def _centre(self, layer: int, image: int, normal: list[Tensor], centre: list[Tensor]) -> None:
        first = layer * self.per_layer
        senders = int(self.graph.n_upstream[first])
        delta = self.delta[image, :senders].transpose(0, 1)  # token sender d_model
        along = torch.bmm(delta, torch.stack(normal, dim=1).transpose(1, 2))  # token sender run
        weights = torch.stack(centre, dim=1)  # token run port
        into = self.matrix[image, :senders, first : first + self.rows]
        into -= along.transpose(0, 1).flatten(1) @ weights.flatten(0, 1)

    def finish(self) -> Float[Tensor, "image edge"]:
        """Contract the summed gradients; scores per image in flat edge order."""
        rows = self.delta.new_empty(self.rows + 1, *self.delta.shape[2:])
        for image in range(len(self.delta)):
            for layer in range(self.graph.n_layers + 1):
                self._contract(image, layer, rows)
        edge_sender, edge_receiver = (
            torch.from_numpy(self.graph.edge_sender),
            torch.from_numpy(self.graph.edge_receiver),
        )
        return self.matrix[:, edge_sender.to(self.delta.device), edge_receiver.to(self.delta.device)]

    def _contract(self, image: int, layer: int, rows: Tensor) -> None:
        """One product for the MLP of the layer before and the attention of `layer` (after the last: `logits`).

        They read the same senders but one. The one too many, the MLP itself, lands where the graph has no edge.
        """
        g = self.gradients
        first = max(layer * self.per_layer - 1, 0)
        last_layer = layer == self.graph.n_layers
        stop = layer * self.per_layer + (1 if last_layer else self.rows)
        used = rows[: stop - first]
        if layer > 0:
            used[0] = g.mlps[layer - 1, image]
        attention = used[layer > 0 :]
        if last_layer:
            attention[0] = g.final[image]
        elif g.attentions is not None:
            attention[0] = g.attentions[layer, image]
        else:
            self._ports(layer, image, attention)
        senders = int(self.graph.n_upstream[stop - 1])
        self.matrix[image, :senders, first:stop] += self.delta[image, :senders].flatten(1) @ used.flatten(1).T

    def _ports(self, layer: int, image: int, into: Float[Tensor, "port token d_model"]) -> None:
        """W'ᵀ Σ ĝ: per port of each head, or summed over the three ports of a head."""
        assert self.gradients.ports is not None
        model = self.gradients.model
        heads, width = model.n_heads, model.d_head
        summed = self.gradients.ports[layer, image].unflatten(1, (3, heads, width))  # token port head d_head
        weight = model.readings[layer].weight
        if self.graph.form == "split":
            torch.bmm(summed.flatten(1, 2).transpose(0, 1), weight, out=into)
        else:
            summed = summed.permute(2, 0, 1, 3).flatten(2)  # head token port·d_head
            torch.bmm(summed, weight.unflatten(0, (3, heads)).transpose(0, 1).flatten(1, 2), out=into)
