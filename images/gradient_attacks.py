"""Gradient attacks on the pixels of a model's view: FGSM (Goodfellow et al. 2015) and PGD (Madry et al. 2018).

The pixels lie in [0, 1], before normalisation. The loss is the cross entropy, summed over the batch, so that images do
not influence each other. A budget bounds the perturbation δ of an image: `linf` its largest entry, `l2` its Euclidean
norm over all pixels and channels. Steps of PGD, with the gradient g of the loss at z, away from the labels:

    linf: z + step · sign(g)          l2: z + step · g / ‖g‖₂

followed by the projection of z − x on the budget and the clamp of z to [0, 1], in this order or the other one. For
`linf` both orders give the same image. Towards a target class, the sign is the opposite and the loss is the target's.
FGSM is one step of the size of the budget from the image itself.

The attacks are not a proof of robustness: a model that hides its gradients resists them without being robust (Athalye
et al. 2018), and stronger attacks exist, such as AutoAttack (Croce and Hein 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..errors import InputError
from ..models import ViT, plain_torch
from .seeds import Draws

Norm = Literal["linf", "l2"]
NORMS: tuple[Norm, ...] = get_args(Norm)
Order = Literal["project-clamp", "clamp-project"]
ORDERS: tuple[Order, ...] = get_args(Order)

BATCH = 32
"""Number of images that are attacked together: no part of an attack's identity, since images are independent."""

Pixels = Float[Tensor, "image 3 height width"]
Views = UInt8[np.ndarray, "image height width 3"]


@dataclass(frozen=True)
class GradientAttack:
    """The parameters of an attack.

    Attributes:
        eps: the budget, in pixels of [0, 1].
        norm: the norm that the budget bounds.
        steps: number of steps.
        step: size of a step, in the same norm; None for 2.5 · eps / steps.
        restarts: number of random starts in the budget; 0 to start from the image itself.
        order: order of projection and clamp.
    """

    eps: float
    norm: Norm = "linf"
    steps: int = 1
    step: float | None = None
    restarts: int = 0
    order: Order = "project-clamp"

    @property
    def step_size(self) -> float:
        """Size of a step."""
        return 2.5 * self.eps / self.steps if self.step is None else self.step


@dataclass(frozen=True, eq=False)
class Attacked:
    """Attacked images.

    Attributes:
        views: the attacked images, 8 bits; each lies in the budget.
        flat: whether the gradient at the image itself is 0 in every pixel, so that the attack has no direction.
    """

    views: Views
    flat: Bool[np.ndarray, "image"]


@plain_torch()
def attack_views(
    model: ViT,
    views: Views,
    classes: Sequence[int],
    attack: GradientAttack,
    *,
    targeted: bool = False,
    draws: Sequence[Draws] = (),
) -> Attacked:
    """Attack 8-bit views of images.

    The attack runs on real numbers; the result is rounded to 8 bits within the budget (`to_views`). Of several
    restarts, an image keeps the one with the largest loss after rounding (targeted: the smallest).

    Args:
        model: the model whose gradients the attack follows.
        views: the unattacked images as the model sees them.
        classes: index of each image's true class; of its target class if `targeted`.
        attack: the parameters.
        targeted: move towards `classes` instead of away from them.
        draws: the random choices of each image's starts; needed with restarts only.

    Raises:
        InputError: restarts without random choices for each image.

    Examples:
        >>> three = source.class_named("three")
        >>> views = np.stack([source.view(ref) for ref in source.candidates(three)[:4]])
        >>> attacked = attack_views(model, views, [3] * 4, GradientAttack(eps=8 / 255, step=8 / 255))
        >>> int(np.abs(attacked.views.astype(int) - views).max()), attacked.flat.any()
        (8, np.False_)
    """
    if attack.restarts and len(draws) != len(views):
        raise InputError(f"draws: expected one per image ({len(views)}) for random starts, got {len(draws)}")
    parts = []
    for first in range(0, len(views), BATCH):
        batch = slice(first, first + BATCH)
        parts.append(_attack_batch(model, views[batch], classes[batch], attack, targeted, draws[batch]))
    return Attacked(np.concatenate([p.views for p in parts]), np.concatenate([p.flat for p in parts]))


def _attack_batch(
    model: ViT, views: Views, classes: Sequence[int], attack: GradientAttack, targeted: bool, draws: Sequence[Draws]
) -> Attacked:
    images, labels = to_pixels(views, model), torch.as_tensor(classes, device=model.device)
    flat = ~(gradient(model, images, labels) != 0).flatten(1).any(dim=1)
    best, lowest = views, torch.full((len(views),), torch.inf, dtype=torch.float64)
    for _ in range(max(1, attack.restarts)):
        start = images
        if attack.restarts:
            offsets = np.stack([random_offset(views.shape[1:3], attack, stream) for stream in draws])
            start = images + torch.from_numpy(offsets).to(images)
        found = to_views(perturb(model, images, labels, attack, start=start, targeted=targeted), views, attack)
        if attack.restarts <= 1:
            return Attacked(found, flat.cpu().numpy())
        loss = _losses(model, to_pixels(found, model), labels).double().cpu() * (1 if targeted else -1)
        better = (loss < lowest).numpy()
        best, lowest = np.where(better[:, None, None, None], found, best), torch.minimum(loss, lowest)
    return Attacked(best, flat.cpu().numpy())


