"""Constant senders: every sender's output is replaced by zero, by its mean over images, or by its output on one image.

A constant has a value per token and dimension. In a run with constants, receivers read their sum and the attention's
output biases, which no sender sends. Senders still compute from what they read, so a sender that an edge is open from
sends what it computes from constants; only closed edges carry the constant itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ..errors import InputError
from .ambient import plain_torch
from .patched_runs import Activations, capture, captured
from .senders import HasSenderOutputs, SenderOutputs
from .vit import ViT, installed


@dataclass(frozen=True, eq=False)
class ConstantOutputs:
    """One output for each sender of a model. Created by `zero_outputs`, `mean_outputs` or `drawn_outputs`.

    Attributes:
        sent: the outputs, as in a run of one image.
        model: fingerprint of the model.
        images: number of images in the mean, or that the outputs were drawn from; 0 for zeros.
        drawn: whether each sender sends its output on one drawn image, and not a mean.
    """

    sent: SenderOutputs
    model: str
    images: int = 0
    drawn: bool = False

    @property
    def text(self) -> str:
        """What they are: `zeros`, `means over 8 images`, `draws from 8 images`."""
        how = "draws from" if self.drawn else "means over"
        return f"{how} {self.images} image{'s' if self.images > 1 else ''}" if self.images else "zeros"

    def check_fit(self, model: ViT) -> None:
        """Check that the outputs are those of a model.

        Raises:
            InputError: they are not.
        """
        if self.model != model.fingerprint:
            raise InputError(
                f"corrupted: these outputs of senders are of the model {self.model[:12]}, expected outputs of "
                f"{model.name} ({model.fingerprint[:12]}); compute them with mean_outputs(model, batches) or "
                "zero_outputs(model) of the model that is run"
            )

    @property
    def digest(self) -> str:
        """Hash of the outputs."""
        check = sha256(self.model.encode())
        for part in (self.sent.stream, *self.sent.heads, *self.sent.mlp_out):
            check.update(part.detach().cpu().contiguous().numpy().tobytes())
        return check.hexdigest()

    def __repr__(self) -> str:
        return f"ConstantOutputs({self.text}, {len(self.sent.heads)} layers, model {self.model[:12]})"


def zero_outputs(model: ViT) -> ConstantOutputs:
    """Return zero as the output of every sender: zero ablation.

    Args:
        model: the model whose senders send zero.

    Examples:
        >>> zeros = zero_outputs(model)
        >>> cs.ImagePairs.of(model, pairs.clean, zeros, pairs.labels).corruption is zeros
        True
    """
    stream = torch.zeros(1, model.n_tokens, model.d_model, dtype=torch.float64)
    heads = torch.zeros(1, model.n_tokens, model.n_heads * model.d_head, dtype=torch.float64)
    sent = SenderOutputs(stream, [heads] * model.n_layers, [stream] * model.n_layers)
    return ConstantOutputs(sent, model.fingerprint)


@plain_torch()
def mean_outputs(model: ViT, batches: Iterable[Float[Tensor, "_ channel height width"]]) -> ConstantOutputs:
    """Return the mean output of every sender over images: mean ablation.

    The mean is taken token by token, in double precision. Use images of several classes: the mean over one class
    keeps what is specific to the class.

    Args:
        model: the model whose senders send their means.
        batches: normalised images, in batches of any size.

    Raises:
        InputError: no images, or images that do not fit the model.

    Examples:
        >>> mean_outputs(model, pairs.clean.split(4))
        ConstantOutputs(means over 8 images, 4 layers, model ...)
    """
    total, images = zero_outputs(model).sent, 0
    for batch in batches:
        run = capture(model, batch)
        total = _mapped(lambda so_far, new: so_far + new.sum(0, True, dtype=torch.float64).cpu(), total, run)
        images += len(batch)
    if not images:
        raise InputError("batches: expected at least one image to average the senders' outputs over, got none")
    return ConstantOutputs(_mapped(lambda summed: summed / images, total), model.fingerprint, images)


@plain_torch()
def drawn_outputs(
    model: ViT, images: Float[Tensor, "image channel height width"], *, seed: int = 0, batch_size: int = 16
) -> ConstantOutputs:
    """Return for each sender its output on one image, drawn by itself: resample ablation.

    Args:
        model: the model whose senders send these outputs.
        images: normalised images to draw from.
        seed: seed of the draws. Use several seeds to average over the draws.
        batch_size: images per forward pass.

    Raises:
        InputError: no images, or images that do not fit the model.

    Examples:
        >>> drawn_outputs(model, pairs.clean, seed=1)
        ConstantOutputs(draws from 8 images, 4 layers, model ...)
    """
    if not len(images):
        raise InputError("images: expected at least one image to draw the senders' outputs from, got none")
    senders = model.n_layers * (model.n_heads + 1) + 1
    which = np.random.default_rng(seed).integers(len(images), size=senders).tolist()
    mlps, heads = which[1 : model.n_layers + 1], np.reshape(which[model.n_layers + 1 :], (model.n_layers, -1))
    sent = _mapped(torch.clone, zero_outputs(model).sent)
    for start in range(0, len(images), batch_size):
        run = capture(model, images[start : start + batch_size])
        here = range(start, start + len(run.stream))
        if which[0] in here:
            sent.stream[0] = run.stream[which[0] - start]
        for layer in range(model.n_layers):
            if mlps[layer] in here:
                sent.mlp_out[layer][0] = run.mlp_out[layer][mlps[layer] - start]
            into, values = (part.unflatten(-1, (model.n_heads, -1)) for part in (sent.heads[layer], run.heads[layer]))
            for head, image in enumerate(heads[layer]):
                if image in here:
                    into[0, :, head] = values[image - start, :, head]
    return ConstantOutputs(sent, model.fingerprint, len(images), drawn=True)


@torch.no_grad()
def constant_run(model: ViT, constants: ConstantOutputs, images: int) -> Activations:
    """Return the run in which every sender sends its constant, repeated for a number of images.

    Raises:
        InputError: the constants are of another model.

    Examples:
        >>> run = constant_run(model, zero_outputs(model), 3)
        >>> len(run.logits), bool((run.logits == run.logits[0]).all())
        (3, True)
    """
    constants.check_fit(model)
    sent = _mapped(lambda value: value.to(device=model.device, dtype=model.dtype), constants.sent)

    def hooks() -> Iterator[RemovableHandle]:
        for block, heads, mlp in zip(model.blocks, sent.heads, sent.mlp_out, strict=True):
            yield block.attn.proj.register_forward_pre_hook(lambda _, __, heads=heads: (heads,))
            yield block.ls2.register_forward_hook(lambda _, __, ___, mlp=mlp: mlp)

    with installed(*hooks()):
        run = captured(model, sent.stream)
    return _repeated(replace(run, constant=True), images)


def _mapped(function: Callable[..., Tensor], *runs: HasSenderOutputs) -> SenderOutputs:
    """Apply a function to each sender's outputs in some runs."""
    layers = range(len(runs[0].heads))
    return SenderOutputs(
        function(*(run.stream for run in runs)),
        [function(*(run.heads[layer] for run in runs)) for layer in layers],
        [function(*(run.mlp_out[layer] for run in runs)) for layer in layers],
    )


def _repeated(run: Activations, images: int) -> Activations:
    def repeated(value: Any) -> Any:
        if isinstance(value, list):
            return [repeated(part) for part in value]
        return value.expand(images, *value.shape[1:]) if isinstance(value, Tensor) else value

    return replace(run, **{field.name: repeated(getattr(run, field.name)) for field in fields(run)})
