"""Direct logit attribution: what each part of the stream adds to the logits, with the final norm frozen.

    direct(c) = Σ_t w_t (c_t · M)

w and M are those of `LinearReadout`. Components are the senders (`input`, heads, MLPs), the bias of each attention's
output projection (`a3.bias`), and `bias`, which is what norm and head add without the stream; they sum to the logits.
The direct logits of a head are the sum of those of its source tokens, `A[q, t] v_t`; those of an MLP are the sum over
its neurons, the coordinates that its last layer reads, and its bias.

They are not effects: what a component does through later components is not in them, and what it does to the norm's
scale is not either. Elhage et al. 2021; for images Gandelsman et al. 2024, arXiv 2310.05916.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...circuits import Axis, Readout
from ...circuits.kinds import choice
from ...models import Activations, LinearReadout, ViT, capture, head_pattern, n_neurons, neuron_run, runs_model
from ..execution import DEFAULT, Execution
from .batched import Images, class_axis, head_axis, image_axis, layer_axis, read_images, token_axis
from .kind import ReadoutKind, of_clean


@runs_model
def logit_attribution(
    model: ViT,
    images: Images,
    *,
    by: str = "component",
    classes: Sequence[str | int] | None = None,
    execution: Execution = DEFAULT,
) -> Readout:
    """Read what each component, head, source token or neuron adds to the logits directly.

    Args:
        images: normalised images.
        by: `component` (senders and biases, which sum to the logits), `head`, `source-token` (of each head), or
            `neuron` (of each MLP, with its bias).
        classes: names or indices of classes; all by default. With many classes, a few take less memory.
        execution: batch size and progress; progress counts images.

    Returns:
        Logits `[image, component, class]`, `[image, layer, head, class]`, `[image, layer, head, token, class]` or
        `[image, layer, neuron, class]`.

    Raises:
        InputError: the read-out is not linear in the stream (map pooling, a head with an activation; the message names
            the part), an unknown value of `by` or class, or images that do not fit the model.
        NotRepresentable: `by="neuron"` with an MLP without neurons.

    Examples:
        >>> direct = logit_attribution(model, pairs.clean)
        >>> torch.allclose(torch.tensor(direct.values.sum(axis=1)), model.logits(pairs.clean), atol=1e-4)
        True
    """
    use = LOGIT_ATTRIBUTION.use(by=by)
    shown = class_axis(model).chosen(classes)
    columns = [class_axis(model).position(label) for label in shown.labels]
    axes, of_run = _WAYS[by]
    parts = axes(model)

    def read(batch: Images) -> Float[Tensor, "image *part class"]:
        run = capture(model, batch)
        frozen = LinearReadout.of(model, run.final)
        frozen = replace(frozen, matrix=frozen.matrix[..., columns], bias=frozen.bias[:, columns])
        return of_run(_Run(model, run, frozen))

    values = read_images(model, images, read, execution)
    return Readout(use, (image_axis(len(images)), *parts, shown), values)


class _Run(NamedTuple):
    """A run with its frozen read-out."""

    model: ViT
    run: Activations
    frozen: LinearReadout

    def constant(self, written: Float[Tensor, "d_model"]) -> Float[Tensor, "image class"]:
        """Return the logits of a bias that is added to the stream at every token."""
        return torch.einsum("vb,vc->bc", self.frozen.weights.sum(dim=-1), written @ self.frozen.matrix)


def _components(r: _Run) -> Float[Tensor, "image component class"]:
    parts = [r.frozen.logits(r.run.stream)]
    for layer, heads in enumerate(_heads(r).unbind(dim=1)):
        bias = _scaled(r.model.blocks[layer].ls1, r.model.blocks[layer].attn.proj.bias, r)
        parts += [*heads.unbind(dim=1), r.constant(bias), r.frozen.logits(r.run.mlp_out[layer])]
    return torch.stack([*parts, r.frozen.bias], dim=1)


def _heads(r: _Run) -> Float[Tensor, "image layer head class"]:
    def of_layer(layer: int) -> Float[Tensor, "image head class"]:
        pooled = r.frozen.pooled(r.run.heads[layer]).unflatten(-1, (r.model.n_heads, -1))
        return torch.einsum("vbhk,vhkc->bhc", pooled, _head_matrix(r, layer))

    return torch.stack([of_layer(layer) for layer in range(r.model.n_layers)], dim=1)


def _source_tokens(r: _Run) -> Float[Tensor, "image layer head token class"]:
    def of_layer(layer: int) -> Float[Tensor, "image head token class"]:
        attention = head_pattern(r.model, layer, r.run.ports[layer])
        share = torch.einsum("vbq,bhqt->vbht", r.frozen.weights, attention)
        value = r.run.ports[layer].unflatten(-1, (3, r.model.n_heads, -1))[:, :, 2].to(share)
        logits = torch.einsum("bthk,vhkc->vbhtc", value, _head_matrix(r, layer))
        return (share[..., None] * logits).sum(dim=0)

    return torch.stack([of_layer(layer) for layer in range(r.model.n_layers)], dim=1)


def _head_matrix(r: _Run, layer: int) -> Float[Tensor, "vector head d_head class"]:
    """Return the logits of each coordinate of the heads' outputs."""
    return torch.einsum("hkd,vdc->vhkc", r.model.writings[layer], r.frozen.matrix)


