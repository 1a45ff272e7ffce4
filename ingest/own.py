"""Results that were found elsewhere, as the questions and answers of a store: checked, nothing written."""

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
    printable,
)
from ..models import DTYPES, ViT
from ..store import rounded
from .extracted import common_graph, extractions_of
from .kinds import Kind, resolved
from .spec import is_printable
from .work import Evaluated, circuit_record, evaluated, versions

RESERVED = ("seconds", "warnings", "image_warnings", "images", "tally")
"""Names in the provenance of answers that were computed here."""


@dataclass(frozen=True, eq=False, kw_only=True)
class OwnImages:
    """Images of one class, what was done to them, and what they are contrasted with.

    The store keeps hashes and names, no pixels. With the same `images` under every condition, circuits compare over
    conditions as those of the same images.

    Attributes:
        dataset: what the data set is called.
        class_name: what the class is called.
        class_index: its logit; None where the name is a label of the model.
        images: the images before any attack.
        files: name of each image, for people.
        condition: what was done to them: `natural`, another condition of a spec, or one of one's own.
        attacked: the images under the condition; where they are given, other pixels are another question.
        corruption: what they are contrasted with: a corruption of a spec, or one of one's own.
        corrupted: their counterparts; where they are given, other pixels are another question.
        target: class that the attack or the metric aims at, by name, label or index.
        word: what the attack writes.
        against: names of the classes that the counterparts come from.
    """

    dataset: str
    class_name: str
    class_index: int | None = None
    images: Contents
    files: Sequence[str] | None = None
    condition: Kind = NATURAL
    attacked: Contents | None = None
    corruption: Kind
    corrupted: Contents | None = None
    target: str | int | None = None
    word: str | None = None
    against: Sequence[str] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class OwnResult:
    """What was found about one class under one condition: scores, circuits, or both.

    Attributes:
        model: the loaded model that it was found in.
        images: the images that it rests on, in the order of the scores per image.
        method: how it was found: a method of a spec, or one of one's own.
        metric: what the scores raise or lower, likewise.
        direction: `noising` (clean run, an edge corrupted) or `denoising` (corrupted run, an edge restored).
        seed: of everything random in it.
        scores: of every edge; None where edges were only selected.
        circuits: circuits, each alone or with its evaluation. They differ in what they say of their extraction; without
            scores there is one.
        report: clean and corrupted images that chose nothing, normalised: circuits that come without an evaluation are
            evaluated on them, beside ten random circuits of the same size.
        provenance: what else should be known of it: JSON values by name.
    """

    model: ViT
    images: OwnImages
    method: Kind
    metric: Kind = "logit"
    direction: Direction = "noising"
    seed: int = 0
    scores: EdgeScores | None = None
    circuits: Sequence[Circuit | tuple[Circuit, Evaluation]] = ()
    report: tuple[Tensor, Tensor] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


class Answer(NamedTuple):
    """What a store keeps of one result: circuits refer to the responses behind their evaluations."""

    discovery: Discovery
    responses: tuple[Response, ...]
    circuits: tuple[CircuitRecord, ...]


