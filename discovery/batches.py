"""Image pairs as they come from the user: checked once, moved batch by batch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from numbers import Integral

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..circuits import Form
from ..errors import CircuitStoreWarning, InputError
from ..models import ViT
from .metrics import Asked, MetricKind
from .tokens import Masks, TokenGroups

Classes = Int[Tensor, "image"]
Indices = Sequence[int] | np.ndarray | Tensor

_BUDGET = {"cpu": 2**29, "cuda": 2**33}
"""Bytes that a default batch may take. Fixed, not measured: a batch's size can move the last bit of a float32 score."""

FAR = 20.0
"""Magnitude beyond which a pixel does not look normalised, unless the model's own normalisation reaches further."""


@dataclass(frozen=True)
class Pairs:
    """Clean images, what each is contrasted with, and the classes that the metric reads.

    Attributes:
        clean: normalised images.
        corrupted: one for each clean image.
        asked: what the metric reads of each image.
        metric: what is measured.
        groups: of tokens, whose scores are told apart; None where none are.
    """

    clean: Float[Tensor, "image channel height width"]
    corrupted: Float[Tensor, "image channel height width"]
    asked: Asked
    metric: MetricKind
    groups: TokenGroups | None = None

    @classmethod
    def checked(
        cls,
        model: ViT,
        clean: Tensor,
        corrupted: Tensor,
        labels: Indices,
        targets: Indices | None,
        metric: MetricKind,
        token_groups: Masks | None = None,
    ) -> Pairs:
        """Warns of pixels that are far from normalised, and of single pairs that are equal.

        Raises:
            InputError: images of another size than the model's, pixels that are integers, NaN or infinite (which
                image), pairs that are all equal, not one label or target per image, classes that the model lacks, a
                metric without its targets, a target that is the image's own class, or groups of tokens that do not fit.
        """
        for name, images in (("clean", clean), ("corrupted", corrupted)):
            _check_images(name, images, model)
        _check_contrast(clean, corrupted)
        true, wanted = _classes("labels", labels, len(clean), model), None
        if metric.needs_targets:
            if targets is None:
                raise InputError(f"targets: the metric {metric.key!r} needs a target class per image, got none")
            wanted = _classes("targets", targets, len(clean), model)
            _check_targets(wanted, true, metric)
        logits = _clean_logits(model, clean) if metric.needs_clean else None
        groups = None if token_groups is None else TokenGroups.checked(model, token_groups, len(clean))
        return cls(clean, corrupted, Asked(true, wanted, logits), metric, groups)

    def __len__(self) -> int:
        return len(self.clean)

    @property
    def digest(self) -> str:
        """Hash of the images, the classes and the metric."""
        check = sha256(self.metric.key.encode())
        for part in (self.clean, self.corrupted, self.asked.labels, self.asked.targets):
            check.update(b"-" if part is None else part.detach().cpu().contiguous().numpy().tobytes())
        return check.hexdigest()

    def batches(self, size: int) -> Iterator[Pairs]:
        """Consecutive parts of at most `size` images."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            groups = self.groups and self.groups.part(part)
            yield Pairs(self.clean[part], self.corrupted[part], self.asked.part(part), self.metric, groups)

    def values(self, logits: Float[Tensor, "image class"]) -> Float[Tensor, "image"]:
        """The metric per image."""
        return self.metric.values(logits, self.asked.to(logits.device))

    def token_weights(
        self, stream: Float[Tensor, "image token d_model"], dtype: torch.dtype
    ) -> Float[Tensor, "group image token"]:
        """Which tokens count in which sum, as ones and zeros: all of them first, then each group."""
        everything = torch.ones(1, *stream.shape[:2], dtype=torch.bool)
        masks = everything if self.groups is None else torch.cat([everything, self.groups.masks])
        return masks.to(stream.device, dtype)

    def hits(self, logits: Float[Tensor, "image class"]) -> Float[Tensor, "image"]:
        """1 where the top class is the one that the metric raises, else 0."""
        return (logits.argmax(dim=1).cpu() == self.metric.raised(self.asked).cpu()).double()


def _clean_logits(model: ViT, clean: Tensor) -> Float[Tensor, "image class"]:
    """Of the plain model, in the type in which metrics are held against them."""
    return torch.cat([model.logits(part).to(model.exact_dtype) for part in clean.split(32)])


def _check_images(name: str, images: Tensor, model: ViT) -> None:
    size = (3, *model.image_size)
    if not isinstance(images, Tensor) or images.shape[1:] != size:
        shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        expected = f"[image, {', '.join(map(str, size))}]"
        raise InputError(f"{name}: expected a tensor {expected} for {model.name}, got {shape}")
    if not images.is_floating_point():
        raise InputError(
            f"{name}: expected normalised pixels in floating point, got {images.dtype}; "
            "model.preprocess.normalise(views) makes them of 8-bit views [image, height, width, 3]"
        )
    if len(images) == 0:
        raise InputError(f"{name}: expected at least one image, got none")
    bad = _where(~torch.isfinite(images).flatten(1).all(dim=1))
    if bad:
        raise InputError(f"{name}: NaN or infinite pixels in image {_shown(bad)} (counted from 0); leave them out")
    largest, most = float(images.abs().max()), _largest_normalised(model)
    if largest > most:
        _warn(
            f"{name}: pixels up to {largest:.4g} in magnitude, but normalised pixels of this model lie within "
            f"{most:.4g}; model.preprocess.normalise makes them of 8-bit views"
        )


def _largest_normalised(model: ViT) -> float:
    """The largest magnitude that normalising gives, or `FAR` where that is more."""
    ends = zip(model.preprocess.mean, model.preprocess.std, strict=True)
    return max(FAR, *(max(mean, 1 - mean) / std for mean, std in ends))


def _check_contrast(clean: Tensor, corrupted: Tensor) -> None:
    if len(clean) != len(corrupted):
        raise InputError(f"corrupted: expected one image per clean image ({len(clean)}), got {len(corrupted)}")
    equal = _where((clean == corrupted.to(clean)).flatten(1).all(dim=1))
    if len(equal) == len(clean):
        raise InputError(
            "corrupted: every image equals its clean one, so nothing is contrasted and every figure would be of "
            "nothing; give other corrupted images"
        )
    if equal:
        _warn(
            f"corrupted: {len(equal)} of {len(clean)} images equal their clean ones: {_shown(equal)} (counted from 0); "
            "such a pair contrasts nothing and draws every mean to 0"
        )


def _where(chosen: Bool[Tensor, "image"]) -> list[int]:
    return torch.nonzero(chosen).flatten().tolist()


def _warn(text: str) -> None:
    warnings.warn(text, CircuitStoreWarning, stacklevel=6)


def _check_targets(targets: Classes, labels: Classes, metric: MetricKind) -> None:
    same = _where(targets.cpu() == labels.cpu())
    if same:
        raise InputError(
            f"targets: the metric {metric.key!r} sets a target class against the true one, but they are the same for "
            f"image {_shown(same)} (counted from 0), which would score 0 everywhere; give another class, or leave "
            "them out"
        )


def _shown(positions: list[int]) -> str:
    return ", ".join(map(str, positions[:10])) + (", …" if len(positions) > 10 else "")


def _classes(name: str, values: Indices, count: int, model: ViT) -> Classes:
    try:
        classes = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        known = " (model.labels.index(name) gives that of a name)" if model.labels else ""
        raise InputError(f"{name}: expected {count} class indices, one per image{known}, got {values!r}") from error
    if classes.shape != (count,) or classes.is_floating_point() or classes.dtype == torch.bool:
        raise InputError(
            f"{name}: expected {count} class indices, one per image, "
            f"got {classes.dtype} of shape {tuple(classes.shape)}"
        )
    classes = classes.long()
    wrong = classes[(classes < 0) | (classes >= model.n_classes)].tolist()
    if wrong:
        raise InputError(f"{name}: {model.name} has classes 0 to {model.n_classes - 1}, got {wrong[0]}")
    return classes


def batch_size(model: ViT, form: Form, asked: object) -> int:
    """The size asked for, or one whose buffers fit a fixed budget.

    Raises:
        InputError: not a positive whole number.
    """
    if asked is not None:
        if not isinstance(asked, Integral) or isinstance(asked, bool) or asked < 1:
            raise InputError(f"batch_size: expected a positive whole number, got {asked!r}")
        return int(asked)
    graph = model.graph(form)
    saved = 24 * model.n_layers  # streams' worth of activations that a backward pass keeps, and captures
    image = (graph.n_senders + saved) * model.n_tokens * model.d_model * model.exact_dtype.itemsize
    return int(min(64, max(1, _BUDGET.get(model.device.type, 2**29) // image)))
