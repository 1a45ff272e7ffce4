"""A vision transformer as senders and receivers around one residual stream.

The module stays timm's own, with fused operations; it is only split in three: images → stream → blocks → logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Shaped
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..circuits import ComputationGraph, Form, ModelInfo
from ..errors import InputError
from .ambient import plain_torch
from .fingerprint import fingerprint
from .folding import PortReading
from .preprocess import Preprocess, built_for


@dataclass(frozen=True, eq=False)
class ViT:
    """A loaded model: frozen, in evaluation mode, checked. `load_model` and `load_clip` return it.

    Attributes:
        module: timm's model, on its device and in its dtype.
        name: display name.
        computation: hash of what the model computes, see `fingerprint`.
        preprocess: how the model expects its images.
        labels: name of each class, or None if unknown.
        weights: description of where the weights come from.
        random: whether the weights are random.
        notices: what was assumed when the model was loaded; each was also a warning.
    """

    module: VisionTransformer
    name: str
    computation: str
    preprocess: Preprocess
    labels: tuple[str, ...] | None = None
    weights: str = "as given"
    random: bool = False
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.labels is not None and len(self.labels) != self.n_classes:
            raise InputError(f"labels: expected {self.n_classes} names, one per class, got {len(self.labels)}")
        if self.preprocess.size != (size := built_for(self.module)):
            raise InputError(
                f"preprocess: {self.name} reads images of {size[0]} × {size[1]} pixels, got "
                f"{self.preprocess.size[0]} × {self.preprocess.size[1]}; load it again with image_size"
            )

    def with_preprocess(
        self,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        crop: float | None = None,
        crop_mode: str | None = None,
        interpolation: str | None = None,
    ) -> ViT:
        """Return the same model with other preprocessing, which changes the fingerprint.

        Args:
            mean, std, crop, crop_mode, interpolation: the fields to change, see `Preprocess`.

        Raises:
            InputError: a field has an invalid value.
        """
        fields = {"mean": mean, "std": std, "crop": crop, "crop_mode": crop_mode, "interpolation": interpolation}
        return replace(self, preprocess=self.preprocess.override(**fields))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what the model computes and of its preprocessing, see `fingerprint`."""
        return fingerprint(self.computation, self.preprocess)

    @property
    def blocks(self) -> list[Any]:
        """timm's pre-norm `Block`s; typed as Any because torch types submodules as tensor or module."""
        return list(self.module.blocks)

    @property
    def n_layers(self) -> int:
        return len(self.module.blocks)

    @property
    def n_heads(self) -> int:
        return self.blocks[0].attn.num_heads

    @property
    def d_head(self) -> int:
        return self.blocks[0].attn.head_dim

    @property
    def d_model(self) -> int:
        return self.module.embed_dim

    @property
    def n_tokens(self) -> int:
        """Number of tokens: class token and other prefix tokens first, then patches row by row."""
        return self.module.num_prefix_tokens + self.module.patch_embed.num_patches

    @property
    def n_classes(self) -> int:
        return self.module.num_classes

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.preprocess.size

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.module.parameters()).dtype

    @property
    def exact_dtype(self) -> torch.dtype:
        """Type in which differences are computed and summed: bfloat16 loses small differences of large numbers."""
        return torch.float64 if self.dtype == torch.float64 else torch.float32

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(self.fingerprint, self.name, self.n_layers, self.n_heads, self.d_model, self.n_classes)

    def graph(self, form: Form) -> ComputationGraph:
        return ComputationGraph(self.n_layers, self.n_heads, form)

    def __repr__(self) -> str:
        weights = "random weights, " if self.random else ""
        return (
            f"ViT({self.name}, {weights}{self.n_layers} layers, {self.n_heads} heads, width {self.d_model}, "
            f"{self.n_classes} classes, {self.dtype} on {self.device}, {self.fingerprint[:12]})"
        )

    @cached_property
    def readings(self) -> tuple[PortReading, ...]:
        """Folded q, k and v readings per layer."""
        with plain_torch():
            return tuple(PortReading.of(block, self.exact_dtype) for block in self.blocks)

    @cached_property
    def writings(self) -> tuple[Float[Tensor, "head d_head d_model"], ...]:
        """Each head's output projection into the stream per layer, LayerScale included."""
        with plain_torch():
            return tuple(self._writing(block) for block in self.blocks)

    def _writing(self, block: Any) -> Float[Tensor, "head d_head d_model"]:
        weight = block.attn.proj.weight.detach().to(self.exact_dtype)
        if not isinstance(block.ls1, nn.Identity):
            weight = weight * block.ls1.gamma.detach().to(self.exact_dtype)[:, None]
        return weight.T.reshape(self.n_heads, self.d_head, self.d_model).contiguous()

    @plain_torch()
    @torch.no_grad()
    def embed(self, images: Shaped[Tensor, "image channel height width"]) -> Float[Tensor, "image token d_model"]:
        """Return the stream that enters block 0, after position embedding and norm_pre. No gradient.

        Raises:
            InputError: images of another size, or pixels that are not normalised.
        """
        m = self.module
        return m.norm_pre(m.patch_drop(m._pos_embed(m.patch_embed(self._pixels(images)))))

    def _pixels(self, images: Tensor) -> Float[Tensor, "image channel height width"]:
        """Return images on the model's device and in its dtype."""
        if images.shape[1:] != (3, *self.image_size) or not images.is_floating_point():
            raise InputError(
                f"images: expected normalised pixels in floating point [image, 3, {self.image_size[0]}, "
                f"{self.image_size[1]}] for {self.name}, got {images.dtype} of shape {tuple(images.shape)}; "
                "model.preprocess.normalise(views) converts 8-bit views"
            )
        return images.to(device=self.device, dtype=self.dtype)

    def through_blocks(
        self, stream: Float[Tensor, "image token d_model"], start: int = 0
    ) -> Float[Tensor, "image token d_model"]:
        """Return the stream after the last block: what `logits` receives.

        Args:
            start: number of components that have already written to the stream: 2l enters block l, 2l + 1 enters
                its MLP.
        """
        layer, attended = divmod(start, 2)
        if attended:
            block = self.blocks[layer]
            stream, layer = stream + block.ls2(block.mlp(block.norm2(stream))), layer + 1
        for block in self.blocks[layer:]:
            stream = block(stream)
        return stream

    def readout(self, stream: Float[Tensor, "image token d_model"]) -> Float[Tensor, "image class"]:
        """Return the logits from the stream after the last block: norm, pooling, fc_norm, head."""
        return self.module.forward_head(self.module.norm(stream))

    @plain_torch()
    @torch.no_grad()
    def pooled(self, images: Shaped[Tensor, "image channel height width"]) -> Float[Tensor, "image pooled"]:
        """Return what the classifier reads: the pooled tokens after the last norm. No gradient.

        Raises:
            InputError: images of another size, or pixels that are not normalised.
        """
        return self.module.forward_head(self.module.forward_features(self._pixels(images)), pre_logits=True)

    @plain_torch()
    @torch.no_grad()
    def logits(self, images: Shaped[Tensor, "image channel height width"]) -> Float[Tensor, "image class"]:
        """Return the plain model's logits; images are moved and cast. No gradient.

        Raises:
            InputError: images of another size, or pixels that are not normalised.
        """
        return self.module(self._pixels(images))


@contextmanager
def installed(*hooks: RemovableHandle) -> Iterator[None]:
    """Remove the hooks at the end of the `with` block, also after an error."""
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
