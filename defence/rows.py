"""The rows of a defence study: which edits each of them chooses among, and its random controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..circuits import Circuit, EdgeScores, greedy
from ..errors import InputError
from ..evaluation.interventions import (
    Directions,
    Gate,
    Offset,
    ablate_components,
    fit_offsets,
    gated,
    greedy_components,
    largest,
    neuron_attack_effects,
    projection_gate,
    random_edges,
    steer_edges,
    steer_senders,
    suppress_neurons,
)
from ..models import PENALTIES, ViT, mean_outputs
from .answers import BATCH
from .choosing import Candidate
from .detectors import FittedDetector
from .labelled import LabelledImages, joined, twins
from .last_layer import retrained_heads

NONE = "none"
NEURONS = (4, 16, 64, 256)
"""Numbers of suppressed neurons to choose from."""

KEEPING: tuple[Offset, ...] = ("quantile", "mean")
"""Offsets that leave what unattacked images project."""

ROUNDING = 1e-9
"""A loss of exactly the bound is allowed, whatever its rounding."""


@dataclass(frozen=True, eq=False)
class Material:
    """What the defences against one attack are made from, fitted on discovery images.

    Attributes:
        model: the model.
        directions: directions by the rule of their offsets.
        scores: scores of the attack's mechanism, pooled over classes.
        clean: unattacked discovery images.
        attacked: attacked discovery images.
        selection: unattacked selection images, on which thresholds of gates are chosen.
        selection_attacked: the same images, attacked.
        detector: returns the detector that gates a row; called only if the row is computed.
        false_alarms: share of the unattacked selection images that a gate may flag.
        clean_loss: number of unattacked selection images that a defence may lose.
        sizes: numbers of edges to choose from.
        strengths: strengths to choose from.
    """

    model: ViT
    directions: Mapping[Offset, Directions]
    scores: EdgeScores
    clean: LabelledImages
    attacked: LabelledImages
    selection: LabelledImages
    selection_attacked: LabelledImages
    detector: Callable[[], FittedDetector]
    false_alarms: float
    clean_loss: int
    sizes: Sequence[int]
    strengths: Sequence[float]

    def circuit(self, size: int) -> Circuit:
        """Return the circuit of this size, grown from `logits` upward."""
        return greedy(self.scores, size)


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: its name.
        about: what is done to the model.
        candidates: the edits to choose from, the cheapest first, perhaps none; None if it has the settings of `like`.
        like: name of the row whose settings a control has.
        control: returns a random control, given the material, the settings of the row `like`, and a seed.
        attacked_knowing: whether the table has an attack that is run again on the defended model.
    """

    name: str
    about: str
    candidates: Callable[[Material], list[Candidate]] | None = None
    like: str = ""
    control: Callable[[Material, Mapping[str, object], int], Candidate] | None = None
    attacked_knowing: bool = False


def _edges(material: Material, offsets: Sequence[Offset]) -> list[Candidate]:
    found = []
    for size in material.sizes:
        circuit = material.circuit(size)
        for offset in offsets:
            for strength in material.strengths:
                edit = steer_edges(material.directions[offset], circuit, strength)
                found.append(
                    Candidate(edit, {"size": size, "edges": circuit.n_edges, "strength": strength, "offset": offset})
                )
    return found


def _senders(material: Material) -> list[Candidate]:
    found = []
    for size in material.sizes:
        circuit = material.circuit(size)
        graph = circuit.graph
        names = [graph.senders[i] for i in np.unique(graph.edge_sender[circuit.members])]
        for offset in KEEPING:
            for strength in material.strengths:
                edit = steer_senders(material.directions[offset], names, strength)
                settings = {"size": size, "senders": len(names), "strength": strength, "offset": offset}
                found.append(Candidate(edit, settings))
    return found


def _gated(material: Material) -> list[Candidate]:
    """Return steering of the circuit's edges, only of images whose projections exceed those of unattacked images."""
    model, found = material.model, []
    for offset in KEEPING:
        directions = material.directions[offset]
        gate = projection_gate(model, directions, material.selection.images, false_alarms=material.false_alarms)
        found += _behind(gate, _edges(material, (offset,)))
    return found


def _detected(material: Material) -> list[Candidate]:
    """Return steering of the circuit's edges, only of images that a detector flags."""
    return _behind(material.detector(), _edges(material, KEEPING))


