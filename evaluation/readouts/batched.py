"""What all read-outs share: images checked and read batch by batch, and labels of axes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...circuits import Axis
from ...models import ViT
from ..execution import Execution
from ..pairs import ImagePairs, check_images

B = TypeVar("B")
P = TypeVar("P", bound=ImagePairs)
Images = Float[Tensor, "image channel height width"]


def read_images(
    model: ViT, images: Images, read: Callable[[Images], Float[Tensor, "image ..."]], execution: Execution
) -> Float[np.ndarray, "image ..."]:
    """Return what a function reads from images, batch by batch.

    Raises:
        InputError: no images, images of another size, or pixels that are not normalised.
    """
    check_images("images", images, model)
    return _joined(images.split(execution.size(model, "block")), len(images), read, execution)


def read_pairs(
    model: ViT, pairs: P, read: Callable[[P], Float[Tensor, "image ..."]], execution: Execution
) -> Float[np.ndarray, "image ..."]:
    """Return what a function reads from pairs, batch by batch."""
    return _joined(pairs.batches(execution.size(model, "block")), len(pairs), read, execution)


def _joined(
    batches: Iterable[B], total: int, read: Callable[[B], Float[Tensor, "image ..."]], execution: Execution
) -> Float[np.ndarray, "image ..."]:
    parts, done = [], 0
    for batch in batches:
        parts.append(read(batch).cpu())
        done += len(parts[-1])
        execution.report(done, total)
    return torch.cat(parts).numpy()


def image_axis(count: int) -> Axis:
    """Return the axis of images, numbered from 0."""
    return Axis("image", tuple(range(count)))


def class_axis(model: ViT) -> Axis:
    """Return the axis of classes by name; by index if they have no names. A name that occurs twice gets its index."""
    names = model.labels or range(model.n_classes)
    count = Counter(names)
    return Axis("class", tuple(n if count[n] == 1 else f"{n} ({i})" for i, n in enumerate(names)))


def layer_axis(model: ViT) -> Axis:
    """Return the axis of layers, numbered from 0."""
    return Axis("layer", tuple(range(model.n_layers)))


def head_axis(model: ViT) -> Axis:
    """Return the axis of the heads of a layer, numbered from 0."""
    return Axis("head", tuple(range(model.n_heads)))


def token_axis(model: ViT, name: str = "token") -> Axis:
    """Return the axis of tokens, numbered from 0: class token and other prefix tokens first, then patches by row."""
    return Axis(name, tuple(range(model.n_tokens)))
