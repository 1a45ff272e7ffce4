"""A stored circuit: its question, extraction, evaluation and identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ..results import Exportable
from .circuit import Circuit, as_networkx
from .drawing import MAX_EDGES, Drawing
from .recipe import Variant, WorkItem, digest
from .response import Role
from .scores import canonical_bytes
from .subject import subject_columns

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd


class Extraction(Variant):
    """How circuits are taken from a discovery: `retention(target=0.9)`, `top(n=24)`, or `found` by the method."""


SHARES = ("retention", "faithfulness")
"""Figures of an evaluation that compare the circuit with the whole model, 1 if they agree."""
MIN_IMAGES = 6
"""Discovery images below which a circuit is flagged: halves for its noise floor would be one or two images."""


def circuit_id(discovery_id: str, extraction: Extraction) -> str:
    """Return the hash of discovery id and extraction.

    Examples:
        >>> len(circuit_id("3f2a81", Extraction.of("top", {"n": 24})))
        64
    """
    return digest({"discovery": discovery_id, "extraction": extraction.to_dict()})


@dataclass(frozen=True)
class Evaluation(Exportable):
    """The performance of a circuit on images that were not used to find it.

    Metrics are means over `n` images. `faithfulness` and `retention` are None if their gap is not positive or is under
    three standard errors; then `reasons` has the reason by name of the figure. `metric_random` has the metric of each
    random connected circuit of the same size on the same images.
    """

    n: int
    metric_full: float
    metric_empty: float
    metric_circuit: float
    faithfulness: float | None
    accuracy_full: float
    accuracy_empty: float
    accuracy_circuit: float
    retention: float | None
    metric_random: tuple[float, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def faithfulness_random(self) -> float | None:
        """Mean faithfulness of the random circuits; None if faithfulness is undefined or there are none."""
        if self.faithfulness is None or not self.metric_random:
            return None
        mean = float(np.mean(self.metric_random))
        return (mean - self.metric_empty) / (self.metric_full - self.metric_empty)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row: the fields, NaN for undefined figures, and `faithfulness_random`; `reasons` as text."""
        import pandas as pd

        reasons = "; ".join(f"{name}: {reason}" for name, reason in self.reasons.items())
        row = asdict(self) | {"metric_random": list(self.metric_random), "reasons": reasons}
        frame = pd.DataFrame([row | {"faithfulness_random": self.faithfulness_random}])
        return frame.astype(dict.fromkeys(("faithfulness", "faithfulness_random", "retention"), float))


