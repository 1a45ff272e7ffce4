"""Directions of a change: for each sender and token, the direction in which an attack moves the sender's output.

For pairs of a clean and an attacked image, with d_i[u,p] the difference attacked − clean of the output of sender u at
token p:

    v[u,p] = unit( mean_i d_i / ‖d_i‖ )          coherence[u,p] = ‖ mean_i d_i / ‖d_i‖ ‖

A difference of zero counts as zero in the mean. The offset b[u,p] is what clean images project on v: a quantile of the
projections ⟨o_u,p , v⟩ (default), their mean, or zero as published. Source: the steering of Vi-CD, arXiv 2604.14477,
Algorithm 1 (directions; offset zero); the quantile is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...circuits import ComputationGraph, Form
from ...circuits.kinds import is_number
from ...errors import InputError, check_known
from ...models import SenderOutputs, ViT, runs_model, sender_differences
from ...models.senders import HasSenderOutputs
from ...results import Exportable
from ..execution import DEFAULT, Execution
from ..pairs import ImagePairs
from .edit import check_model

if TYPE_CHECKING:
    import pandas as pd

Offset = Literal["quantile", "mean", "zero"]
"""What is left of a projection: a quantile or the mean of the clean images' projections, or zero."""

Vectors = Float[np.ndarray, "sender token d_model"]
PerToken = Float[np.ndarray, "sender token"]


