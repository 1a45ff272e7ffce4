"""Ablation: edges carry, or heads and MLPs send, a constant instead of what the sender computes.

The constants are zeros, means over images, or the senders' outputs on drawn images; see `zero_outputs`, `mean_outputs`
and `drawn_outputs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ...circuits import ComputationGraph, Form
from ...circuits.graph import FORMS
from ...circuits.kinds import choice
from ...circuits.response import Intervention
from ...errors import InputError
from ...models import ConstantOutputs, Tokens, ViT, neuron_tokens
from .chosen import EdgeChoice, chosen_edges, chosen_senders, hash_of
from .edge_changes import EdgeChanges
from .edit import Changes, Edit, after, before
from .kind import COUNT, HASH, InterventionKind


class EdgeAblation(EdgeChanges):
    """Edges that carry constants: D is the constant minus the sender's output."""

    def __init__(self, model: ViT, graph: ComputationGraph, edges: np.ndarray, constants: ConstantOutputs) -> None:
        super().__init__(graph, edges)
        self.model_dtype = model.exact_dtype
        to = {"device": model.device, "dtype": model.exact_dtype}
        self.register_buffer("stream", constants.sent.stream.to(**to))
        for layer, writing in enumerate(model.writings):
            self.register_buffer(f"mlp{layer}", constants.sent.mlp_out[layer].to(**to))
            self.register_buffer(f"heads{layer}", constants.sent.heads[layer].to(**to))
            own = writing.flatten(0, 1)[None] if graph.form == "block" else writing
            rows = [sender - graph.attention_senders(layer).start for sender in self.heads_of(layer)]
            self.register_buffer(f"writing{layer}", own[rows])

    def of_heads(self, layer: int, senders: list[int], values: Float[Tensor, "image token heads"]) -> list[Tensor]:
        missing = (getattr(self, f"heads{layer}") - values.to(self.model_dtype)).unflatten(
            -1, (len(self.graph.attention_senders(layer)), -1)
        )
        first, writing = self.graph.attention_senders(layer).start, getattr(self, f"writing{layer}")
        return [missing[:, :, sender - first] @ own for sender, own in zip(senders, writing, strict=True)]

    def of_output(self, sender: int, values: Float[Tensor, "image token d_model"]) -> Tensor:
        layer, _ = self.graph.sender_place(sender)
        constant = self.get_buffer("stream" if layer is None else f"mlp{layer}")
        return constant - values.to(self.model_dtype)

    def shift(self, senders: list[int], sent: list[Tensor]) -> Tensor:
        return torch.stack(sent).sum(dim=0)


class ComponentAblation(Changes):
    """Heads and MLPs that send constants, at some tokens."""

    def __init__(self, model: ViT, components: Sequence[str], constants: ConstantOutputs, tokens: Tokens) -> None:
        super().__init__()
        self.graph, places = model.graph("head"), neuron_tokens(model, tokens)
        chosen = {self.graph.senders.index(name) for name in components}
        self.layers: list[int] = []
        self.mlps: list[int] = []
        for layer in range(model.n_layers):
            heads = [sender in chosen for sender in self.graph.attention_senders(layer)]
            if any(heads):
                self.layers.append(layer)
                there = torch.zeros(model.n_tokens, model.n_heads, model.d_head, dtype=torch.bool, device=model.device)
                there[places, torch.tensor(heads)] = True
                self.register_buffer(f"there{layer}", there.flatten(1))
                constant = constants.sent.heads[layer]
                self.register_buffer(f"heads{layer}", constant.to(device=model.device, dtype=model.dtype))
            if self.graph.mlp_sender(layer) in chosen:
                self.mlps.append(layer)
                constant = constants.sent.mlp_out[layer]
                self.register_buffer(f"mlp{layer}", constant.to(device=model.device, dtype=model.dtype))
        there = torch.zeros(model.n_tokens, 1, dtype=torch.bool, device=model.device)
        there[places] = True
        self.register_buffer("there", there)

    def hooks(self, module: Any) -> Iterator[RemovableHandle]:
        for layer, block in enumerate(module.blocks):
            if layer in self.layers:
                yield before(block.attn.proj, self._constant, f"heads{layer}", f"there{layer}")
            if layer in self.mlps:
                yield after(block.ls2, self._constant, f"mlp{layer}", "there")

    def _constant(self, name: str, there: str, values: Tensor) -> Tensor:
        return self.chosen(torch.where(self.get_buffer(there), self.get_buffer(name), values), values)


