"""A user's own results, checked and converted to items and answers; nothing is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from ..circuits import (
    GIVEN,
    NATURAL,
    Circuit,
    CircuitRecord,
    ClassInfo,
    ComputationGraph,
    Condition,
    Contrast,
    Corruption,
    Discovery,
    EdgeScores,
    Evaluation,
    MethodUse,
    Metric,
    Recipe,
    Response,
    Role,
    Selection,
    Trial,
    WorkItem,
    circuit_id,
    trials_of,
)
from ..circuits.recipe import DIRECTIONS, Direction
from ..discovery import METHODS
from ..errors import InputError, unknown
from ..evaluation import METRICS, ImagePairs
from ..images import (
    CONDITIONS,
    CORRUPTIONS,
    Contents,
    Labels,
    content_hashes,
    has_image,
    printable,
)
from ..models import DTYPES, ConstantOutputs, ViT
from ..store import rounded
from .evaluating import Evaluated, circuit_record, evaluate_circuit
from .extracted import common_graph, extractions_of
from .kinds import Kind, resolve_kind
from .provenance import versions
from .spec import is_printable

RESERVED = ("seconds", "warnings", "image_warnings", "images", "tally", "attack", "constants")
"""Names in the provenance of computed answers."""


@dataclass(frozen=True, eq=False, kw_only=True)
class OwnImages:
    """Images of one class, what was done to them, and what they are contrasted with.

    The store keeps hashes and names, not pixels. With the same `images` under every condition, circuits are compared
    as circuits of the same images.

    Attributes:
        dataset: name of the data set.
        class_name: name of the class.
        class_index: index of its logit; optional if the name is a label of the model.
        images: the images before any attack; None if they are unknown.
        files: a readable name for each image.
        condition: what was done to the images: `natural`, another condition of a spec, or your own.
        attacked: the attacked images; if given, different pixels are a different question.
        corruption: what the images are contrasted with: a corruption of a spec, or your own.
        corrupted: the corrupted images or, with corruptions of activations, the constants in their place; if given,
            different pixels or constants are a different question.
        target: target class of the attack or the metric, by name, label or index.
        word: the written word.
        against: names of the classes of the corrupted images.
    """

    dataset: str
    class_name: str
    class_index: int | None = None
    images: Contents | None = None
    files: Sequence[str] | None = None
    condition: Kind = NATURAL
    attacked: Contents | None = None
    corruption: Kind
    corrupted: Contents | ConstantOutputs | None = None
    target: str | int | None = None
    word: str | None = None
    against: Sequence[str] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class OwnResult:
    """Scores, circuits, or both, of one class under one condition.

    Attributes:
        model: the loaded model.
        images: the images that the result was computed on, in the order of the scores per image.
        method: how it was found: a method of a spec, or your own.
        metric: what the scores measure: a metric of a spec, or your own.
        direction: `noising` (clean run, an edge corrupted) or `denoising` (corrupted run, an edge restored).
        seed: the random seed.
        scores: the score of every edge; None if the method only selects edges.
        circuits: circuits, or pairs of a circuit and its evaluation. Their extractions must differ; without scores,
            only one circuit is allowed.
        report: held-out clean and corrupted images, normalised; with the corruptions `zero` and `mean`, the constants
            in place of corrupted images. Circuits without an evaluation are evaluated on them,
            together with ten random circuits of the same size.
        source: SHA-256 of the file that the result was read from; the content of another file is another question.
        provenance: any further JSON values by name.
    """

    model: ViT
    images: OwnImages
    method: Kind
    metric: Kind = "logit"
    direction: Direction = "noising"
    seed: int = 0
    scores: EdgeScores | None = None
    circuits: Sequence[Circuit | tuple[Circuit, Evaluation]] = ()
    report: tuple[Tensor, Tensor | ConstantOutputs] | None = None
    source: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)


class Answer(NamedTuple):
    """The stored parts of one result; circuits refer to the responses that their evaluations were computed from."""

    discovery: Discovery
    responses: tuple[Response, ...]
    circuits: tuple[CircuitRecord, ...]


def answer(result: OwnResult) -> Answer:
    """Check a result, evaluate its circuits if it has report images, and return what is stored of it.

    Raises:
        InputError: a field is invalid, or fields do not fit together.
    """
    model, images = result.model, result.images
    if not isinstance(model, ViT):
        raise InputError(f"model: expected a loaded model, got {type(model).__name__}; load it: cs.load_model(module)")
    circuits = [entry if isinstance(entry, tuple) else (entry, None) for entry in result.circuits]
    graph = common_graph(model, result.scores, [circuit for circuit, _ in circuits])
    hashes = () if images.images is None else content_hashes("images", images.images)
    _check_images(hashes, result.scores)
    cls, recipe = _class(model, images), _recipe(result, graph)
    aim = _target(model, images, recipe.metric)
    condition = resolve_kind("condition", images.condition, CONDITIONS)
    _check_contrast(condition, recipe, cls, aim)
    _check_corrupted(result, recipe.corruption)
    selection = Selection.of(sorted(hashes), 0, GIVEN, 0, tuple(_surroundings(result, hashes, aim)))
    item = WorkItem(model.info, cls, condition, recipe, selection, _contrast(model, images, aim))
    extractions = extractions_of(result.scores, [circuit for circuit, _ in circuits])
    report = None if result.report is None else _report(result, recipe, cls, aim)
    constants = images.corrupted if isinstance(images.corrupted, ConstantOutputs) else None
    provenance = {**_provenance(result), "images": [*_rows(images, hashes), *_report_rows(result)]}
    if result.source:
        provenance["warnings"] = [f"imported from a file with the SHA-256 {result.source}"]
    if constants is not None:
        provenance["constants"] = {"images": constants.images, "values_hash": constants.digest}
    members = next((c.members for e, (c, _) in zip(extractions, circuits, strict=True) if e.kind == "found"), None)
    discovery = rounded(Discovery(item, result.scores, hashes, members, {}, provenance))
    records = []
    responses: dict[str, Response] = {}
    for extraction, (circuit, evaluation) in zip(extractions, circuits, strict=True):
        outcome = None if evaluation is None else Evaluated(evaluation)
        if outcome is None and report is not None:
            trials = _trials(item, circuit_id(item.id, extraction), report)
            outcome = evaluate_circuit(model, report, circuit, trials, known=responses)
            responses |= {response.id: response for response in outcome.responses.values()}
        records.append(circuit_record(discovery, extraction, circuit, outcome))
    return Answer(discovery, tuple(responses.values()), tuple(records))


def _trials(item: WorkItem, circuit: str, report: ImagePairs) -> dict[Role, Trial]:
    """Return the trials of the evaluation of a circuit on the report images, which are not part of the question."""
    selection = Selection.of(sorted(report.hashes), 0, GIVEN, 0, (report.digest,))
    return {role: replace(trial, selection=selection) for role, trial in trials_of(item, circuit).items()}


# --- the question ------------------------------------------------------------------------------------


def _recipe(result: OwnResult, graph: ComputationGraph) -> Recipe:
    method = resolve_kind("method", result.method, METHODS)
    metric = resolve_kind("metric", result.metric, METRICS)
    corruption = resolve_kind("corruption", result.images.corruption, CORRUPTIONS)
    if result.direction not in DIRECTIONS:
        raise unknown("direction", result.direction, DIRECTIONS)
    if not isinstance(result.seed, int) or isinstance(result.seed, bool) or not 0 <= result.seed < 2**63:
        raise InputError(f"seed: expected a whole number of at least 0, got {result.seed!r}")
    signed = True if result.scores is None else result.scores.signed
    if method.kind in METHODS:
        signed = _check_method(method, result, graph, metric)
        if corruption.kind in CORRUPTIONS and not has_image(corruption):
            METHODS[method.kind].check_without_images(result.direction)
    (dtype,) = [name for name, type_ in DTYPES.items() if type_ == result.model.dtype]
    return Recipe(method, graph.form, metric, corruption, result.direction, signed, dtype, result.seed)


def _check_method(method: MethodUse, result: OwnResult, graph: ComputationGraph, metric: Metric) -> bool:
    """Return whether scores of a registered method are signed; raise an error if the scores do not fit the method."""
    facts, scores = METHODS[method.kind], result.scores
    facts.check(graph.form, result.direction, metric.kind, dict(method.params))
    if scores is not None and (scores.signed, scores.shares) != (facts.signed, facts.shares):
        raise InputError(
            f"method: scores of {method.kind!r} are signed={facts.signed}, shares={facts.shares}, these are "
            f"signed={scores.signed}, shares={scores.shares}; name the method that computed them"
        )
    return facts.signed


def _class(model: ViT, images: OwnImages) -> ClassInfo:
    for what, name in (("dataset", images.dataset), ("class_name", images.class_name)):
        _check_name(what, name)
    labels = Labels.of_model(model.labels, model.n_classes)
    index = labels.find(images.class_name) if images.class_index is None else images.class_index
    if index is None:
        raise InputError(
            f"class_name: {labels.explain_missing(images.class_name)} of {model.name}; give class_index as well"
        )
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < model.n_classes:
        raise InputError(f"class_index: {model.name} has classes 0 to {model.n_classes - 1}, got {index!r}")
    return ClassInfo(images.dataset, images.class_name, index)


def _check_name(what: str, name: object) -> None:
    if not isinstance(name, str) or not 1 <= len(name) <= 200 or not is_printable(name):
        raise InputError(
            f"{what}: expected 1 to 200 printable characters without leading or trailing spaces, got {name!r}"
        )


def _target(model: ViT, images: OwnImages, metric: Metric) -> int | None:
    """Return the logit of the target class: the parameter of the metric, or else the target of the images."""
    named = dict(metric.params).get("target") if metric.kind in METRICS else None
    target = images.target if named is None else named
    if target is None:
        return None
    labels = Labels.of_model(model.labels, model.n_classes)
    index = labels.find(str(target))
    if index is None:
        raise InputError(f"target: {labels.explain_missing(str(target))} of {model.name}; give its index")
    return index


def _check_contrast(condition: Condition, recipe: Recipe, cls: ClassInfo, aim: int | None) -> None:
    """Raise an error for a corruption or metric that is undefined under the condition."""
    corruption, metric = recipe.corruption, recipe.metric
    if condition.kind == NATURAL and corruption.kind in CORRUPTIONS and CORRUPTIONS[corruption.kind].needs_attack:
        raise InputError(f"corruption: {corruption.kind} contrasts natural images with themselves; state the condition")
    if metric.kind in METRICS and METRICS[metric.kind].needs_targets and aim is None:
        raise InputError(f"target: the metric {metric.kind} needs a target class, got none; name it")
    if aim == cls.class_index:
        raise InputError(f"target: class {aim} is the class itself; name another")


def _check_corrupted(result: OwnResult, corruption: Corruption) -> None:
    """Check that constants belong to a corruption of activations and to the model, and are those of the report."""
    corrupted = result.images.corrupted
    constant = isinstance(corrupted, ConstantOutputs)
    if corrupted is not None and corruption.kind in CORRUPTIONS and constant == has_image(corruption):
        expected = "images" if has_image(corruption) else "the constants of zero_outputs or mean_outputs"
        raise InputError(f"corrupted: with the corruption {corruption.text}, expected {expected}")
    if not isinstance(corrupted, ConstantOutputs):
        return
    corrupted.check_fit(result.model)
    reported = None if result.report is None else result.report[1]
    if isinstance(reported, ConstantOutputs) and reported.digest != corrupted.digest:
        raise InputError("report: expected the same constants as in `corrupted`, got others; give those of the scores")


def _surroundings(result: OwnResult, hashes: Sequence[str], aim: int | None) -> Iterator[str]:
    """Yield the rest of the question: hashes of attacked and corrupted pixels in the images' order, target, word."""
    images = result.images
    order = np.argsort(hashes)
    for what, contents in (("attacked", images.attacked), ("corrupted", images.corrupted)):
        if contents is None:
            continue
        if isinstance(contents, ConstantOutputs):
            yield f"constants {contents.digest}"
            continue
        others = content_hashes(what, contents)
        if len(others) != len(hashes):
            raise InputError(f"{what}: expected one for each of {len(hashes)} images, got {len(others)}")
        yield from (what, *(others[i] for i in order))
    if images.word is not None:
        yield f"word {images.word}"
    if aim is not None:
        yield f"target {aim}"
    yield from (f"against {name}" for name in images.against)
    if result.source:
        yield f"source {result.source}"