def answer(result: OwnResult) -> Answer:
    """A result as a store keeps it; its circuits are evaluated where report images are given.

    Raises:
        InputError: a field that is not what was expected, or fields that do not fit together.
    """
    model, images = result.model, result.images
    if not isinstance(model, ViT):
        raise InputError(f"model: expected a loaded model, got {type(model).__name__}; load it: cs.load_model(module)")
    circuits = [given if isinstance(given, tuple) else (given, None) for given in result.circuits]
    graph = common_graph(model, result.scores, [circuit for circuit, _ in circuits])
    hashes = content_hashes("images", images.images)
    _check_images(hashes, result.scores)
    cls, recipe = _class(model, images), _recipe(result, graph)
    aim = _target(model, images, recipe.metric)
    condition = resolved("condition", images.condition, CONDITIONS)
    _check_contrast(condition, recipe, cls, aim)
    selection = Selection.of(sorted(hashes), 0, GIVEN, 0, tuple(_surroundings(images, hashes, aim)))
    item = WorkItem(model.info, cls, condition, recipe, selection, _contrast(model, images, aim))
    found = extractions_of(result.scores, [circuit for circuit, _ in circuits])
    report = None if result.report is None else _report(result, recipe.metric, cls, aim)
    provenance = {**_provenance(result), "images": [*_rows(images, hashes), *_report_rows(result)]}
    members = next((c.members for e, (c, _) in zip(found, circuits, strict=True) if e.kind == "found"), None)
    discovery = rounded(Discovery(item, result.scores, hashes, members, {}, provenance))
    records = []
    responses: dict[str, Response] = {}
    for extraction, (circuit, evaluation) in zip(found, circuits, strict=True):
        own = None if evaluation is None else Evaluated(evaluation)
        if own is None and report is not None:
            trials = _trials(item, circuit_id(item.id, extraction), report)
            own = evaluated(model, report, circuit, trials, known=responses)
            responses |= {response.id: response for response in own.responses.values()}
        records.append(circuit_record(discovery, extraction, circuit, own))
    return Answer(discovery, tuple(responses.values()), tuple(records))


def _trials(item: WorkItem, circuit: str, report: ImagePairs) -> dict[Role, Trial]:
    """What is run for the evaluation of a circuit: on the report images, which the question does not name."""
    selection = Selection.of(sorted(report.hashes), 0, GIVEN, 0, (report.digest,))
    return {role: replace(trial, selection=selection) for role, trial in trials_of(item, circuit).items()}


# --- what was asked ----------------------------------------------------------------------------------


def _recipe(result: OwnResult, graph: ComputationGraph) -> Recipe:
    method = resolved("method", result.method, METHODS)
    metric = resolved("metric", result.metric, METRICS)
    corruption = resolved("corruption", result.images.corruption, CORRUPTIONS)
    if result.direction not in DIRECTIONS:
        raise unknown("direction", result.direction, DIRECTIONS)
    if not isinstance(result.seed, int) or isinstance(result.seed, bool) or not 0 <= result.seed < 2**63:
        raise InputError(f"seed: expected a whole number from 0 on, got {result.seed!r}")
    signed = True if result.scores is None else result.scores.signed
    if method.kind in METHODS:
        signed = _check_method(method, result, graph, metric)
    (dtype,) = [name for name, type_ in DTYPES.items() if type_ == result.model.dtype]
    return Recipe(method, graph.form, metric, corruption, result.direction, signed, dtype, result.seed)