@dataclass(frozen=True, eq=False)
class Directions(Exportable):
    """A direction and an offset for each sender and token.

    Attributes:
        graph: graph with the senders.
        model: fingerprint of the model.
        vectors: unit vectors; 0 where there is no difference.
        offsets: projections above which a sender is steered.
        coherence: norm of the mean of the unit differences, 0 to 1: 1 if all images change in the same direction. It
            predicts whether steering can work.
        offset: the rule of the offsets, such as `quantile(0.95)`.
        n: number of differences in the mean.
        images: SHA-256 of the content of each clean image; empty if the images have no files.
        source: what the differences are between, such as `pairs` or `groups`.
    """

    graph: ComputationGraph
    model: str
    vectors: Vectors
    offsets: PerToken
    coherence: PerToken
    offset: str
    n: int
    images: tuple[str, ...] = field(default=(), repr=False)
    source: str = "pairs"

    def __post_init__(self) -> None:
        shape = self.vectors.shape
        if len(shape) != 3 or shape[0] != self.graph.n_senders:
            raise InputError(
                f"vectors: expected [sender, token, d_model] for the {self.graph.n_senders} senders of the "
                f"{self.graph.form} form, got {shape}"
            )
        for name in ("offsets", "coherence"):
            if getattr(self, name).shape != shape[:2]:
                raise InputError(
                    f"{name}: expected one per sender and token {shape[:2]}, got {getattr(self, name).shape}"
                )
        for name in ("vectors", "offsets", "coherence"):
            if not np.isfinite(getattr(self, name)).all():
                raise InputError(f"{name}: expected finite numbers, got NaN or infinity")

    @cached_property
    def sha256(self) -> str:
        """Hash of the senders, the directions and the offsets."""
        check = sha256(f"{self.model} {self.graph.form} {self.vectors.shape} {self.vectors.dtype}".encode())
        for values in (self.vectors, self.offsets):
            check.update(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())
        return check.hexdigest()

    @property
    def id(self) -> str:
        """The hash of its content."""
        return self.sha256

    @property
    def defined(self) -> Bool[np.ndarray, "sender token"]:
        """Where there is a direction."""
        return np.asarray(self.vectors.any(axis=2))

    @property
    def mean_coherence(self) -> Float[np.ndarray, "sender"]:
        """Mean coherence of each sender over the tokens that have a direction; 0 if none has one."""
        defined = self.defined
        return (self.coherence * defined).sum(axis=1) / np.maximum(1, defined.sum(axis=1))

    def check_fit(self, model: ViT) -> None:
        """Check that the directions are those of a model.

        Raises:
            InputError: they are of another model, or have another number of tokens.
        """
        check_model("directions", self.model, model)
        expected = (model.n_tokens, model.d_model)
        if self.vectors.shape[1:] != expected:
            raise InputError(
                f"directions: expected {expected[0]} tokens of {expected[1]} dimensions for {model.name}, got "
                f"{self.vectors.shape[1:]}; fit them again at the image size of the model that is run"
            )

    def random(self, *, seed: int) -> Directions:
        """Return random directions at the same senders and tokens; `fit_offsets` then applies the same rule to them."""
        drawn = np.random.default_rng(seed).standard_normal(self.vectors.shape).astype(self.vectors.dtype)
        vectors = drawn / np.linalg.norm(drawn, axis=2, keepdims=True) * self.defined[:, :, None]
        return replace(self, vectors=vectors, coherence=np.zeros_like(self.coherence), source=f"random(seed={seed})")

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per sender: `sender, coherence, highest, tokens, offset`.

        `coherence` and `offset` are means over the `tokens` with a direction, `highest` is the highest coherence.
        """
        import pandas as pd

        tokens = self.defined.sum(axis=1)
        return pd.DataFrame(
            {
                "sender": self.graph.senders,
                "coherence": self.mean_coherence,
                "highest": self.coherence.max(axis=1),
                "tokens": tokens,
                "offset": (self.offsets * self.defined).sum(axis=1) / np.maximum(1, tokens),
            }
        )

    def __repr__(self) -> str:
        senders, tokens, _ = self.vectors.shape
        mean = self.mean_coherence[self.defined.any(axis=1)]
        spread = f"{np.median(mean):.2f} ({mean.min():.2f} to {mean.max():.2f})" if len(mean) else "undefined"
        return (
            f"Directions({self.graph.form} form, {senders} senders × {tokens} tokens, {self.n} {self.source}, "
            f"coherence {spread}, offset {self.offset}, model {self.model[:12]})"
        )


@runs_model
def fit_directions(
    model: ViT,
    pairs: ImagePairs,
    *,
    form: Form = "split",
    offset: Offset = "quantile",
    quantile: int | float = 0.95,
    execution: Execution = DEFAULT,
) -> Directions:
    """Fit the direction in which an attack moves each sender's output at each token, and what clean images project.

    Args:
        model: the model.
        pairs: clean images, and as their corrupted images the same images under the attack. Use discovery images.
        form: form of the graph, which gives the senders.
        offset: `quantile`, `mean` or `zero`, of the clean images' projections.
        quantile: the quantile, 0 to 1.
        execution: batch size and progress; progress counts images, twice.

    Raises:
        InputError: pairs without corrupted images or that do not fit the model, no pairs, an unknown rule, or a
            quantile outside of 0 to 1.

    Examples:
        >>> directions = fit_directions(model, pairs)
        >>> directions
        Directions(split form, 21 senders × 65 tokens, 8 pairs, coherence ... offset quantile(0.95), model ...)
        >>> directions.to_pandas().columns.tolist()
        ['sender', 'coherence', 'highest', 'tokens', 'offset']
    """
    rule = offset_rule(offset, quantile)
    pairs.check_fit(model)
    corrupted = pairs.corrupted
    if not len(pairs):
        raise InputError("pairs: expected at least one pair of a clean and an attacked image, got none")
    size, total, graph = execution.size(model, form), 2 * len(pairs), model.graph(form)
    mean = MeanOfUnits(model, graph)
    for start in range(0, len(pairs), size):
        some = slice(start, start + size)
        clean, attacked = sent(model, pairs.clean[some]), sent(model, corrupted[some])
        mean.add(sender_differences(model, form, attacked, clean), sender_norms(model, graph, clean))
        execution.report(min(start + size, len(pairs)), total)
    vectors, coherence = mean.result()
    bare = Directions(
        graph, model.fingerprint, vectors, np.zeros_like(coherence), coherence, rule, len(pairs), pairs.hashes
    )
    later = replace(execution, progress=lambda done, _: execution.report(len(pairs) + done, total))
    return fit_offsets(model, bare, pairs.clean, offset=offset, quantile=quantile, execution=later)


@runs_model
def fit_offsets(
    model: ViT,
    directions: Directions,
    images: Float[Tensor, "image channel height width"],
    *,
    offset: Offset = "quantile",
    quantile: int | float = 0.95,
    execution: Execution = DEFAULT,
) -> Directions:
    """Return the same directions with offsets from the projections of clean images.

    Args:
        model: the model of the directions.
        directions: the directions.
        images: normalised clean images.
        offset: `quantile`, `mean` or `zero`.
        quantile: the quantile, 0 to 1.
        execution: batch size and progress; progress counts images.

    Raises:
        InputError: directions of another model, no images, an unknown rule, or a quantile outside of 0 to 1.

    Examples:
        >>> directions = fit_directions(model, pairs)
        >>> published = fit_offsets(model, directions, pairs.clean, offset="zero")
        >>> published.offset, float(published.offsets.max())
        ('zero', 0.0)
    """
    directions.check_fit(model)
    rule = offset_rule(offset, quantile)
    if not len(images):
        raise InputError("images: expected at least one clean image, got none")
    if offset == "zero":
        return replace(directions, offsets=np.zeros_like(directions.coherence), offset=rule)
    values = torch.cat(list(_projected(model, directions, images, execution)))
    level = values.mean(dim=0) if offset == "mean" else _quantile(values, quantile)
    return replace(directions, offsets=level.numpy().astype(directions.vectors.dtype), offset=rule)


def _projected(model: ViT, directions: Directions, images: Tensor, execution: Execution) -> Iterator[Tensor]:
    size = execution.size(model, directions.graph.form)
    for start in range(0, len(images), size):
        yield projections(model, directions, sent(model, images[start : start + size])).cpu()
        execution.report(min(start + size, len(images)), len(images))


def _quantile(values: Float[Tensor, "image sender token"], quantile: int | float) -> Float[Tensor, "sender token"]:
    """Return a quantile over images, sender by sender, since torch limits the size of its input."""
    return torch.stack([torch.quantile(values[:, sender], quantile, dim=0) for sender in range(values.shape[1])])


def offset_rule(offset: Offset, quantile: int | float) -> str:
    """Return the rule of an offset as text.

    Raises:
        InputError: an unknown rule, or a quantile outside of 0 to 1.
    """
    check_known("offset", offset, get_args(Offset))
    if not is_number(quantile) or not 0 <= quantile <= 1:
        raise InputError(f"quantile: expected a number from 0 to 1, got {quantile!r}")
    return f"quantile({quantile:g})" if offset == "quantile" else offset


def sent(model: ViT, images: Float[Tensor, "image channel height width"]) -> SenderOutputs:
    """Return the senders' outputs of a plain run."""
    return SenderOutputs.of(model, model.embed(images))[0]


