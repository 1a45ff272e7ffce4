"""Plan of a run: the work items that follow from a spec, in the order in which they are answered."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ..circuits import (
    NATURAL,
    ClassInfo,
    Condition,
    Metric,
    Recipe,
    Selection,
    WorkItem,
    shares_error,
    universe_of,
)
from ..circuits.extraction import edge_count
from ..discovery import EXTRACTIONS, METHODS
from ..errors import InputError, unknown
from ..evaluation import METRICS
from ..images import (
    BadImage,
    Grouping,
    ImageSource,
    Predictions,
    build_pairs,
    contrast,
    contrast_classes,
    deal_partners,
    freezes_target,
    has_image,
    notice_of,
    order_candidates,
    surroundings,
    targets_of,
)
from ..models import ViT, n_neurons, plain_torch
from .images import attacked_folders, groups_of_class, open_images
from .loading import CHOOSING, attackers_of, models_of
from .planned import Planned, part_of
from .readout_sizes import size_notices
from .requests import Requested, requests_of
from .spec import Spec, errors_at

log = logging.getLogger("circuitstore")


@dataclass(frozen=True)
class Plan:
    """A run: its work items, model and images.

    Attributes:
        spec: the spec that was planned.
        models: the model in each floating-point type that a recipe uses.
        source: the images.
        attackers: other models whose gradients attacks follow.
        items: class by class; within a study, the condition that determines sizes comes first, and a circuit before
            what is read of it.
        notices: messages for the user about the model and the plan.
    """

    spec: Spec
    models: dict[str, ViT]
    source: ImageSource
    attackers: tuple[ViT, ...]
    items: tuple[Planned, ...]
    notices: tuple[str, ...] = ()

    @property
    def model(self) -> ViT:
        """The model that chooses and attacks images."""
        return self.models[CHOOSING]


@plain_torch()
def make_plan(spec: Spec, model: ViT | None = None, *, groups: Grouping | None = None, progress: bool = False) -> Plan:
    """Check a spec, load its model, list its images, and return all of its work items.

    Args:
        spec: the run.
        model: a loaded model, used instead of the model in the spec.
        groups: how the images are divided into groups, used instead of `images.groups` in the spec; see `read_groups`.
        progress: show a bar on stderr if reading the files of images takes more than two seconds.

    Raises:
        InputError: unknown names, a combination that is undefined, classes without images, or no model; the message
            gives the path in the spec.

    Examples:
        >>> [planned.item.target_class.name for planned in make_plan(spec).items]
        ['three', 'eight']
    """
    requests = requests_of(spec, {})  # errors in the spec are raised before a model is loaded
    dtypes = sorted({CHOOSING, *(requested.recipe.dtype for requested in requests)})
    models = models_of(spec, model, dtypes)
    chooser = models[CHOOSING]
    attackers = attackers_of(spec, chooser)
    with errors_at(spec, "neuron_paths"):
        width = n_neurons(chooser) if spec.neuron_paths else 1
    recipes = requests_of(spec, attackers, width)
    source = open_images(spec, chooser, groups, progress=progress)
    predictions = Predictions(source, chooser, spec.seed, tuple(attackers.values()))
    notices: dict[str, None] = dict.fromkeys(chooser.notices)
    conditions = (condition for requested in recipes for condition in requested.conditions)
    notices |= dict.fromkeys(notice for c in conditions if (notice := notice_of(c)))
    if model is not None and spec.model is not None:
        notices[f"the loaded model {model.name} is used instead of the model in {spec.origin}"] = None
    classes = run_classes(spec, source, notices)
    groups_of = {cls: groups_of_class(source, cls, notices) for cls in classes}
    classes = [cls for cls in classes if groups_of[cls]]
    if not classes:
        raise InputError(f"{spec.origin}: images.groups: {'; '.join(notices)}; divide the images into larger groups")
    pairs: list[tuple[ClassInfo, Requested]] = []
    for requested in recipes:
        _check_extractions(spec, chooser, requested)
        with errors_at(spec, requested.place):
            fitting = _classes_of(requested, source, classes, notices)
            _try_out(spec, predictions, fitting[0], requested)
        pairs += [(cls, requested) for cls in fitting]
    place = {cls: i for i, cls in enumerate(classes)}
    pairs.sort(key=lambda pair: place[pair[0]])
    found = [
        planned
        for cls, requested in pairs
        for group in groups_of[cls]
        for planned in _items(spec, chooser, source, cls, group, requested)
    ]
    items = part_of(found, *spec.part)
    for notice in size_notices(models, ((planned.item, planned.per_image) for planned in items)):
        log.warning("%s", notice)  # before the run, which may take long
        notices[notice] = None
    return Plan(spec, models, source, predictions.attackers, items, tuple(notices))


def check_questions(spec: Spec) -> None:
    """Check that a spec asks about classes of images, and not only for a study of defences or a correction.

    Raises:
        InputError: it has nothing to index.
    """
    if not (spec.recipe or spec.neuron_paths or spec.readout):
        table, command = ("defence", "defend") if spec.defence else ("correction", "correct")
        raise InputError(
            f"{spec.origin}: it has [{table}], but no [[recipe]], [[neuron_paths]] or [[readout]] to index; run "
            f"circuitstore {command} with it"
        )


def run_classes(spec: Spec, source: ImageSource, notices: dict[str, None]) -> list[ClassInfo]:
    """Return the classes of the run: those of `only`, or all that have images under every condition."""
    by_name = {c.name: c for c in source.classes}
    for name in spec.images.only or ():
        if name not in by_name:
            raise unknown("class", name, by_name, where=f"{spec.origin}: images.only")
    chosen = [by_name[name] for name in dict.fromkeys(spec.images.only or by_name)]
    lacking = [c.name for c in chosen if not source.has_attacked(c)]
    folders = " and ".join(f"{path} ({name})" for name, path in attacked_folders(spec).items())
    if len(lacking) == len(chosen) or (lacking and spec.images.only):
        raise InputError(
            f"{spec.origin}: images: no image of {', '.join(lacking[:5])} has an attacked twin in {folders}; "
            "expected files of the same class folder and name"
        )
    if lacking:
        listed = f"{', '.join(lacking[:5])}{f' and {len(lacking) - 5} more' if len(lacking) > 5 else ''}"
        notices[f"no attacked image in {folders} of: {listed}; these classes only serve as a contrast to others"] = None
    return [c for c in chosen if c.name not in lacking]


def _check_extractions(spec: Spec, model: ViT, requested: Requested) -> None:
    """Raise an error for sizes that the graph does not have, or extractions that the scores do not allow."""
    method = requested.recipe.method.kind
    for i, extraction in enumerate(requested.extractions):
        size = dict(extraction.params).get("n")
        if isinstance(size, int | float):
            with errors_at(spec, f"extract[{i}].{extraction.kind}"):
                edge_count(universe_of(model.info, requested.recipe.over), size)
        if EXTRACTIONS[extraction.kind].ranks_all and METHODS[method].shares:
            with errors_at(spec, f"extract[{i}] for recipe {method}"):
                advice = f"each extract applies to every recipe: if another recipe needs it, give {method} its own spec"
                raise InputError(f"{shares_error(extraction.kind)}; {advice}")


def metric_target(source: ImageSource, metric: Metric) -> int | None:
    """Return the logit of the class that a metric names as its target, or None if it names none.

    Raises:
        InputError: neither the source nor the model has this class.
    """
    named = dict(metric.params).get("target")
    if named is None:
        return None
    index = source.class_index_of(str(named))
    if index is None:
        raise unknown("class", named, [c.name for c in source.classes], where=f"metric {metric.kind}: target")
    return index


def _classes_of(
    requested: Requested, source: ImageSource, classes: Sequence[ClassInfo], notices: dict[str, None]
) -> list[ClassInfo]:
    """Return the classes that a recipe applies to: all except the target of its metric.

    Raises:
        InputError: no class is left, or the metric needs a target class and an attack has none.
    """
    metric, target = requested.recipe.metric, metric_target(source, requested.recipe.metric)
    fitting = [cls for cls in classes if cls.class_index != target]
    if not fitting:
        raise InputError(f"metric {metric.text}: its target is the only class of the run; name another")
    if len(fitting) < len(classes):
        left_out = next(cls.name for cls in classes if cls.class_index == target)
        notices[f"class {left_out!r} is left out for {metric.text}: it is the target"] = None
    if METRICS[metric.kind].needs_targets and target is None:
        for condition in requested.conditions:
            if not freezes_target(condition):
                _check_aim(source, fitting, condition, requested.recipe)
    return fitting


def _check_aim(source: ImageSource, classes: Sequence[ClassInfo], condition: Condition, recipe: Recipe) -> None:
    for cls in classes:
        aims = targets_of(condition, source, cls, recipe.seed)
        if not {None, cls.class_index}.intersection(aims):
            continue
        kind = recipe.metric.kind
        why = "is a class of neither the images nor the model" if None in aims else "is the class itself"
        raise InputError(
            f"the metric {kind} needs a target class, and the target of {condition.text} on images of {cls.name!r} "
            f'{why}; name one: metric = {{ kind = "{kind}", target = "…" }}'
        )


def _try_out(spec: Spec, predictions: Predictions, cls: ClassInfo, requested: Requested) -> None:
    """Attack and corrupt one image of a class, so that errors are raised here and not once per class."""
    source, seed, corruption = predictions.source, requested.recipe.seed, requested.recipe.corruption
    partners = contrast_classes(corruption, source, cls, seed=seed, count=spec.images.per_class)
    dealt = deal_partners([source.candidates(c)[:1] for c in partners], 1)
    for condition in requested.conditions:
        with suppress(BadImage):
            if has_image(corruption):
                build_pairs(predictions, cls, source.candidates(cls)[:1], condition, corruption, partners=dealt)
            else:  # means over many images are not computed for a trial
                predictions.views(cls, source.candidates(cls)[:1], condition)


def _items(
    spec: Spec, model: ViT, source: ImageSource, cls: ClassInfo, group: str, requested: Requested
) -> Iterator[Planned]:
    """Yield the items of one class, group and recipe; the natural condition, if any, determines the sizes of all."""
    hashes = [ref.hash for ref in order_candidates(source.candidates(cls, group), spec.seed)]
    sized_by: WorkItem | None = None
    corruption, count = requested.recipe.corruption, spec.images.per_class
    target = metric_target(source, requested.recipe.metric)
    options: dict[str, Any] = {"seed": spec.seed, "count": count, "target": target}
    for condition in requested.conditions:
        rule = spec.images.choose
        if condition.kind == NATURAL and rule == "successful":
            rule = "correct"
        with errors_at(spec, "images"):
            around = surroundings(source, cls, condition, corruption, **options)
            against = contrast(source, cls, condition, corruption, **options)
        selection = Selection.of(hashes, count, rule, spec.seed, around, group)
        item = WorkItem(model.info, cls, condition, requested.recipe, selection, against)
        about = None
        if requested.about is not None:
            recipe, extraction = requested.about  # same metric, corruption and seed, so the same selection
            about = replace(item, recipe=recipe), extraction
        yield Planned(item, requested.extractions, sized_by, requested.per_image, about)
        if condition.kind == NATURAL:
            sized_by = item