def _neurons(r: _Run) -> Float[Tensor, "image layer neuron class"]:
    values = neuron_run(r.model, r.run.stream, "all").neurons

    def of_layer(layer: int) -> Float[Tensor, "image neuron class"]:
        block = r.model.blocks[layer]
        written = _scaled(block.ls2, block.mlp.fc2.weight.T, r)
        logits = torch.einsum("vbn,vnc->bnc", r.frozen.pooled(values[layer]), written @ r.frozen.matrix)
        return torch.cat([logits, r.constant(_scaled(block.ls2, block.mlp.fc2.bias, r))[:, None]], dim=1)

    return torch.stack([of_layer(layer) for layer in range(r.model.n_layers)], dim=1)


def _scaled(scale: Any, written: Tensor | None, r: _Run) -> Float[Tensor, "*rows d_model"]:
    """Return what a layer writes to the stream after LayerScale; zeros for a missing bias."""
    if written is None:
        return r.frozen.weights.new_zeros(r.model.d_model)
    written = written.detach().to(r.frozen.weights)
    return written if isinstance(scale, nn.Identity) else written * scale.gamma.detach().to(written)


def _component_axes(model: ViT) -> tuple[Axis, ...]:
    layers = [
        [*(f"a{layer}.h{head}" for head in range(model.n_heads)), f"a{layer}.bias", f"m{layer}"]
        for layer in range(model.n_layers)
    ]
    return (Axis("component", ("input", *(name for layer in layers for name in layer), "bias")),)


def _head_axes(model: ViT) -> tuple[Axis, ...]:
    return (layer_axis(model), head_axis(model))


def _neuron_axes(model: ViT) -> tuple[Axis, ...]:
    return (layer_axis(model), Axis("neuron", (*range(n_neurons(model)), "bias")))


_WAYS: dict[str, tuple[Callable[[ViT], tuple[Axis, ...]], Callable[[_Run], Tensor]]] = {
    "component": (_component_axes, _components),
    "head": (_head_axes, _heads),
    "source-token": (lambda model: (*_head_axes(model), token_axis(model)), _source_tokens),
    "neuron": (_neuron_axes, _neurons),
}
"""Axes and logits by the parts that they are split into."""

LOGIT_ATTRIBUTION = ReadoutKind(
    key="logit-attribution",
    name="Direct logits of components, heads, source tokens or neurons, with the final norm frozen",
    source="Elhage et al. 2021; Gandelsman et al. 2024, arXiv 2310.05916",
    function=of_clean(logit_attribution),
    passes=lambda model, by: (2 if by == "neuron" else 1, 0),
    numbers=lambda model, by: prod(map(len, _WAYS[by][0](model))) * model.n_classes,
    params={"by": choice(*_WAYS)},
)
