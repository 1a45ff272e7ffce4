"""Groups of token positions whose scores are summed separately: class token, registers, inside and outside a mask."""

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
    """Named sets of token positions per image; they may overlap.

    Attributes:
        names: names of the groups.
        masks: the tokens of each group.
    """

    names: tuple[str, ...]
    masks: Bool[Tensor, "group image token"]

    @classmethod
    def checked(cls, model: ViT, masks: Masks, n_images: int) -> TokenGroups:
        """Create groups from masks that fit a model.

        Raises:
            InputError: no group, or a mask that is not boolean or not of shape `[token]` or `[image, token]`.
        """
        if not masks:
            raise InputError("token_groups: expected at least one named mask, got none")
        shape = (n_images, model.n_tokens)
        return cls(tuple(masks), torch.stack([_checked(name, mask, shape) for name, mask in masks.items()]))

    def __getitem__(self, images: slice) -> TokenGroups:
        """Return the groups for a slice of the images."""
        return TokenGroups(self.names, self.masks[:, images])


def _checked(name: str, mask: Tensor | np.ndarray, shape: tuple[int, int]) -> Bool[Tensor, "image token"]:
    tokens = torch.as_tensor(mask).cpu()
    if tokens.dtype != torch.bool or tokens.shape not in (shape, shape[1:]):
        raise InputError(
            f"token_groups: {name!r}: expected a boolean mask [{shape[1]} tokens] or [{shape[0]} images, {shape[1]} "
            f"tokens], got {tokens.dtype} of shape {tuple(tokens.shape)}; `token_groups(model, mask)` creates them "
            "from a mask over pixels"
        )
    return tokens.expand(shape)


@runs_model
def token_groups(model: ViT, mask: Tensor | np.ndarray | None = None) -> dict[str, Tensor]:
    """Return groups that partition the tokens, for `ImagePairs.of(…, token_groups=…)`.

    Args:
        mask: boolean pixels `[image, height, width]` or `[height, width]`, such as the area of a written text. A patch
            is inside if at least half of its pixels are.

    Returns:
        Boolean masks `[token]` by name (with a mask per image `[image, token]`): `class` (including the distillation
        token) and `registers`, if the model has them; then `patches`, or `inside` and `outside` if there is a mask.

    Raises:
        InputError: a mask that is not boolean or not of the model's image size.

    Examples:
        >>> {name: int(tokens.sum()) for name, tokens in token_groups(model).items()}
        {'class': 1, 'patches': 64}
    """
    registers, prefix = getattr(model.module, "num_reg_tokens", 0), model.module.num_prefix_tokens
    place = torch.arange(model.n_tokens)
    groups = {"class": place < prefix - registers, "registers": (place >= prefix - registers) & (place < prefix)}
    groups = {name: tokens for name, tokens in groups.items() if tokens.any()}
    if mask is None:
        return groups | {"patches": place >= prefix}
    inside = patches_inside(model, mask)
    before = inside.new_zeros(*inside.shape[:-1], prefix)
    return groups | {
        "inside": torch.cat([before, inside], dim=-1),
        "outside": torch.cat([before, ~inside], dim=-1),
    }


def patches_inside(model: ViT, mask: Tensor | np.ndarray) -> Bool[Tensor, "*image patch"]:
    """Return the patches of which at least half of the pixels are in a mask.

    Raises:
        InputError: a mask that is not boolean or not of the model's image size.
    """
    pixels, size = torch.as_tensor(mask).cpu(), torch.Size(model.image_size)
    if pixels.dtype != torch.bool or pixels.ndim not in (2, 3) or pixels.shape[-2:] != size:
        raise InputError(
            f"mask: expected booleans [image, {size[0]}, {size[1]}] or [{size[0]}, {size[1]}] for {model.name}, "
            f"got {pixels.dtype} of shape {tuple(pixels.shape)}"
        )
    images = pixels.reshape(-1, 1, *size).double()
    share = F.avg_pool2d(images, model.module.patch_embed.patch_size)
    return (share >= 0.5).reshape(*pixels.shape[:-2], -1)