def _check_method(method: MethodUse, result: OwnResult, graph: ComputationGraph, metric: Metric) -> bool:
    """Whether scores of a registered method are signed; refuse scores that cannot be of it."""
    facts, scores = METHODS[method.kind], result.scores
    facts.check(graph.form, result.direction, metric.kind, dict(method.params))
    if scores is not None and (scores.signed, scores.shares) != (facts.signed, facts.shares):
        raise InputError(
            f"method: scores of {method.kind!r} are signed={facts.signed}, shares={facts.shares}, these are "
            f"signed={scores.signed}, shares={scores.shares}; name the method that they are of"
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
        raise InputError(f"{what}: expected 1 to 200 printable signs without blanks at the ends, got {name!r}")


def _target(model: ViT, images: OwnImages, metric: Metric) -> int | None:
    """Logit of the class that the metric aims at by a parameter, else of that which the images name."""
    named = dict(metric.params).get("target") if metric.kind in METRICS else None
    asked = images.target if named is None else named
    if asked is None:
        return None
    labels = Labels.of_model(model.labels, model.n_classes)
    index = labels.find(str(asked))
    if index is None:
        raise InputError(f"target: {labels.explain_missing(str(asked))} of {model.name}; give its index")
    return index


def _check_contrast(condition: Condition, recipe: Recipe, cls: ClassInfo, aim: int | None) -> None:
    """Refuse what can be said but has no meaning."""
    corruption, metric = recipe.corruption, recipe.metric
    if condition.kind == NATURAL and corruption.kind in CORRUPTIONS and CORRUPTIONS[corruption.kind].needs_attack:
        raise InputError(f"corruption: {corruption.kind} contrasts natural images with themselves; state the condition")
    if metric.kind in METRICS and METRICS[metric.kind].needs_targets and aim is None:
        raise InputError(f"target: the metric {metric.kind} needs a target class, got none; name it")
    if aim == cls.class_index:
        raise InputError(f"target: class {aim} is the class itself; name another")


def _surroundings(images: OwnImages, hashes: Sequence[str], aim: int | None) -> Iterator[str]:
    """What else the question rests on: attacked and corrupted pixels in the order of the images' hashes."""
    order = np.argsort(hashes)
    for what, contents in (("attacked", images.attacked), ("corrupted", images.corrupted)):
        if contents is None:
            continue
        found = content_hashes(what, contents)
        if len(found) != len(hashes):
            raise InputError(f"{what}: expected one for each of {len(hashes)} images, got {len(found)}")
        yield from (what, *(found[i] for i in order))
    if images.word is not None:
        yield f"word {images.word}"
    if aim is not None:
        yield f"target {aim}"
    yield from (f"against {name}" for name in images.against)


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


# --- what was found ----------------------------------------------------------------------------------


def _check_images(hashes: Sequence[str], scores: EdgeScores | None) -> None:
    first: dict[str, int] = {}
    for i, hash_ in enumerate(hashes):
        if first.setdefault(hash_, i) != i:
            raise InputError(f"images: {first[hash_]} and {i} (counted from 0) are the same image; count each once")
    if scores is not None and scores.n_images not in (None, len(hashes)):
        raise InputError(f"scores: they are of {scores.n_images} images, but {len(hashes)} images are given")


def _report(result: OwnResult, metric: Metric, cls: ClassInfo, aim: int | None) -> ImagePairs:
    """The report images as pairs with their classes."""
    assert result.report is not None
    if metric.kind not in METRICS:
        raise InputError(
            f"report: circuits cannot be evaluated by {metric.kind!r}, a metric of your own; give their evaluations"
        )
    clean, corrupted = result.report
    content = result.images.images if result.images.attacked is None else result.images.attacked
    known = content_hashes("images", content)
    hashes = content_hashes("report", clean)
    for i, hash_ in enumerate(hashes):
        if hash_ in known:
            raise InputError(
                f"report: image {i} is image {known.index(hash_)} of those that the result rests on (counted from 0); "
                "evaluate on images that chose nothing"
            )
    targets = None if aim is None else [aim] * len(clean)
    return ImagePairs.of(result.model, clean, corrupted, [cls.class_index] * len(clean), targets, hashes=hashes)


def _provenance(result: OwnResult) -> dict[str, Any]:
    taken = sorted({*RESERVED, *versions(result.model)} & result.provenance.keys())
    if taken:
        raise InputError(f"provenance: {', '.join(taken)} is written by circuitstore; choose other names")
    given = dict(result.provenance)
    try:
        json.dumps(given, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"provenance: expected JSON values by name: {error}") from error
    return {**versions(result.model), **given}


def _rows(images: OwnImages, hashes: Sequence[str]) -> Iterator[dict[str, str]]:
    """What `Store.images` says of each image."""
    files = list(images.files) if images.files is not None else _paths(images.images)
    if files and len(files) != len(hashes):
        raise InputError(f"files: expected a name for each of {len(hashes)} images, got {len(files)}")
    for i, hash_ in enumerate(hashes):
        yield {"split": "discovery", "hash": hash_, **({"file": printable(files[i])} if files else {})}


def _paths(contents: Contents) -> list[str]:
    """Folder and name of each file, where images are given by their files."""
    entries = () if isinstance(contents, Tensor | np.ndarray) else contents
    return [f"{entry.parent.name}/{entry.name}" for entry in entries if isinstance(entry, Path)]


def _report_rows(result: OwnResult) -> Iterator[dict[str, str]]:
    for hash_ in content_hashes("report", result.report[0]) if result.report is not None else ():
        yield {"split": "report", "hash": hash_}