@plain_torch()
def perturb(
    model: ViT,
    images: Pixels,
    labels: Tensor,
    attack: GradientAttack,
    *,
    start: Pixels | None = None,
    targeted: bool = False,
) -> Pixels:
    """Return attacked pixels in [0, 1], as real numbers.

    Args:
        model: the model whose gradients the attack follows.
        images: pixels in [0, 1].
        labels: index of each image's true class, or of its target class if `targeted`.
        attack: the parameters; its restarts do not count here.
        start: where the first step begins, in the budget; by default, at the images.
        targeted: move towards `labels` instead of away from them.

    Examples:
        >>> three = source.class_named("three")
        >>> pixels = to_pixels(np.stack([source.view(ref) for ref in source.candidates(three)[:4]]), model)
        >>> attacked = perturb(model, pixels, torch.tensor([3] * 4), GradientAttack(eps=0.1, steps=5))
        >>> round(float((attacked - pixels).abs().max()), 4)
        0.1
    """
    sign = -1.0 if targeted else 1.0
    z = images if start is None else _bounded(start, images, attack)
    for _ in range(attack.steps):
        z = z + sign * attack.step_size * _direction(gradient(model, z, labels), attack.norm)
        z = _bounded(z, images, attack)
    return z


def gradient(model: ViT, images: Pixels, labels: Tensor) -> Pixels:
    """Return the gradient of the summed cross entropy with respect to pixels in [0, 1]."""
    with torch.enable_grad():
        leaf = images.detach().clone().requires_grad_(True)
        return torch.autograd.grad(_losses(model, leaf, labels).sum(), leaf)[0]


def _losses(model: ViT, images: Pixels, labels: Tensor) -> Float[Tensor, "image"]:
    """Return each image's cross entropy."""
    mean, std = (images.new_tensor(v).view(1, 3, 1, 1) for v in (model.preprocess.mean, model.preprocess.std))
    return cross_entropy(model.module((images - mean) / std), labels, reduction="none")


def _direction(gradient: Pixels, norm: Norm) -> Pixels:
    if norm == "linf":
        return gradient.sign()
    return gradient / _lengths(gradient).clamp(min=torch.finfo(gradient.dtype).tiny)


def _bounded(z: Pixels, images: Pixels, attack: GradientAttack) -> Pixels:
    """Return z in the budget around the images and in [0, 1]."""
    if attack.order == "project-clamp":
        return _projected(z, images, attack).clamp(0, 1)
    return _projected(z.clamp(0, 1), images, attack)


def _projected(z: Pixels, images: Pixels, attack: GradientAttack) -> Pixels:
    offset = z - images
    if attack.norm == "linf":
        return images + offset.clamp(-attack.eps, attack.eps)
    return images + offset * (attack.eps / _lengths(offset).clamp(min=attack.eps))


def _lengths(offset: Pixels) -> Float[Tensor, "image 1 1 1"]:
    return torch.linalg.vector_norm(offset.flatten(1), dim=1).view(-1, 1, 1, 1)


def random_offset(size: tuple[int, int], attack: GradientAttack, draws: Draws) -> Float[np.ndarray, "3 height width"]:
    """Return a random perturbation in the budget.

    `linf`: uniform in the cube. `l2`: a random direction with a uniform length.
    """
    if attack.norm == "linf":
        return attack.eps * (2 * draws.uniform(3, *size) - 1)
    direction = draws.normal(3, *size)
    return attack.eps * draws.uniform(1) * direction / np.linalg.norm(direction)


def to_pixels(views: Views, model: ViT) -> Pixels:
    """Return 8-bit views as pixels in [0, 1], on the model's device and in its type."""
    pixels = torch.from_numpy(np.ascontiguousarray(views)).permute(0, 3, 1, 2).contiguous()
    return pixels.to(model.device, torch.float32).div(255).to(model.dtype)


def to_views(pixels: Pixels, views: Views, attack: GradientAttack) -> Views:
    """Round attacked pixels to 8 bits without leaving the budget around the unattacked views.

    Rounding may lengthen a perturbation. Then it is scaled down before rounding, by the largest of 65,536 factors that
    keeps it in the budget.
    """
    offsets = pixels.double().permute(0, 2, 3, 1).cpu().numpy() * 255 - views
    low, high = -views.astype(float), 255.0 - views
    if attack.norm == "linf":
        limit = np.floor(attack.eps * 255 + 1e-6)
        rounded = np.rint(offsets).clip(-limit, limit)
    else:
        rounded = np.stack([_rounded_within(offset, attack.eps * 255) for offset in offsets])
    return (views + rounded.clip(low, high)).astype(np.uint8)


def _rounded_within(offset: Float[np.ndarray, "height width 3"], limit: float) -> Float[np.ndarray, "height width 3"]:
    """Return the perturbation, scaled down as little as needed, in whole numbers with at most this norm."""
    whole = np.rint(offset)
    if np.linalg.norm(whole) <= limit:
        return whole
    low, high = 0, 2**16
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if np.linalg.norm(np.rint(offset * middle / 2**16)) <= limit else (low, middle)
    return np.rint(offset * low / 2**16)
