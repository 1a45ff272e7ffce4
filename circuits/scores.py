"""Scores of all edges of a universe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ..errors import InputError
from ..results import Exportable
from . import extraction
from .circuit import Circuit, warn_if_emptied
from .graph import ComputationGraph, Form, computation_graph
from .universe import Universe

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd


@dataclass(frozen=True, eq=False)
class EdgeScores(Exportable):
    """One score per edge, in flat edge order; positive if the edge raises the metric.

    Attributes:
        universe: the universe that edge positions refer to.
        mean: mean over images, in units of the metric.
        std: standard deviation over images (ddof 1); None for fewer than two images.
        per_image: scores per image; None if only the mean was kept.
        additive: sums over edges are meaningful, so the scores project exactly to coarser forms.
        signed: False if scores are magnitudes.
        residual: deviation from the method's conservation law, as a share of the metric's difference; None if the
            method has none, or if the difference is zero or under three standard errors over images.
        residual_absolute: the same in units of the metric; None if the method has no conservation law.
        shares: scores are shares of what each receiver reads. They are comparable only at one receiver, so circuits are
            grown from `logits` or cut at a share, and `top` over all edges raises an error.
        parts: the same scores over each requested token group; not stored.
    """

    universe: Universe
    mean: Float[np.ndarray, "edge"]
    std: Float[np.ndarray, "edge"] | None = None
    per_image: Float[np.ndarray, "image edge"] | None = None
    additive: bool = True
    signed: bool = True
    residual: float | None = None
    residual_absolute: float | None = None
    shares: bool = False
    parts: Mapping[str, EdgeScores] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = self.universe.n_edges
        for name in ("mean", "std", "per_image"):
            values = getattr(self, name)
            if values is None:
                continue
            if values.shape[-1] != n:
                raise InputError(f"{name}: expected {n} edges of {self.universe}, got {values.shape[-1]}")
            if not np.isfinite(values).all():
                bad = self.universe.edge_names[int(np.argwhere(~np.isfinite(values))[0][-1])]
                raise InputError(f"{name}: scores must be finite; edge {bad} is NaN or infinite")

    @property
    def graph(self) -> ComputationGraph:
        """The universe as a computation graph.

        Raises:
            InputError: it is another universe.
        """
        return computation_graph(self.universe)

    @classmethod
    def from_images(cls, universe: Universe, per_image: Float[np.ndarray, "image edge"], **kwargs: Any) -> EdgeScores:
        """Create from scores per image, with mean and standard deviation over images."""
        if len(per_image) == 0:
            raise InputError("scores per image: expected at least one image, got none")
        exact = per_image.astype(np.float64)
        std = exact.std(axis=0, ddof=1).astype(per_image.dtype) if len(per_image) > 1 else None
        return cls(universe, exact.mean(axis=0).astype(per_image.dtype), std, per_image, **kwargs)

    @property
    def n_images(self) -> int | None:
        return None if self.per_image is None else len(self.per_image)

    def subset(self, images: Int[np.ndarray, "chosen"] | Bool[np.ndarray, "image"]) -> EdgeScores:
        """Return the scores over some of the images.

        Raises:
            InputError: there are no scores per image.
        """
        if self.per_image is None:
            raise InputError(
                'scores per image were not kept (keep = "mean"); delete the run, remove its data with gc, and index '
                'again with keep = "per-image"'
            )
        parts = {name: part.subset(images) for name, part in self.parts.items()}
        kind = {"additive": self.additive, "signed": self.signed, "shares": self.shares}
        return EdgeScores.from_images(self.universe, self.per_image[images], **kind, parts=parts)

    def project(self, form: Form) -> EdgeScores:
        """Project additive signed scores to a coarser form by summing over merged edges.

        Exact for the mean and for scores per image. A standard deviation does not project; it is computed again from
        scores per image, or is None without them.

        Raises:
            InputError: the scores are not additive or not signed, or `form` is finer.
        """
        if not (self.additive and self.signed):
            raise InputError(
                f"only additive signed scores project to another form (these are additive={self.additive}, "
                f"signed={self.signed}); score again with form={form!r}"
            )
        index = self.graph.projection(form)
        target = replace(self.graph, form=form)

        def fold(values: np.ndarray) -> np.ndarray:
            out = np.zeros((*values.shape[:-1], target.n_edges), np.float64)
            np.add.at(out.T, index, values.T)
            return out.astype(values.dtype)

        parts = {name: part.project(form) for name, part in self.parts.items()}
        mean = fold(self.mean)
        if self.per_image is None:
            return replace(self, universe=target, mean=mean, std=None, parts=parts)
        per_image = fold(self.per_image)
        std = per_image.std(axis=0, ddof=1) if len(per_image) > 1 else None
        return replace(self, universe=target, mean=mean, std=std, per_image=per_image, parts=parts)

    def rounded(self) -> EdgeScores:
        """Return the scores with scores per image rounded to the archive's precision: float16 times a power of two.

        Mean and standard deviation are unchanged. Idempotent.
        """
        if self.per_image is None:
            return self
        mantissa, exponent = to_half(self.per_image)
        return replace(self, per_image=from_half(mantissa, exponent))

    @cached_property
    def inflow(self) -> Float[np.ndarray, "node"]:
        """Signed sum of scores over all edges into each node."""
        of = self.universe
        return np.bincount(of.edges.receiver, self.mean.astype(np.float64), len(of.components))

    @cached_property
    def outflow(self) -> Float[np.ndarray, "node"]:
        """Signed sum of scores over all edges out of each node."""
        of = self.universe
        return np.bincount(of.edges.sender, self.mean.astype(np.float64), len(of.components))

    def top(self, n: int | float, *, absolute: bool = False) -> Circuit:
        """Return the `n` best edges (a float in (0, 1] is a fraction, rounded to the nearest count), pruned.

        Warns if no edge is left, as do `threshold` and `greedy`.

        Raises:
            InputError: the scores are shares, which have no order over all edges.
        """
        return warn_if_emptied(extraction.top(self, n, absolute=absolute))

    def threshold(self, t: float, *, absolute: bool = False) -> Circuit:
        """Return the edges with a score of at least `t`, pruned."""
        return warn_if_emptied(extraction.threshold(self, t, absolute=absolute))

    def greedy(self, n: int | float, *, absolute: bool = False) -> Circuit:
        """Return `n` edges grown from `logits` upward, best first, pruned."""
        return warn_if_emptied(extraction.greedy(self, n, absolute=absolute))

    def to_pandas(self) -> pd.DataFrame:
        """Return columns `edge, sender, receiver, score`, and `std` if known; one row per edge."""
        import pandas as pd

        of = self.universe
        names, ports = np.array(of.node_names, dtype=object), np.array(of.edges.port, dtype=object)
        receivers = names[of.edges.receiver]
        frame = pd.DataFrame(
            {
                "edge": of.edge_names,
                "sender": names[of.edges.sender],
                "receiver": np.where(ports == "", receivers, receivers + "<" + ports + ">"),
                "score": self.mean,
            }
        )
        if self.std is not None:
            frame["std"] = self.std
        return frame

    def to_networkx(self) -> nx.MultiDiGraph:
        """Return all edges with their scores, and structural links without; see `Circuit.to_networkx`."""
        return Circuit(self.universe, np.ones(self.universe.n_edges, bool)).scored(self).to_networkx()

    def __repr__(self) -> str:
        kept = "no scores per image" if self.n_images is None else f"{self.n_images} images"
        return f"EdgeScores({self.universe.n_edges} edges, {self.universe.text}, {kept})"

    def _first_rows(self, n: int) -> pd.DataFrame:
        return self.to_pandas().sort_values("score", key=np.abs, ascending=False).head(n)


def canonical_bytes(values: np.ndarray) -> bytes:
    """Return floats as little-endian float32 without negative zero: the bytes for checksums."""
    return np.ascontiguousarray(values + 0.0, dtype="<f4").tobytes()


def to_half(
    values: Float[np.ndarray, "image edge"],
) -> tuple[Float[np.ndarray, "image edge"], Int[np.ndarray, "image"]]:
    """Return each image's scores as float16 times a power of two per image, so that small scores survive.

    Half the bytes of float32, with a relative error of at most 2⁻¹¹ for scores down to 2⁻²⁸ of the image's largest.
    """
    half, exponent = _scaled(values)
    over = np.abs(half).max(axis=1, initial=0.0) >= 2**15  # the largest was rounded up to the next power of two
    if over.any():
        half[over], exponent[over] = _scaled(from_half(half[over], exponent[over]))
    return half, exponent


def _scaled(
    values: Float[np.ndarray, "image edge"],
) -> tuple[Float[np.ndarray, "image edge"], Int[np.ndarray, "image"]]:
    largest = np.abs(values).max(axis=1, initial=0.0)
    exponent = np.where(largest > 0, np.frexp(largest)[1] - 15, 0).astype(np.int16)
    half = (values * np.ldexp(1.0, -exponent[:, None].astype(int))).astype(np.float16)
    return half, exponent


def from_half(
    half: Float[np.ndarray, "image edge"], exponent: Int[np.ndarray, "image"]
) -> Float[np.ndarray, "image edge"]:
    """Return the inverse of `to_half`, as float32."""
    return (half * np.ldexp(1.0, exponent[:, None].astype(int))).astype(np.float32)
