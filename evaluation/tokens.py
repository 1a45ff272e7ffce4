"""Groups of token positions, whose scores are told apart: class token, registers, inside and outside of a mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from ..errors import InputError
from ..models import ViT, runs_model

Masks = Mapping[str, Tensor | np.ndarray]


@dataclass(frozen=True)
class TokenGroups:
    """Named sets of token positions, image by image; they may overlap.

    Attributes:
        names: of the groups.
        masks: which tokens belong to each.
    """

    names: tuple[str, ...]
    masks: Bool[Tensor, "group image token"]

    @classmethod
    def checked(cls, model: ViT, masks: Masks, n_images: int) -> TokenGroups:
        """Check masks against a model.

        Raises:
            InputError: no group, a mask that is not boolean, or not of shape `[token]` or `[image, token]`.
        """
        if not masks:
            raise InputError("token_groups: expected at least one named mask, got none")
        shape = (n_images, model.n_tokens)
        return cls(tuple(masks), torch.stack([_checked(name, mask, shape) for name, mask in masks.items()]))

    def __getitem__(self, images: slice) -> TokenGroups:
        """The groups of some of the images."""
        return TokenGroups(self.names, self.masks[:, images])


def _checked(name: str, mask: Tensor | np.ndarray, shape: tuple[int, int]) -> Bool[Tensor, "image token"]:
    given = torch.as_tensor(mask).cpu()
    if given.dtype != torch.bool or given.shape not in (shape, shape[1:]):
        raise InputError(
            f"token_groups: {name!r}: expected a boolean mask [{shape[1]} tokens] or [{shape[0]} images, {shape[1]} "
            f"tokens], got {given.dtype} of shape {tuple(given.shape)}; `token_groups(model, mask)` makes them of "
            "pixels"
        )
    return given.expand(shape)


@runs_model
def token_groups(model: ViT, mask: Tensor | np.ndarray | None = None) -> dict[str, Tensor]:
    """Groups that every token belongs to one of, for `ImagePairs.of(…, token_groups=…)`.

    Args:
        mask: pixels, boolean `[image, height, width]` or `[height, width]`, such as where a text stands. A patch is
            inside when at least half of its pixels are.

    Returns:
        By name, boolean `[token]` (with a mask per image `[image, token]`): `class` (also the distillation token) and
        `registers`, where the model has them; then `patches`, or `inside` and `outside` where there is a mask.

    Raises:
        InputError: a mask that is not boolean or not of the model's image size.
    """
    registers, prefix = getattr(model.module, "num_reg_tokens", 0), model.module.num_prefix_tokens
    place = torch.arange(model.n_tokens)
    groups = {"class": place < prefix - registers, "registers": (place >= prefix - registers) & (place < prefix)}
    groups = {name: tokens for name, tokens in groups.items() if tokens.any()}
    if mask is None:
        return groups | {"patches": place >= prefix}
    inside = _patches_inside(model, mask)
    before = inside.new_zeros(*inside.shape[:-1], prefix)
    return groups | {
        "inside": torch.cat([before, inside], dim=-1),
        "outside": torch.cat([before, ~inside], dim=-1),
    }


def _patches_inside(model: ViT, mask: Tensor | np.ndarray) -> Bool[Tensor, "*image patch"]:
    pixels, size = torch.as_tensor(mask).cpu(), torch.Size(model.image_size)
    if pixels.dtype != torch.bool or pixels.ndim not in (2, 3) or pixels.shape[-2:] != size:
        raise InputError(
            f"mask: expected booleans [image, {size[0]}, {size[1]}] or [{size[0]}, {size[1]}] for {model.name}, "
            f"got {pixels.dtype} of shape {tuple(pixels.shape)}"
        )
    images = pixels.reshape(-1, 1, *size).double()
    share = F.avg_pool2d(images, model.module.patch_embed.patch_size)
    return (share >= 0.5).reshape(*pixels.shape[:-2], -1)
