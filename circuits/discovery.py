"""The answer to a work item: scores of every edge, the edges that a method selected, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from ..errors import InputError
from ..results import Exportable
from .circuit import Circuit
from .graph import ComputationGraph, computation_graph
from .recipe import WorkItem
from .scores import EdgeScores, canonical_bytes
from .universe import Universe
from .universes import universe_of

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Discovery(Exportable):
    """The answer to a work item.

    Attributes:
        item: the question.
        scores: scores of every edge; None for methods that only select.
        members: the edges that the method selected; None for methods that only score.
        images: content hashes of the discovery images, in the order of `scores.per_image`.
        trace: record of the method's steps (JSON values).
        provenance: device, versions, warnings and seconds, which are not part of the identity (JSON values).
    """

    item: WorkItem
    scores: EdgeScores | None
    images: tuple[str, ...]
    members: Bool[np.ndarray, "edge"] | None = None
    trace: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The id of the work item."""
        return self.item.id

    @property
    def universe(self) -> Universe:
        """The universe that edge positions refer to."""
        return universe_of(self.item.model, self.item.recipe.over)

    @property
    def graph(self) -> ComputationGraph:
        """The universe as a computation graph.

        Raises:
            InputError: it is another universe.
        """
        return computation_graph(self.universe)

    @property
    def circuit(self) -> Circuit:
        """The edges that the method selected, pruned.

        Raises:
            InputError: the method does not select edges.
        """
        if self.members is None:
            raise InputError(
                f"{self.item.recipe.method.text} scores edges without selecting any; extract a circuit from the scores"
            )
        return Circuit.found(self.universe, self.members, self.scores)

    @property
    def result(self) -> EdgeScores | Circuit:
        """The scores, or the selected edges as a circuit if the method only selects."""
        return self.circuit if self.scores is None else self.scores

    def to_pandas(self) -> pd.DataFrame:
        """Return the frame of `result`."""
        return self.result.to_pandas()

    def to_networkx(self) -> nx.MultiDiGraph:
        """Return the graph of `result`."""
        return self.result.to_networkx()

    def __repr__(self) -> str:
        return f"Discovery({self.id[:12]}, {self.item.text}, {self.result!r})"

    def _first_rows(self, n: int) -> pd.DataFrame:
        return self.result._first_rows(n)

    @cached_property
    def sha256(self) -> str:
        """Checksum over the discovery images and the canonical bytes (little-endian float32) of the arrays."""
        check = sha256("\n".join(self.images).encode())
        arrays = (self.scores.mean, self.scores.std, self.scores.per_image) if self.scores else ()
        for array in arrays:
            check.update(b"-" if array is None else canonical_bytes(array))
        check.update(b"-" if self.members is None else np.packbits(self.members).tobytes())
        return check.hexdigest()