def _behind(gate: Gate, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the edits of only those images that a gate flags."""
    shown = {"gate": round(gate.threshold, 4)}
    return [Candidate(gated(c.edit, gate), {**c.settings, **shown}) for c in candidates if c.edit is not None]


def _neurons(material: Material) -> list[Candidate]:
    model, pairs = material.model, twins(material.model, material.clean, material.attacked)
    effects = neuron_attack_effects(model, pairs)
    found = []
    for n in [n for n in NEURONS if n <= len(effects.names)]:
        names = largest(effects, n)
        for to in ("cap", "mean"):
            edit = suppress_neurons(model, names, pairs.clean, to=to)
            found.append(Candidate(edit, {"neurons": n, "to": to}))
    return found


def _components(material: Material) -> list[Candidate]:
    """Return mean ablations of the heads and MLPs that a greedy search adds, one more at a time."""
    model, clean = material.model, material.selection
    means = mean_outputs(model, material.clean.images.split(BATCH))
    pairs = twins(model, clean, material.selection_attacked)
    chosen = greedy_components(model, pairs, means, max_loss=material.clean_loss / len(clean) + ROUNDING).components
    prefixes = [chosen[:n] for n in range(1, len(chosen) + 1)]
    return [Candidate(ablate_components(model, names, means), {"components": " ".join(names)}) for names in prefixes]


def _last_layer(material: Material) -> list[Candidate]:
    both = joined([material.clean, material.attacked])
    heads = retrained_heads(material.model, both.images, both.labels)
    return [Candidate(head, {"penalty": c}) for head, c in zip(heads, PENALTIES, strict=True)]


def _chosen(settings: Mapping[str, object]) -> tuple[int, float, Offset]:
    size, strength, offset = settings["size"], settings["strength"], settings["offset"]
    assert isinstance(size, int) and isinstance(strength, float)
    return size, strength, "mean" if offset == "mean" else "zero" if offset == "zero" else "quantile"


def _drawn_edges(material: Material, settings: Mapping[str, object], seed: int, *, outside: bool) -> Candidate:
    """Return steering of as many random edges as the circuit has, or as there are outside of it."""
    size, strength, offset = _chosen(settings)
    circuit = material.circuit(size)
    count = min(circuit.n_edges, circuit.graph.n_edges - outside * circuit.n_edges)
    drawn = random_edges(circuit.graph, count, seed=seed, outside=circuit if outside else None)
    edit = steer_edges(material.directions[offset], drawn, strength)
    return Candidate(edit, {"size": size, "edges": count, "strength": strength, "offset": offset})


def _random_edges(material: Material, settings: Mapping[str, object], seed: int) -> Candidate:
    return _drawn_edges(material, settings, seed, outside=False)


def _random_others(material: Material, settings: Mapping[str, object], seed: int) -> Candidate:
    return _drawn_edges(material, settings, seed, outside=True)


def _random_directions(material: Material, settings: Mapping[str, object], seed: int) -> Candidate:
    size, strength, offset = _chosen(settings)
    drawn = material.directions[offset].random(seed=seed)
    directions = fit_offsets(material.model, drawn, material.clean.images, offset=offset)
    return Candidate(steer_edges(directions, material.circuit(size), strength), dict(settings))


ROWS: tuple[Row, ...] = (
    Row(NONE, "the model as it is", lambda material: [Candidate(None)], attacked_knowing=True),
    Row(
        "neurons",
        "suppress the neurons with the largest effect on the attack, at or below their clean values",
        _neurons,
    ),
    Row(
        "components",
        "replace heads and MLPs by their clean means, added greedily at a bounded clean cost",
        _components,
    ),
    Row(
        "edges",
        "steer the circuit's edges, by what exceeds the clean images' projections",
        lambda material: _edges(material, KEEPING),
        attacked_knowing=True,
    ),
    Row(
        "edges from zero",
        "steer the circuit's edges, by every positive projection, as published",
        lambda material: _edges(material, ("zero",)),
    ),
    Row("senders", "steer what the circuit's senders send to all receivers", _senders),
    Row(
        "edges, gated",
        "steer the circuit's edges on images whose own projections look attacked",
        _gated,
        attacked_knowing=True,
    ),
    Row(
        "edges, detector",
        "steer the circuit's edges on images that a detector flags",
        _detected,
        attacked_knowing=True,
    ),
    Row(
        "random edges",
        "control: steer as many random edges as `edges`",
        like="edges",
        control=_random_edges,
    ),
    Row(
        "random others",
        "control: steer as many random edges outside of the circuit",
        like="edges",
        control=_random_others,
    ),
    Row(
        "random directions",
        "control: steer the circuit's edges along random directions, with the same rule of offsets",
        like="edges",
        control=_random_directions,
    ),
    Row(
        "last layer",
        "train the last layer again on the same clean and attacked images",
        _last_layer,
        attacked_knowing=True,
    ),
)
"""All rows, in the order of the table."""


def check_sizes(sizes: Sequence[int], n_edges: int) -> None:
    """Check that a graph has circuits of these sizes.

    Raises:
        InputError: it has fewer edges.
    """
    for size in sizes:
        if size > n_edges:
            raise InputError(f"sizes: expected at most {n_edges}, the number of edges of the graph, got {size}")
