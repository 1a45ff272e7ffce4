"""Neurons of a model's MLPs: their values, and runs in which they are changed.

The neuron `m{l}.n{b}` is coordinate b of what `blocks[l].mlp.fc2` reads: after the activation function, and after the
gate and the norm of MLPs that have them. It has a value at every token; a run reads and changes neurons at the class
token, at the patches, or at all tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from timm.layers.mlp import GluMlp, Mlp, SwiGLU
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..errors import InputError, NotRepresentable, check_known
from .pooling import ClassAndMean
from .vit import ViT, installed

Tokens = Literal["class", "patches", "all"]
"""Where neurons are read and changed."""

Values = Float[Tensor, "image token neuron"]
Change = Callable[[int, Values], Values]
"""Returns the values that fc2 of a layer reads at the tokens, given the layer and the values that it would read."""

_MLPS = (Mlp, GluMlp, SwiGLU)
"""MLPs that work on each token by itself and end with a linear layer, fc2."""


@dataclass(frozen=True)
class NeuronRun:
    """One run of a model.

    Attributes:
        neurons: the values that fc2 reads at the tokens, per layer, after a change.
        logits: logits of the run.
    """

    neurons: list[Values]
    logits: Float[Tensor, "image class"]


def neuron_tokens(model: ViT, tokens: str) -> slice:
    """Return the positions of the tokens at which neurons are read and changed.

    Raises:
        InputError: an unknown name, or "class" for a model whose classifier does not read a class token.

    Examples:
        >>> neuron_tokens(model, "class"), neuron_tokens(model, "patches")
        (slice(0, 1, None), slice(1, None, None))
    """
    check_known("name", tokens, get_args(Tokens), "tokens")
    if tokens == "class":
        _check_class_token(model)
        return slice(0, 1)
    return slice(model.module.num_prefix_tokens if tokens == "patches" else 0, None)


def _check_class_token(model: ViT) -> None:
    module: Any = model.module
    if module.cls_token is None:
        found = "it has no class token"
    elif module.global_pool == "token" or isinstance(module.attn_pool, ClassAndMean):
        return
    else:
        found = f"its classifier does not read it (global_pool={module.global_pool!r})"
    raise InputError(
        f"tokens: 'class' was expected to name the token that the classifier of {model.name} reads, but {found}; "
        "use tokens='all' or tokens='patches'"
    )


def n_neurons(model: ViT) -> int:
    """Return the number of neurons of each layer's MLP.

    Raises:
        NotRepresentable: an MLP of another kind than timm's Mlp, GluMlp and SwiGLU, or MLPs of several widths.

    Examples:
        >>> n_neurons(model)
        256
    """
    for layer, block in enumerate(model.blocks):
        if type(block.mlp) not in _MLPS or type(block.mlp.fc2) is not nn.Linear:
            raise NotRepresentable(
                f"blocks.{layer}.mlp is a {type(block.mlp).__name__}; neurons are defined for timm's Mlp, GluMlp and "
                "SwiGLU that end with a plain nn.Linear, fc2"
            )
    widths = {block.mlp.fc2.in_features for block in model.blocks}
    if len(widths) > 1:
        raise NotRepresentable(
            f"blocks have MLPs of different numbers of neurons ({', '.join(map(str, sorted(widths)))}); "
            "expected the same in all"
        )
    return widths.pop()


def neuron_run(
    model: ViT,
    stream: Float[Tensor, "image token d_model"],
    tokens: Tokens = "class",
    change: Change | None = None,
) -> NeuronRun:
    """Run a model from the stream that enters block 0, and return its neurons and logits.

    Args:
        stream: what `model.embed` returns for images.
        tokens: where neurons are read and changed, see `neuron_tokens`.
        change: returns the new values of a layer's neurons; None changes nothing. Where gradients are enabled, they
            flow through the returned values: to take the gradient of a run without a change, return the values as is.

    Raises:
        InputError: "class" for a model whose classifier does not read a class token.
        NotRepresentable: an MLP without neurons, see `n_neurons`.

    Examples:
        >>> clean = neuron_run(model, model.embed(pairs.clean))
        >>> len(clean.neurons), clean.neurons[0].shape
        (4, torch.Size([8, 1, 256]))
        >>> silent = neuron_run(model, model.embed(pairs.clean), "all", lambda layer, values: 0 * values)
        >>> silent.logits.shape
        torch.Size([8, 10])
    """
    n_neurons(model)
    places, neurons = neuron_tokens(model, tokens), list[Tensor]()

    def hook(layer: int) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor] | None]:
        def read(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor] | None:
            neurons.append(args[0][:, places])
            if change is None:
                return None
            neurons[-1] = change(layer, neurons[-1])
            return (replaced(args[0], places, neurons[-1]),)

        return read

    def hooks() -> Iterator[RemovableHandle]:
        for layer, block in enumerate(model.blocks):
            yield block.mlp.fc2.register_forward_pre_hook(hook(layer))

    with installed(*hooks()):
        logits = model.readout(model.through_blocks(stream))
    return NeuronRun(neurons, logits)


def replaced(
    values: Float[Tensor, "image token width"], places: slice, new: Float[Tensor, "image place width"]
) -> Float[Tensor, "image token width"]:
    """Return a copy of the values with new ones at some tokens."""
    stop = values.shape[1] if places.stop is None else places.stop
    return torch.cat([values[:, : places.start or 0], new, values[:, stop:]], dim=1)
