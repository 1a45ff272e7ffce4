"""Corruptions that degrade the image itself: blur, shuffled patches, noise."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from ..circuits import Corruption
from ..circuits.kinds import number as number_param
from ..circuits.kinds import whole
from ..errors import InputError
from .batch import Batch, with_draws
from .blur import blur
from .corruption_kind import CorruptionKind, Views
from .noise import add_normal
from .params import number, share
from .seeds import Draws


def _blur(corruption: Corruption, batch: Batch) -> Views:
    return blur(batch.views, number(corruption["radius"]) * batch.views.shape[1])


def _noise(corruption: Corruption, batch: Batch) -> Views:
    std = float(number(corruption["std"]))
    return np.stack([add_normal(view, std, draws) for view, draws in with_draws(batch, corruption)])


def _patch_shuffle(corruption: Corruption, batch: Batch) -> Views:
    """Cut every image into tiles × tiles pieces, and put them together in an order that depends on the image."""
    tiles = int(number(corruption["tiles"]))
    height, width = batch.views.shape[1:3]
    if height % tiles or width % tiles:
        valid = [n for n in range(2, 65) if height % n == 0 and width % n == 0]
        raise InputError(
            f"patch-shuffle: tiles: {tiles} does not divide an image of {width} × {height} pixels; "
            f"expected one of {', '.join(map(str, valid))}"
        )
    return np.stack([_shuffle(view, tiles, draws) for view, draws in with_draws(batch, corruption)])


def _shuffle(
    view: UInt8[np.ndarray, "height width 3"], tiles: int, draws: Draws
) -> UInt8[np.ndarray, "height width 3"]:
    height, width = view.shape[0] // tiles, view.shape[1] // tiles
    pieces = view.reshape(tiles, height, tiles, width, 3).swapaxes(1, 2).reshape(tiles**2, height, width, 3)
    mixed = pieces[draws.permutation(tiles**2)]
    return mixed.reshape(tiles, tiles, height, width, 3).swapaxes(1, 2).reshape(view.shape)


BLUR = CorruptionKind(
    key="blur", name="the image blurred by a Gaussian", apply=_blur, params={"radius": share(0.1, 0.001, 1.0)}
)
PATCH_SHUFFLE = CorruptionKind(
    key="patch-shuffle",
    name="the image cut into tiles × tiles pieces, put together in random order",
    apply=_patch_shuffle,
    params={"tiles": whole(8, 2, 64)},
)
GAUSSIAN_NOISE = CorruptionKind(
    key="gaussian-noise",
    name="the image with normal noise on every pixel, rounded and clipped to 8 bits",
    apply=_noise,
    params={
        "std": number_param(1.0, "a standard deviation in pixels of [0, 1], above 0 and up to 1", lambda v: 0 < v <= 1)
    },
)