@dataclass(frozen=True, eq=False)
class CircuitRecord(Exportable):
    """A circuit with all properties of its graph node.

    Attributes:
        item: the question that its discovery answers.
        extraction: how it was extracted, with resolved parameters.
        circuit: members, order and requested size.
        n_images: number of discovery images behind its scores; 0 if unknown.
        evaluation: on report images; None if there were none.
        frequency: per edge of the universe, share of bootstrap samples in which it is among the n best.
        full_in: per node of the universe, signed inflow over all edges; None without scores.
        full_out: likewise the outflow.
        notes: warnings that belong to it.
        responses: ids of the responses that the evaluation was computed from, by role; none where they are not stored.
    """

    item: WorkItem
    extraction: Extraction
    circuit: Circuit
    n_images: int
    evaluation: Evaluation | None
    frequency: Float[np.ndarray, "edge"] | None = None
    full_in: Float[np.ndarray, "node"] | None = None
    full_out: Float[np.ndarray, "node"] | None = None
    notes: tuple[str, ...] = ()
    responses: Mapping[Role, str] = field(default_factory=dict)

    @property
    def discovery_id(self) -> str:
        return self.item.id

    @cached_property
    def id(self) -> str:
        return circuit_id(self.item.id, self.extraction)

    @property
    def question(self) -> str:
        """Hash of the question, independent of the images and the versions of the kinds.

        Of circuits that answer the same question, the newest one is used.
        """
        item, recipe = self.item, self.item.recipe
        asked = (item.model.id, item.target_class.key, item.condition.text, recipe.text, recipe.dtype, recipe.seed)
        return digest([*asked, self.extraction.text, *filter(None, [item.selection.group])])

    @property
    def flag(self) -> str:
        """Why the circuit says little about its class; empty if there is no known reason.

        `whole model`: every edge is a member. `empty`: no edge is. `few images`: fewer than `MIN_IMAGES` discovery
        images, if their number is known. Several reasons are separated by commas.
        """
        edges, everything = self.circuit.n_edges, self.circuit.universe.n_edges
        reasons = {
            "whole model": edges == everything,
            "empty": edges == 0,
            "few images": 0 < self.n_images < MIN_IMAGES,
        }
        return ", ".join(reason for reason, holds in reasons.items() if holds)

    @cached_property
    def sha256(self) -> str:
        """Checksum over members in order, canonical bytes of their values, and the evaluation."""
        order = self.circuit.order
        check = sha256("\n".join(self.circuit.universe.edge_names[i] for i in order).encode())
        for values in (self.circuit.score, self.circuit.std, self.frequency):
            check.update(b"-" if values is None else canonical_bytes(values[order]))
        for values in (self.full_in, self.full_out):
            check.update(b"-" if values is None else canonical_bytes(values))
        check.update(digest(asdict(self.evaluation) if self.evaluation else None).encode())
        check.update(str((self.circuit.size_requested, self.n_images)).encode())
        return check.hexdigest()

    def to_pandas(self) -> pd.DataFrame:
        """Return the frame of its circuit, with the `frequency` of the members if known."""
        frame = self.circuit.to_pandas()
        if self.frequency is not None:
            frame["frequency"] = self.frequency[self.circuit.members]
        return frame

    def to_networkx(self) -> nx.MultiDiGraph:
        """Return the graph of its circuit, with the columns of its frame."""
        return as_networkx(self.circuit, self.to_pandas())

    def draw(self, *, max_edges: int = MAX_EDGES, scale: float | None = None) -> Drawing:
        """Draw its circuit by its scores; arguments are those of `Circuit.draw`."""
        return self.circuit.draw(label=self.item.text, max_edges=max_edges, scale=scale)

    def _repr_svg_(self) -> str | None:
        return self.draw().svg if self.circuit.universe.has_drawing else None

    def _drawing(self) -> str:
        return self._repr_svg_() or ""

    def __repr__(self) -> str:
        return f"CircuitRecord({self.id[:12]}, {self.item.text}, {self.circuit!r})"

    def _first_rows(self, n: int) -> pd.DataFrame:
        return self.to_pandas().sort_values("rank").head(n)

    def properties(self) -> dict[str, Any]:
        """Return the properties of its graph node and catalog row by name, except `created_ms`."""
        item, recipe, e = self.item, self.item.recipe, self.evaluation
        return {
            "id": self.id,
            **subject_columns(item),
            "method": recipe.method.text,
            "form": recipe.form,
            "corruption": recipe.corruption.text,
            "word": item.contrast.word,
            "target": item.contrast.target,
            "against": item.contrast.against_text,
            "metric": recipe.metric.text,
            "direction": recipe.direction,
            "extraction": self.extraction.text,
            "flag": self.flag,
            "size_requested": self.circuit.size_requested,
            "n_nodes": self.circuit.n_nodes,
            "n_edges": self.circuit.n_edges,
            "n_graph_edges": self.circuit.universe.n_edges,
            "n_images": self.n_images,
            "n_eval": e.n if e else 0,
            "metric_full": e.metric_full if e else None,
            "metric_empty": e.metric_empty if e else None,
            "metric_circuit": e.metric_circuit if e else None,
            "faithfulness": e.faithfulness if e else None,
            "faithfulness_random": e.faithfulness_random if e else None,
            "accuracy_full": e.accuracy_full if e else None,
            "accuracy_empty": e.accuracy_empty if e else None,
            "accuracy_circuit": e.accuracy_circuit if e else None,
            "retention": e.retention if e else None,
            "seed": recipe.seed,
            "sha256": self.sha256,
        }