class MeanOfUnits:
    """The mean of unit vectors per sender and token, batch by batch, in double precision."""

    def __init__(self, model: ViT, graph: ComputationGraph) -> None:
        self.total = torch.zeros(graph.n_senders, model.n_tokens, model.d_model, dtype=torch.float64)
        self.images, self.model = 0, model
        self.tolerance = 16 * torch.finfo(model.dtype).eps

    def add(
        self,
        differences: Float[Tensor, "image sender token d_model"],
        scale: Float[Tensor, "image sender token"],
    ) -> None:
        """Add the differences of a batch; one within rounding of `scale`, the norms of the outputs, counts as zero."""
        norms = differences.norm(dim=3)
        differs = norms > self.tolerance * scale
        inverse = torch.where(differs, 1 / norms, 0)  # an infinite value is never chosen
        self.total += torch.einsum("btnd,btn->tnd", differences, inverse).cpu()
        self.images += len(differences)

    def result(self) -> tuple[Vectors, PerToken]:
        """Return the unit vectors of the mean, and its norms."""
        mean = self.total / max(1, self.images)
        norms = mean.norm(dim=2)
        vectors = torch.where(norms[..., None] > 0, mean / norms[..., None].clamp_min(1e-300), 0)
        dtype = self.model.exact_dtype
        return vectors.to(dtype).numpy(), norms.to(dtype).numpy()


def sender_norms(model: ViT, graph: ComputationGraph, run: HasSenderOutputs) -> Float[Tensor, "image sender token"]:
    """Return the norm of each sender's output, from its Gram matrix for heads."""
    parts = [run.stream.to(model.exact_dtype).norm(dim=2)[:, None]]
    for layer, writing in enumerate(model.writings):
        flat = writing.flatten(0, 1)[None] if graph.form == "block" else writing
        values = run.heads[layer].to(writing.dtype).unflatten(-1, flat.shape[:2])
        gram = flat @ flat.transpose(1, 2)
        squares = (torch.einsum("ithk,hkj->ithj", values, gram) * values).sum(-1).clamp_min(0)
        parts += [squares.sqrt().transpose(1, 2), run.mlp_out[layer].to(writing.dtype).norm(dim=2)[:, None]]
    return torch.cat(parts, dim=1)


def projections(model: ViT, directions: Directions, run: HasSenderOutputs) -> Float[Tensor, "image sender token"]:
    """Return ⟨o_u , v⟩ of each sender and token, without computing the outputs of heads."""
    parts, graph = [], directions.graph
    vectors = torch.from_numpy(directions.vectors).to(run.stream.device, model.exact_dtype)
    reads = Readings(model, graph, vectors)
    parts.append(reads.whole(0, run.stream)[:, None])
    for layer in range(model.n_layers):
        parts.append(reads.heads(layer, run.heads[layer]))
        parts.append(reads.whole(graph.mlp_sender(layer), run.mlp_out[layer])[:, None])
    return torch.cat(parts, dim=1)


class Readings:
    """What projects senders' outputs on directions.

    The output of a head is z W_O, so its projection on v is z · (W_O v): d_head numbers per token.
    """

    def __init__(self, model: ViT, graph: ComputationGraph, vectors: Float[Tensor, "sender token d_model"]) -> None:
        self.model, self.graph, self.vectors = model, graph, vectors

    def of_heads(self, layer: int, senders: Iterable[int]) -> Float[Tensor, "sender token width"]:
        """Return W_O v of some senders of a layer's attention."""
        chosen, writing = list(senders), self.model.writings[layer]
        flat = writing.flatten(0, 1)[None] if self.graph.form == "block" else writing
        rows = [sender - self.graph.attention_senders(layer).start for sender in chosen]
        return torch.einsum("skd,std->stk", flat[rows].to(self.vectors), self.vectors[chosen])

    def heads(self, layer: int, values: Float[Tensor, "image token heads"]) -> Float[Tensor, "image sender token"]:
        """Return the projections of all senders of a layer's attention."""
        reading = self.of_heads(layer, self.graph.attention_senders(layer))
        split = values.to(reading.dtype).unflatten(-1, (len(reading), -1))
        return torch.einsum("bnsk,snk->bsn", split, reading)

    def whole(self, sender: int, values: Float[Tensor, "image token d_model"]) -> Float[Tensor, "image token"]:
        """Return the projection of the output of `input` or of an MLP."""
        return (values.to(self.vectors.dtype) * self.vectors[sender]).sum(-1)
