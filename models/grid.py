"""Infer the image size of a checkpoint from its position embeddings, which give the number of patches, not the grid."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import InputError
from .preprocess import built_for, is_size

Size = tuple[int, int]
"""Height and width, in pixels or in patches."""

_EMBEDDINGS = ("pos_embed", "visual.pos_embed", "visual.trunk.pos_embed", "visual.positional_embedding")


def parse_size(value: object) -> Size | None:
    """Return an image size as height and width; None if none was given.

    Raises:
        InputError: neither a positive whole number nor two of them.
    """
    if value is None:
        return None
    sides = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if not is_size(sides):
        raise InputError(f"image_size: expected pixels, or height and width, as positive whole numbers, got {value!r}")
    height, width = sides
    return int(height), int(width)


def check_patches(name: str, module: Any, size: Size) -> None:
    """Check that patches fill an image size.

    Raises:
        InputError: a size that is not a multiple of the model's patch size.
    """
    patch = _patch(module)
    if any(side % p for side, p in zip(size, patch, strict=True)):
        raise InputError(
            f"image_size: {name} reads patches of {_text(patch)} pixels; expected multiples of that, got {_text(size)}"
        )


def check_memory(name: str, module: Any, size: Size, device: torch.device) -> None:
    """Check that a device has the memory that `check_model` needs at an image size.

    Args:
        module: the model, which may be on the meta device.

    Raises:
        InputError: the images are too large; the message gives the memory needed.
    """
    layers, heads = len(module.blocks), max(getattr(part, "num_heads", 1) for part in module.modules())
    streams = 1 + layers * (heads + 17) + 3 * heads  # differences of all senders, inputs, activations of two runs
    as_built = size == built_for(module)
    tokens = module.num_prefix_tokens + (module.patch_embed.num_patches if as_built else _count(size, _patch(module)))
    needed = 2 * streams * tokens * module.embed_dim * 4
    if not _can_hold(device, needed):
        raise InputError(
            f"image_size: images of {_text(size)} pixels are {tokens:,} tokens of {name}, and checking the model needs "
            f"{needed / 2**30:,.0f} GiB of memory, more than {device} has; use smaller images"
        )


def _can_hold(device: torch.device, n_bytes: int) -> bool:
    if device.type == "cuda":
        return n_bytes <= torch.cuda.mem_get_info(device)[1]
    try:  # operating systems grant about as much as exists, and allocate pages on first use
        torch.empty(n_bytes, dtype=torch.uint8, device=device)
    except (RuntimeError, TypeError):  # TypeError: more than 64 bits
        return False
    return True


class Trained(NamedTuple):
    """The image size at which weights were trained, and the assumptions behind it."""

    size: Size
    notices: tuple[str, ...] = ()


def trained_size(
    where: str, module: Any, own: Size, tensors: Mapping[str, Tensor], stated: Size | None, script: Size | None
) -> Trained:
    """Return the image size that the position embeddings fit.

    This is the first of the following whose grid has as many patches: the size stated by the user, the size in the
    training script's arguments, the architecture's own, a square.

    Args:
        where: the file, for messages.
        module: the architecture, which may be on the meta device.
        own: the architecture's image size.
        tensors: tensors of the file.
        stated: the size stated by the user.
        script: the size in the training script's arguments.

    Raises:
        InputError: the number of position embeddings fits none of these.
    """
    embeddings = next((tensors[name] for name in _EMBEDDINGS if name in tensors), None)
    if embeddings is None or embeddings.ndim < 2:
        size = stated or script or own
        return Trained(size, () if stated or script else (_no_embeddings_notice(where, size),))
    patch, tokens = _patch(module), embeddings.shape[-2]
    known = [size for size in (stated, script, own) if size]
    for count in _patch_counts(module, tokens):
        root = isqrt(count)
        fitting = [s for s in (*known, (root * patch[0], root * patch[1])) if _count(s, patch) == count]
        if fitting:
            return _first_fitting(where, count, patch, fitting, known, stated)
    raise InputError(
        f"checkpoint: {where}: {tokens} position embeddings fit neither {_text(own)} pixels in patches of "
        f"{_text(patch)} nor a square; state the image size that the weights were trained at as image_size"
    )


def _first_fitting(
    where: str, count: int, patch: Size, fitting: list[Size], known: list[Size], stated: Size | None
) -> Trained:
    """Return the first size that fits, with a notice if it was guessed or if another size also fits."""
    size = fitting[0]
    grid, others = _grid(size, patch), dict.fromkeys(_grid(s, patch) for s in fitting[1:])
    others.pop(grid, None)
    reading = f"{where}: its {count} position embeddings are read as {_text(grid)} patches"
    if others and size == stated:
        rival = next(iter(others))
        also = f"as image_size says, but {_text(rival)} would also fit"
        wrong = f"if they are {_text(rival)}, load the file at that size and resize the module (set_input_size)"
        return Trained(size, (f"{reading}, {also}; {wrong}",))
    if size in known:
        return Trained(size)
    return Trained(size, (f"{reading}, so images of {_text(size)} pixels; state image_size if that is wrong",))


def resampling_notices(where: str, module: Any, trained: Size, size: Size) -> tuple[str, ...]:
    """Return the notice about position embeddings that are resampled to another grid."""
    before, after = (_text(_grid(s, _patch(module))) for s in (trained, size))
    return (
        f"{where}: position embeddings are resampled from {before} to {after} patches, as image_size says; if they "
        f"were not trained as {before}, load the file at its own size and resize the module (set_input_size)",
    )


def _no_embeddings_notice(where: str, size: Size) -> str:
    return (
        f"{where}: it holds no position embeddings from which to infer the image size, so the architecture's own "
        f"{_text(size)} pixels are assumed; state image_size if that is wrong"
    )


def _patch_counts(module: Any, tokens: int) -> list[int]:
    """Return how many embeddings may belong to patches; published layouts have one or none for the class token."""
    own = 0 if module.no_embed_class else module.num_prefix_tokens
    return [tokens - prefix for prefix in dict.fromkeys((own, 1, 0)) if tokens > prefix]


def _patch(module: Any) -> Size:
    height, width = module.patch_embed.patch_size
    return height, width


def _grid(size: Size, patch: Size) -> Size:
    return size[0] // patch[0], size[1] // patch[1]


def _count(size: Size, patch: Size) -> int:
    rows, columns = _grid(size, patch)
    return rows * columns


def _text(sides: Size) -> str:
    return f"{sides[0]} × {sides[1]}"