def _contrast(model: ViT, images: OwnImages, aim: int | None) -> Contrast:
    if images.word is not None:
        _check_name("word", images.word)
    if isinstance(images.against, str):
        raise InputError(f"against: expected a list of names, got {images.against!r}")
    for name in images.against:
        _check_name("against", name)
    words = Labels.of_model(model.labels, model.n_classes).words
    target = None if aim is None else words[aim] if words else str(aim)
    return Contrast(images.word, target, tuple(images.against))


# --- the answer --------------------------------------------------------------------------------------


def _check_images(hashes: Sequence[str], scores: EdgeScores | None) -> None:
    first: dict[str, int] = {}
    for i, hash_ in enumerate(hashes):
        if first.setdefault(hash_, i) != i:
            raise InputError(
                f"images: {first[hash_]} and {i} (counted from 0) are the same image; give each image once"
            )
    if hashes and scores is not None and scores.n_images not in (None, len(hashes)):
        raise InputError(f"scores: expected scores of the {len(hashes)} images, got scores of {scores.n_images}")


def _report(result: OwnResult, recipe: Recipe, cls: ClassInfo, aim: int | None) -> ImagePairs:
    """Return the report images as pairs with their classes."""
    assert result.report is not None
    metric = recipe.metric
    if metric.kind not in METRICS:
        raise InputError(
            f"report: circuits cannot be evaluated with your own metric {metric.kind!r}; give their evaluations"
        )
    clean, corrupted = result.report
    content = result.images.images if result.images.attacked is None else result.images.attacked
    if content is None:
        raise InputError("report: give `images`, too: held-out images are compared with them")
    known = content_hashes("images", content)
    hashes = content_hashes("report", clean)
    for i, hash_ in enumerate(hashes):
        if hash_ in known:
            raise InputError(
                f"report: image {i} is also image {known.index(hash_)} of `images` (counted from 0); "
                "evaluate on held-out images"
            )
    corruption = recipe.corruption
    if corruption.kind in CORRUPTIONS and isinstance(corrupted, Tensor) != has_image(corruption):
        expected = "corrupted images" if has_image(corruption) else "the constants of zero_outputs or mean_outputs"
        raise InputError(f"report: with the corruption {corruption.text}, expected clean images and {expected}")
    targets = None if aim is None else [aim] * len(clean)
    return ImagePairs.of(result.model, clean, corrupted, [cls.class_index] * len(clean), targets, hashes=hashes)


