"""The grid of patches of a model's images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...circuits import Axis
from ...errors import InputError
from ...models import ViT


@dataclass(frozen=True)
class PatchGrid:
    """Rows and columns of patches, which are numbered row by row, and the pixels of a patch.

    Attributes:
        rows: number of rows of patches.
        columns: number of columns of patches.
        height: height of a patch in pixels.
        width: width of a patch in pixels.
    """

    rows: int
    columns: int
    height: int
    width: int

    @classmethod
    def of(cls, model: ViT) -> PatchGrid:
        """Return the grid of a model."""
        rows, columns = model.module.patch_embed.grid_size
        return cls(rows, columns, model.image_size[0] // rows, model.image_size[1] // columns)

    def __len__(self) -> int:
        return self.rows * self.columns

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """The two axes of a map over patches."""
        return Axis("patch_row", tuple(range(self.rows))), Axis("patch_column", tuple(range(self.columns)))

    def sums(self, pixels: Float[Tensor, "image height width"]) -> Float[Tensor, "image patch"]:
        """Return the sum of each patch's pixels."""
        blocks = pixels.unflatten(2, (self.columns, self.width)).unflatten(1, (self.rows, self.height))
        return blocks.sum(dim=(2, 4)).flatten(1)

    def pixels(self, patches: Bool[Tensor, "*run patch"]) -> Bool[Tensor, "*run height width"]:
        """Return the pixels of some patches."""
        grid = patches.unflatten(-1, (self.rows, self.columns))
        return grid.repeat_interleave(self.height, dim=-2).repeat_interleave(self.width, dim=-1)

    def windows(self, side: int) -> Bool[Tensor, "window patch"]:
        """Return all square windows with a side of so many patches, one patch apart.

        Raises:
            InputError: a window does not fit into the grid.
        """
        if side > min(self.rows, self.columns):
            raise InputError(
                f"window: expected at most {min(self.rows, self.columns)} patches, since the image has {self.rows} × "
                f"{self.columns}, got {side}"
            )
        place = torch.arange(self.rows)[:, None], torch.arange(self.columns)[None]
        corners = [(r, c) for r in range(self.rows - side + 1) for c in range(self.columns - side + 1)]
        inside = [(place[0] >= r) & (place[0] < r + side) & (place[1] >= c) & (place[1] < c + side) for r, c in corners]
        return torch.stack(inside).flatten(1)