@dataclass(frozen=True, eq=False, repr=False)
class AblatedEdges(Edit):
    """Ablation of edges; created by `ablate_edges`."""

    graph: ComputationGraph
    edges: tuple[str, ...]
    constants: ConstantOutputs

    @property
    def intervention(self) -> Intervention:
        hashes = {"edges": hash_of(self.edges), "outputs": self.constants.digest}
        return ABLATE_EDGES.use(**hashes, form=self.graph.form, n=len(self.edges))

    @property
    def text(self) -> str:
        return f"ablate {len(self.edges)} edges, {self.constants.text}"

    def changes(self, model: ViT) -> Changes:
        return EdgeAblation(model, self.graph, np.array([self.graph.index_of(e) for e in self.edges]), self.constants)


@dataclass(frozen=True, eq=False, repr=False)
class AblatedComponents(Edit):
    """Ablation of heads and MLPs; created by `ablate_components`."""

    components: tuple[str, ...]
    constants: ConstantOutputs
    tokens: Tokens

    @property
    def intervention(self) -> Intervention:
        hashes = {"components": hash_of(self.components), "outputs": self.constants.digest}
        return ABLATE_COMPONENTS.use(**hashes, n=len(self.components), tokens=self.tokens)

    @property
    def text(self) -> str:
        shown = ", ".join(self.components) if len(self.components) <= 3 else f"{len(self.components)} components"
        where = "" if self.tokens == "all" else f" at tokens={self.tokens!r}"
        return f"ablate {shown}{where}, {self.constants.text}"

    def changes(self, model: ViT) -> Changes:
        return ComponentAblation(model, self.components, self.constants, self.tokens)


def ablate_edges(model: ViT, edges: EdgeChoice, constants: ConstantOutputs, *, form: Form = "split") -> AblatedEdges:
    """Return the edit in which edges carry constants, and all other edges what their senders compute.

    Args:
        model: the model.
        edges: a circuit, a stored circuit, or names of edges.
        constants: what `zero_outputs`, `mean_outputs` or `drawn_outputs` returns.
        form: form of the graph of the edges.

    Raises:
        InputError: no edges, edges of another form or model, or constants of another model.

    Examples:
        >>> edit = ablate_edges(model, ["a0.h1->m0", "m0->logits"], cs.mean_outputs(model, pairs.clean.split(4)))
        >>> edit
        AblatedEdges(ablate 2 edges, means over 8 images, model ...)
        >>> with edit.applied(model):
        ...     logits = model.logits(pairs.clean)
    """
    constants.check_fit(model)
    graph = model.graph(form)
    indices = chosen_edges(graph, model.fingerprint, edges)
    return AblatedEdges(model.fingerprint, graph, tuple(graph.edge_names[i] for i in indices), constants)


def ablate_components(
    model: ViT, components: Sequence[str], constants: ConstantOutputs, *, tokens: Tokens = "all"
) -> AblatedComponents:
    """Return the edit in which heads and MLPs send constants.

    Args:
        model: the model.
        components: names such as `a0.h1` and `m0`.
        constants: what `zero_outputs`, `mean_outputs` or `drawn_outputs` returns.
        tokens: where they send constants: at the class token, as Dyslexify does (arXiv 2508.20570), at the patches, or
            at all tokens.

    Raises:
        InputError: no components, an unknown one, constants of another model, or a class token that the classifier
            does not read.

    Examples:
        >>> edit = ablate_components(model, ["a0.h1", "m2"], cs.zero_outputs(model))
        >>> edit
        AblatedComponents(ablate a0.h1, m2, zeros, model ...)
    """
    constants.check_fit(model)
    graph = model.graph("head")
    neuron_tokens(model, tokens)
    chosen = chosen_senders(graph, components)
    if 0 in chosen:
        raise InputError("components: expected heads and MLPs, got 'input', which is what the images themselves send")
    return AblatedComponents(model.fingerprint, tuple(graph.senders[sender] for sender in chosen), constants, tokens)


ABLATE_EDGES = InterventionKind(
    key="ablate-edges",
    name="Edges carry constants: zeros, means, or outputs on drawn images",
    function=ablate_edges,
    params={"edges": HASH, "outputs": HASH, "form": choice(*FORMS), "n": COUNT},
)
ABLATE_COMPONENTS = InterventionKind(
    key="ablate-components",
    name="Heads and MLPs send constants: zeros, means, or outputs on drawn images",
    function=ablate_components,
    params={"components": HASH, "outputs": HASH, "n": COUNT, "tokens": choice("all", "class", "patches")},
)