def _provenance(result: OwnResult) -> dict[str, Any]:
    taken = sorted({*RESERVED, *versions(result.model)} & result.provenance.keys())
    if taken:
        raise InputError(f"provenance: {', '.join(taken)} is reserved by circuitstore; choose other names")
    own = dict(result.provenance)
    try:
        json.dumps(own, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"provenance: expected JSON values by name: {error}") from error
    return {**versions(result.model), **own}


def _rows(images: OwnImages, hashes: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield the row of each image in `Store.images`."""
    files = list(images.files) if images.files is not None else _paths(images.images)
    if files and len(files) != len(hashes):
        raise InputError(f"files: expected a name for each of {len(hashes)} images, got {len(files)}")
    for i, hash_ in enumerate(hashes):
        yield {"split": "discovery", "hash": hash_, **({"file": printable(files[i])} if files else {})}


def _paths(contents: Contents | None) -> list[str]:
    """Return folder and name of each file, if images are given as files."""
    entries = () if contents is None or isinstance(contents, Tensor | np.ndarray) else contents
    return [f"{entry.parent.name}/{entry.name}" for entry in entries if isinstance(entry, Path)]


def _report_rows(result: OwnResult) -> Iterator[dict[str, str]]:
    for hash_ in content_hashes("report", result.report[0]) if result.report is not None else ():
        yield {"split": "report", "hash": hash_}
