"""Results that were read from files of other tools, as a user's own results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ..circuits import IMPORTED, Circuit, EdgeScores
from ..errors import CircuitStoreError, InputError, check_known, warn
from ..formats import FileCircuit, SourceFile, read_circuit
from ..models import ViT, load_model
from .kinds import Kind
from .loading import models_of
from .own import OwnImages, OwnResult
from .spec import load_spec

Scored = Literal["loss", "metric"]
"""What the other tool took gradients or differences of: the metric, or a loss, which falls as the metric rises."""

NOT_STATED: Kind = {"kind": "not-stated", "version": 1}
"""A metric, corruption or condition that neither the file nor the user states."""


def imported_result(
    file: str | Path,
    format: str,
    model: ViT,
    images: OwnImages,
    *,
    scored: Scored | None = None,
    metric: Kind = NOT_STATED,
    found_by: str = "",
    edges: Sequence[int] = (),
) -> OwnResult:
    """Read a file of another tool as a result that `store_results` stores. Nothing in the file is run.

    Its method is `imported`; `index` never computes it. A file that is changed is another question.

    Args:
        file: the file.
        format: one of `formats.FORMATS` that can be read.
        model: the model that the circuit is of.
        images: the class, and what was done to its images; `images` may be left out, if they are unknown.
        scored: required if the file has scores, unless circuitstore wrote it: what the scores are of. Tools that take
            ⟨corrupted − clean, gradient of a loss⟩ have the sign of circuitstore; with a metric in place of the loss,
            the sign is reversed here.
        metric: what the scores measure.
        found_by: name of the method by which the other tool found it.
        edges: also extract circuits of these sizes from the scores, as `edges` in a spec.

    Raises:
        InputError: the file cannot be read, see `formats.read_circuit`; `scored` is missing, or does not fit the file;
            `edges` without scores.

    Examples:
        >>> file = folder / "kept.json"
        >>> _ = file.write_text('[["tok_embeds", "a0.h0.q"], ["a0.h0", "resid_post"]]')
        >>> images = cs.OwnImages(dataset="digits", class_name="three", corruption="other-class")
        >>> imported_result(file, "edge-pruning", model, images).circuits[0].edges
        ('input->a0.h0<q>', 'a0.h0->logits')
    """
    source = read_circuit(file, format, model.graph("split"))
    scores = _scores(source, scored)
    circuits = _circuits(source, scores, edges)
    params = {"format": format, **({"found_by": found_by} if found_by else {})}
    return OwnResult(
        model=model,
        images=images,
        method={"kind": IMPORTED, "version": 1, **params},
        metric=metric,
        scores=scores,
        circuits=circuits,
        source=source.sha256,
        provenance={"source": {"file": source.name, "sha256": source.sha256}, "about": dict(source.circuit.about)},
    )


def _scores(source: SourceFile, scored: Scored | None) -> EdgeScores | None:
    """Return the scores of a file, positive if an edge raises the metric."""
    found = source.circuit
    if scored is not None:
        check_known("value of scored", scored, get_args(Scored))
    if found.scores is None:
        if scored is not None:
            raise InputError(
                f"{source.name}: scored: the file has no scores, so {scored!r} does not apply; leave it out"
            )
        return None
    if found.ours and scored == "metric":
        raise InputError(
            f"{source.name}: scored: circuitstore wrote this file, with positive scores for edges that raise the "
            "metric; leave it out"
        )
    if not found.ours and scored is None:
        raise InputError(
            f"{source.name}: scored: expected loss or metric, whichever the other tool took gradients or differences "
            "of; it decides the sign of the scores (--scored loss or --scored metric)"
        )
    sign = -1.0 if scored == "metric" else 1.0
    return EdgeScores(found.graph, (sign * found.scores).astype(np.float32))


def _circuits(source: SourceFile, scores: EdgeScores | None, sizes: Sequence[int]) -> list[Circuit]:
    """Return the circuit of a file, pruned, and those of the given sizes."""
    found = source.circuit
    for note in found.notes:
        warn(f"{source.name}: {note}")
    if sizes and scores is None:
        raise InputError(f"{source.name}: edges: the file has no scores to extract circuits from; leave it out")
    circuits = [scores.greedy(size) for size in dict.fromkeys(sizes)] if scores is not None else []
    if _selects(found):
        circuits.insert(0, _pruned(source, scores))
    if not circuits:
        warn(
            f"{source.name}: scores edges without selecting any; extract circuits of N edges with --edges N (edges=[N])"
        )
    return circuits


def _selects(found: FileCircuit) -> bool:
    """Return whether a file selects edges: not if it also scores them, and all or none are in the circuit."""
    if found.members is None:
        return False
    return found.scores is None or bool(found.members.any() and not found.members.all())


def _pruned(source: SourceFile, scores: EdgeScores | None) -> Circuit:
    found = source.circuit
    assert found.members is not None
    order = found.order
    if not len(order):
        order = np.flatnonzero(found.members)
        if scores is not None:
            order = order[np.argsort(-np.abs(scores.mean[order]), kind="stable")]
    name = "found" if scores is None else IMPORTED
    circuit = Circuit.pruned(found.graph, order, size_requested=len(order), extraction=name, scores=scores)
    if circuit.n_edges < len(order):
        warn(
            f"{source.name}: {len(order) - circuit.n_edges} of {len(order)} edges are left out, because they are on no "
            "path from input to logits"
        )
    return circuit


def model_named(text: str) -> ViT:
    """Load a model by its name, its folder, or a spec file (`.toml`) that describes it.

    Raises:
        InputError: it cannot be loaded, or the spec has no model.

    Examples:
        >>> model_named("digits").n_layers
        4
    """
    if text.endswith(".toml"):
        (model,) = models_of(load_spec(text), None, ["float32"]).values()
        return model
    try:
        return load_model(text)
    except CircuitStoreError as error:
        raise type(error)(f"model: {error}; for weights and preprocessing, give a spec file (.toml) instead") from error
