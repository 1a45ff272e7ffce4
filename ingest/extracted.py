"""Checks of a user's own circuits: one graph, pruned, and different extractions."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np

from ..circuits import Circuit, ComputationGraph, EdgeScores, Extraction
from ..circuits.recipe import Scalar
from ..discovery import EXTRACTIONS
from ..errors import InputError
from ..models import ViT


def common_graph(model: ViT, scores: EdgeScores | None, circuits: Sequence[Circuit]) -> ComputationGraph:
    """Return the graph that scores and circuits share.

    Raises:
        InputError: neither scores nor circuits, different graphs, the graph of another model, a circuit that is not
            pruned or was extracted from other scores, several circuits without scores.
    """
    _check_circuits(scores, circuits)
    parts = [("scores", scores.graph)] if scores is not None else []
    parts += [("circuits", circuit.graph) for circuit in circuits]
    if not parts:
        raise InputError("scores, circuits: expected scores, circuits, or both, got neither")
    for what, graph in parts:
        if graph != model.graph(graph.form):
            raise InputError(
                f"{what}: their graph has {graph.n_layers} layers of {graph.n_heads} heads, {model.name} has "
                f"{model.n_layers} of {model.n_heads}"
            )
        if graph.form != parts[0][1].form:
            raise InputError(
                f"{what}: expected form {parts[0][1].form}, got {graph.form}; store each form as a separate result"
            )
    return parts[0][1]


def _check_circuits(scores: EdgeScores | None, circuits: Sequence[Circuit]) -> None:
    if scores is not None and not isinstance(scores, EdgeScores):
        raise InputError(f"scores: expected EdgeScores, got {type(scores).__name__}")
    for circuit in circuits:
        if not isinstance(circuit, Circuit):
            raise InputError(f"circuits: expected Circuit, or (Circuit, Evaluation), got {type(circuit).__name__}")
        if circuit.astray:
            raise InputError(f"circuits: {circuit.astray}")
        if not _consistent(scores, circuit):
            raise InputError(f"circuits: {circuit.extraction} was extracted from other scores")
    if scores is None and len(circuits) > 1:
        raise InputError(f"circuits: without scores, expected at most one circuit, got {len(circuits)}")


def _consistent(scores: EdgeScores | None, circuit: Circuit) -> bool:
    """Return whether a circuit may come from these scores, as far as its scores are known."""
    if scores is None or circuit.score is None:
        return True
    return np.array_equal(scores.mean.astype(np.float32), circuit.score.astype(np.float32))


_EXTRACTED = re.compile(r"(?P<kind>[\w.-]+)(\((?P<params>[^()]*)\))?(, all edges: .*)?", re.DOTALL)
_SPEC_NAMES = {"greedy": "edges"}
"""Name in a spec, by the name that a circuit reports."""


def extractions_of(scores: EdgeScores | None, circuits: Sequence[Circuit]) -> list[Extraction]:
    """Return the extractions that circuits report, with the names that specs use.

    Without scores, the extraction is `found`.

    Raises:
        InputError: an extraction is not a name with parameters, or two circuits have the same.
    """
    extractions = [EXTRACTIONS.resolve("found") if scores is None else _extraction(circuit) for circuit in circuits]
    for i, extraction in enumerate(extractions):
        if extraction in extractions[:i]:
            raise InputError(
                f"circuits: two have the extraction {extraction.text}; give one another name: "
                'dataclasses.replace(circuit, extraction="my-cut(n=24)")'
            )
    return extractions


def _extraction(circuit: Circuit) -> Extraction:
    match = _EXTRACTED.fullmatch(circuit.extraction)
    if match is None:
        raise InputError(
            f"circuits: extraction {circuit.extraction!r}: expected a name, such as my-cut, or a name with parameters, "
            "such as my-cut(n=24)"
        )
    kind = _SPEC_NAMES.get(match["kind"], match["kind"])
    params = dict(_param(part) for part in (match["params"] or "").split(", ") if part)
    return Extraction.of(kind, params, EXTRACTIONS[kind].version if kind in EXTRACTIONS else 1)


def _param(part: str) -> tuple[str, Scalar]:
    """Return name and value of `n=24`, or of a flag such as `absolute`."""
    name, equals, text = part.partition("=")
    try:
        value = json.loads(text, parse_constant=str) if equals else True
    except json.JSONDecodeError:
        return name, text
    return name, value if isinstance(value, str | int | float) else text
