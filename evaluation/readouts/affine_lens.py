"""Affine lens: a logit lens that first translates the stream of each point to that of the last.

    lens(p) = head(pool(norm(x + x W_p + b_p)))

W_p and b_p are fitted by ridge regression to what later components add, `stream_last − stream_p`, on the tokens that
the classifier reads. The penalty is on W_p, so with little data mainly the mean is translated. On the images of the
fit, the translated streams are never further from the last one than the untranslated; at the last point they are equal.

The tuned lens of Belrose et al. 2023, arXiv 2303.08112, which is fitted to the final probabilities instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...circuits import Readout
from ...circuits.kinds import number
from ...errors import InputError
from ...models import ViT, capture, plain_torch, runs_model
from ...models.receiver_runs import tokens_read
from ..execution import DEFAULT, Execution
from ..measured import MeasuredPairs
from ..pairs import check_images
from .batched import Images, class_axis, image_axis, read_images
from .kind import ReadoutKind
from .logit_lens import point_axis, points_of

RIDGE = number(0.01, "a number above 0", lambda value: value > 0)


@dataclass(frozen=True, eq=False)
class AffineLens:
    """A fitted lens. Created by `fit_affine_lens`.

    Attributes:
        matrices: W of each point.
        biases: b of each point.
        ridge: the penalty on W, in units of the mean variance of the last stream.
        n_images: number of images of the fit.
        fingerprint: the model's.
    """

    matrices: Float[Tensor, "point d_model d_model"]
    biases: Float[Tensor, "point d_model"]
    ridge: float
    n_images: int
    fingerprint: str

    def translated(
        self, streams: Float[Tensor, "point image token d_model"]
    ) -> Float[Tensor, "point image token d_model"]:
        """Return the streams of all points, translated to the last one."""
        exact = streams.to(torch.promote_types(streams.dtype, torch.float32))
        matrices, biases = self.matrices.to(exact), self.biases.to(exact)
        added = torch.einsum("pbtd,pde->pbte", exact, matrices) + biases[:, None, None]
        return (exact + added).to(streams.dtype)

    def read(self, model: ViT, images: Images, *, execution: Execution = DEFAULT) -> Readout:
        """Read the logits at every point: `[image, point, class]`.

        Raises:
            InputError: another model, or images that do not fit it.
        """
        if model.fingerprint != self.fingerprint:
            raise InputError(
                f"model: the lens was fitted for {self.fingerprint[:12]}, got {model.fingerprint[:12]} ({model.name}); "
                "fit one for this model"
            )

        @torch.no_grad()
        def read(batch: Images) -> Float[Tensor, "image point class"]:
            translated = self.translated(_streams(model, batch))
            return torch.stack([model.readout(stream) for stream in translated], dim=1).to(model.exact_dtype)

        with plain_torch():
            values = read_images(model, images, read, execution)
        axes = (image_axis(len(images)), point_axis(model), class_axis(model))
        return Readout(AFFINE_LENS.use(ridge=self.ridge), axes, values)

    def __repr__(self) -> str:
        return f"AffineLens({len(self.biases)} points, {self.n_images} images, ridge {self.ridge:g})"


@runs_model
def fit_affine_lens(model: ViT, images: Images, *, ridge: float = 0.01, execution: Execution = DEFAULT) -> AffineLens:
    """Fit the translation of each point's stream to the last stream.

    Args:
        images: normalised images, other than those that are read later.
        ridge: penalty on the matrices, in units of the mean variance of the last stream.
        execution: batch size and progress; progress counts images.

    Raises:
        InputError: images that do not fit the model, or a ridge that is not above 0.

    Examples:
        >>> lens = fit_affine_lens(model, pairs.clean)
        >>> lens.read(model, pairs.clean[:2])
        Readout(affine-lens(ridge=0.01): logit [2 image, 9 point, 10 class])
    """
    AFFINE_LENS.use(ridge=ridge)
    check_images("images", images, model)
    sums, done = _Sums(model), 0
    for batch in images.split(execution.size(model, "block")):
        sums.add(_streams(model, batch)[:, :, : tokens_read(model)])
        done += len(batch)
        execution.report(done, len(images))
    matrices, biases = sums.solved(ridge)
    return AffineLens(matrices, biases, float(ridge), len(images), model.fingerprint)


def _streams(model: ViT, images: Images) -> Float[Tensor, "point image token d_model"]:
    return torch.stack(points_of(capture(model, images)))


class _Sums:
    """Sums over tokens from which the least-squares translations follow, in double precision."""

    def __init__(self, model: ViT) -> None:
        points, width = len(point_axis(model)), model.d_model
        self.count = 0
        self.stream = torch.zeros(points, width, dtype=torch.float64)
        self.added = torch.zeros_like(self.stream)
        self.squares = torch.zeros(points, width, width, dtype=torch.float64)
        self.products = torch.zeros_like(self.squares)

    def add(self, streams: Float[Tensor, "point image token d_model"]) -> None:
        streams = streams.flatten(1, 2).double().cpu()
        added = streams[-1] - streams
        self.count += streams.shape[1]
        self.stream += streams.sum(dim=1)
        self.added += added.sum(dim=1)
        self.squares += streams.mT @ streams
        self.products += streams.mT @ added

    def solved(self, ridge: float) -> tuple[Float[Tensor, "point d_model d_model"], Float[Tensor, "point d_model"]]:
        """Return W and b of each point."""
        mean, added = self.stream / self.count, self.added / self.count
        squares = self.squares / self.count - mean[:, :, None] * mean[:, None]
        products = self.products / self.count - mean[:, :, None] * added[:, None]
        penalty = ridge * squares[-1].diagonal().mean() * torch.eye(mean.shape[1], dtype=mean.dtype)
        matrices = torch.linalg.lstsq(squares + penalty, products).solution
        return matrices, added - (mean[:, None] @ matrices)[:, 0]


def _cross_fitted(model: ViT, pairs: MeasuredPairs, *, execution: Execution, ridge: float) -> Readout:
    """Read each half of the images with the lens of the other half: the images at even and odd places."""
    if len(pairs) < 2:
        raise InputError(f"affine-lens: expected at least two images, half of them for the fit, got {len(pairs)}")
    halves = pairs.clean[::2], pairs.clean[1::2]
    lenses = [fit_affine_lens(model, half, ridge=ridge, execution=execution) for half in halves]
    even, odd = (lens.read(model, half, execution=execution) for lens, half in zip(lenses[::-1], halves, strict=True))
    values = torch.empty(len(pairs), *even.values.shape[1:], dtype=model.exact_dtype).numpy()
    values[::2], values[1::2] = even.values, odd.values
    return Readout(even.use, (image_axis(len(pairs)), *even.axes[1:]), values)


AFFINE_LENS = ReadoutKind(
    key="affine-lens",
    name="Logit lens behind an affine map to the last stream, fitted on the other half of the images",
    source="after Belrose et al. 2023, arXiv 2303.08112",
    function=_cross_fitted,
    passes=lambda model, **params: (2, 0),
    numbers=lambda model, ridge: len(point_axis(model)) * model.n_classes,
    params={"ridge": RIDGE},
)
