"""Sender differences times receiver gradients for all edges, per token and then summed over tokens.

`score = Σ_t ⟨Δ_u, Σ_k ∇_v m(z_k)⟩_t`. Receiver gradients are computed block by block for one image at a time; the edges
of a block are one matrix product per token with its upstream senders. Tokens are summed last, so the same products
give the scores over any groups of tokens at almost no cost.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..circuits import ComputationGraph
from ..models.receivers import ReceiverGradients


class Contraction:
    """Accumulates the scores of one batch as a matrix `[group, image, sender, receiver]`.

    Args:
        weights: weight of each token in each group's sum.
    """

    def __init__(self, graph: ComputationGraph, weights: Float[Tensor, "group image token"]) -> None:
        self.graph, self.weights = graph, weights
        self.matrix = weights.new_zeros(*weights.shape[:2], graph.n_senders, graph.n_receivers)

    def add(
        self,
        differences: Float[Tensor, "image sender token d_model"],
        gradients: ReceiverGradients,
        first: int = 0,
    ) -> None:
        """Add the scores of the edges out of consecutive senders, and clear the gradients.

        Args:
            first: index of the first of these senders.
        """
        n_rows = len(self.graph.attention_receivers(0)) + 1 + max(map(len, gradients.normal))
        rows = differences.new_empty(n_rows, *differences.shape[2:])
        for image, moved in enumerate(differences):
            for layer in range(self.graph.n_layers + 1):
                self._add_block(image, layer, moved, first, gradients, rows)
        gradients.clear()

    def scores(self) -> Float[Tensor, "group image edge"]:
        """Return the scores in flat edge order."""
        sender, receiver = (
            torch.from_numpy(index).to(self.matrix.device)
            for index in (self.graph.edge_sender, self.graph.edge_receiver)
        )
        return self.matrix[..., sender, receiver]

    def _add_block(
        self, image: int, layer: int, moved: Tensor, first: int, gradients: ReceiverGradients, rows: Tensor
    ) -> None:
        """Add one product for the MLP before `layer` and the attention of `layer` (after the last layer: `logits`).

        Both read the same senders, except that the attention also reads the MLP itself. The surplus entry falls where
        the graph has no edge.
        """
        last = layer == self.graph.n_layers
        start = 0 if layer == 0 else self.graph.mlp_receiver(layer - 1)
        stop = self.graph.n_receivers if last else self.graph.mlp_receiver(layer)
        senders = moved[: max(0, int(self.graph.n_upstream[stop - 1]) - first)].transpose(0, 1)
        if not senders.shape[1]:
            return
        used = rows[: stop - start]
        if layer > 0:
            used[0] = gradients.mlps[layer - 1, image]
        self._attention(image, layer, gradients, used[layer > 0 :])
        normal = [run[image] for run in gradients.normal[layer]] if layer < self.graph.n_layers else []
        for row, run in zip(rows[len(used) :], normal, strict=False):
            row.copy_(run)
        products = torch.bmm(senders, rows[: len(used) + len(normal)].permute(1, 2, 0))  # token sender row
        scores = products[..., : len(used)]
        if normal:
            centre = torch.stack([run[image] for run in gradients.centre[layer]], dim=1)  # token run port
            centre = torch.nn.functional.pad(centre, (int(layer > 0), 0))
            scores = torch.baddbmm(scores, products[..., len(used) :], centre, alpha=-1)
        into = self.matrix[:, image, first : first + senders.shape[1], start:stop]
        into += (self.weights[:, image] @ scores.flatten(1)).unflatten(1, into.shape[1:])

    def _attention(self, image: int, layer: int, gradients: ReceiverGradients, into: Tensor) -> None:
        """Write summed gradients `[receiver, token, d_model]` at a layer's attention, or finally at `logits`."""
        if layer == self.graph.n_layers:
            into[0] = gradients.final[image]
        elif gradients.attentions is not None:
            into[0] = gradients.attentions[layer, image]
        else:
            self._ports(layer, image, gradients, into)

    def _ports(self, layer: int, image: int, gradients: ReceiverGradients, into: Tensor) -> None:
        """Write W'ᵀ Σ ĝ: per port of each head, or summed over the three ports of a head."""
        assert gradients.ports is not None
        model = gradients.model
        heads, width = model.n_heads, model.d_head
        summed = gradients.ports[layer, image].unflatten(1, (3, heads, width))  # token port head d_head
        weight = model.readings[layer].weight
        if self.graph.form == "split":
            torch.bmm(summed.flatten(1, 2).transpose(0, 1), weight, out=into)
        else:
            summed = summed.permute(2, 0, 1, 3).flatten(2)  # head token port·d_head
            torch.bmm(summed, weight.unflatten(0, (3, heads)).transpose(0, 1).flatten(1, 2), out=into)
