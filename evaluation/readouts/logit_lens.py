"""Logit lens: the logits that the read-out would give if the stream ended at an earlier point.

    lens(p) = head(fc_norm(pool(norm(stream_p))))

The points of the residual stream are `resid_pre.0`, what enters block 0; `resid_mid.l`, after the attention of block l;
and `resid_post.l`, after its MLP. At the last point the lens gives the model's logits. The logits of a zero-shot head
are those in its text space. nostalgebraist 2020.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ...circuits import Axis, Readout
from ...circuits.kinds import ABSENT, Param, switch
from ...models import Activations, ViT, capture, runs_model
from ...models.vit import installed
from ..execution import DEFAULT, Execution
from .batched import Images, class_axis, image_axis, read_images, token_axis
from .kind import ReadoutKind, of_clean

Tokens = Literal["each"] | None
EACH_TOKEN = Param.accepting(ABSENT, '"each", or left out for the pooled tokens', lambda value: value == "each")


@runs_model
def logit_lens(
    model: ViT, images: Images, *, norm: bool = True, tokens: Tokens = None, execution: Execution = DEFAULT
) -> Readout:
    """Read the logits from the residual stream before and after every attention and MLP.

    Args:
        images: normalised images.
        norm: whether to apply the model's final norm (and the norm after pooling) to the stream; if not, logits at the
            last point differ from the model's.
        tokens: None pools the tokens as the model does. "each" reads each token as if it were the pooled one.
        execution: batch size and progress; progress counts images.

    Returns:
        Logits `[image, point, class]` or `[image, point, token, class]`.

    Raises:
        InputError: images that do not fit the model, or an unknown value of `tokens`.

    Examples:
        >>> lens = logit_lens(model, pairs.clean)
        >>> lens.names, lens.axis("point").labels[:3]
        (('image', 'point', 'class'), ('resid_pre.0', 'resid_mid.0', 'resid_post.0'))
    """
    use = LOGIT_LENS.use(norm=norm, tokens=tokens)

    def read(batch: Images) -> Float[Tensor, "image point *token class"]:
        run = capture(model, batch)
        logits = [_read_out(model, stream, norm, tokens) for stream in points_of(run)]
        return torch.stack(logits, dim=1).to(model.exact_dtype)

    values = read_images(model, images, read, execution)
    axes = [image_axis(len(images)), point_axis(model), class_axis(model)]
    if tokens:
        axes.insert(2, token_axis(model))
    return Readout(use, tuple(axes), values)


def points_of(run: Activations) -> list[Float[Tensor, "image token d_model"]]:
    """Return the stream at every point of a run."""
    between = [s for pair in zip(run.attention_in, run.mlp_in, strict=True) for s in pair]
    return [*between, run.final]


def point_axis(model: ViT) -> Axis:
    """Return the axis of points in the residual stream."""
    layers = [f"{place}.{layer}" for layer in range(model.n_layers) for place in ("resid_mid", "resid_post")]
    return Axis("point", ("resid_pre.0", *layers))


@torch.no_grad()
def _read_out(
    model: ViT, stream: Float[Tensor, "image token d_model"], norm: bool, tokens: Tokens
) -> Float[Tensor, "image *token class"]:
    if tokens is None:
        return _logits(model, stream, norm)
    count = model.module.num_prefix_tokens + 1  # any pooling of so many equal tokens gives this token
    repeated = stream.flatten(0, 1)[:, None].expand(-1, count, -1)
    return _logits(model, repeated, norm).unflatten(0, stream.shape[:2])


def _logits(model: ViT, stream: Float[Tensor, "image token d_model"], norm: bool) -> Float[Tensor, "image class"]:
    if norm:
        return model.readout(stream)
    with installed(model.module.fc_norm.register_forward_hook(lambda _, args, __: args[0])):
        return model.module.forward_head(stream)


LOGIT_LENS = ReadoutKind(
    key="logit-lens",
    name="Logits read from the residual stream at every point",
    source="nostalgebraist 2020",
    function=of_clean(logit_lens),
    passes=lambda model, **params: (1, 0),
    numbers=lambda model, norm, tokens=None: (
        len(point_axis(model)) * model.n_classes * (model.n_tokens if tokens == "each" else 1)
    ),
    params={"norm": switch(True), "tokens": EACH_TOKEN},
)
