"""From a spec to work items: every question that a run asks, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..circuits import (
    NATURAL,
    ClassInfo,
    Condition,
    Corruption,
    Extraction,
    Metric,
    Recipe,
    Selection,
    WorkItem,
    shares_error,
    universe_of,
)
from ..circuits.extraction import edge_count
from ..discovery import EXTRACTIONS, METHODS, sized_by
from ..errors import InputError, unknown
from ..evaluation import METRICS
from ..images import (
    CONDITIONS,
    CORRUPTIONS,
    BadImage,
    ImageSource,
    build_pairs,
    contrast,
    contrast_classes,
    deal_partners,
    is_attack,
    needs_attack,
    open_source,
    order_candidates,
    surroundings,
    target_of,
)
from ..models import ViT, plain_torch
from .loading import models_of
from .spec import FolderSpec, RecipeSpec, Spec, named, placed

CHOOSING = "float32"
"""Type in which the model chooses and attacks images, whatever types recipes are computed in."""


@dataclass(frozen=True)
class Planned:
    """A work item and the circuits wanted from it.

    Attributes:
        item: the question.
        extractions: the circuits to take from its answer.
        sized_by: the work item whose circuits decide the sizes of the retention extractions: the
            natural condition of an effect study. None where the item decides its own.
    """

    item: WorkItem
    extractions: tuple[Extraction, ...]
    sized_by: WorkItem | None = None


@dataclass(frozen=True)
class AskedRecipe:
    """One recipe and the conditions under which it is asked, natural first."""

    recipe: Recipe
    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class Plan:
    """A run: its questions, and what answers them.

    Attributes:
        models: the model in each floating-point type that a recipe asks for.
        items: class by class; within a study the condition that decides sizes comes first.
        notices: what the user should know of the model and of the plan.
    """

    spec: Spec
    models: dict[str, ViT]
    source: ImageSource
    items: tuple[Planned, ...]
    notices: tuple[str, ...] = ()

    @property
    def model(self) -> ViT:
        """The model that chooses and attacks images."""
        return self.models[CHOOSING]


@plain_torch()
def make_plan(spec: Spec, given: ViT | None = None) -> Plan:
    """Check the names, load the model, look through the images, and spell out every work item.

    Args:
        given: a loaded model, in place of the one that the spec names.

    Raises:
        InputError: a name in the spec that nothing carries, a combination without meaning, classes
            without images, or no model; the message gives the path in the spec.
    """
    conditions = []
    for i, condition in enumerate(spec.condition):
        with placed(spec, f"condition[{i}]"):
            conditions.append(CONDITIONS.resolve(condition.kind, condition.params))
    recipes = [_asked_recipe(spec, i, recipe, conditions) for i, recipe in enumerate(spec.recipe)]
    dtypes = sorted({CHOOSING, *(asked.recipe.dtype for asked in recipes)})
    models = models_of(spec, given, dtypes)
    model = models[CHOOSING]
    with placed(spec, "images.source"):
        source = open_source(_source(spec), model, name=spec.images.name, attacked=_attacked_folders(spec))
    notices: dict[str, None] = dict.fromkeys(model.notices)
    if given is not None and spec.model is not None:
        notices[f"the model is {given.name}, as given to index, in place of the one that {spec.origin} names"] = None
    classes = _classes(spec, source, notices)
    pairs: list[tuple[ClassInfo, AskedRecipe]] = []
    for i, asked in enumerate(recipes):
        _check_extractions(spec, model, asked)
        with placed(spec, f"recipe[{i}]"):
            fitting = _classes_of(asked, source, classes, notices)
            _try_out(spec, source, model, fitting[0], asked)
        pairs += [(cls, asked) for cls in fitting]
    place = {cls: i for i, cls in enumerate(classes)}
    pairs.sort(key=lambda pair: place[pair[0]])
    items = [planned for cls, asked in pairs for planned in _items(spec, model, source, cls, asked)]
    return Plan(spec, models, source, tuple(items), tuple(notices))


def _asked_recipe(spec: Spec, index: int, recipe: RecipeSpec, conditions: Sequence[Condition]) -> AskedRecipe:
    place = f"recipe[{index}]"
    with placed(spec, place):
        method = METHODS.resolve(recipe.method, recipe.params)
        facts = METHODS[recipe.method]
    with placed(spec, f"{place}.corruption"):
        corruption = CORRUPTIONS.resolve(*named(recipe.corruption))
    with placed(spec, f"{place}.metric"):
        metric = METRICS.resolve(*named(recipe.metric))
    with placed(spec, place):
        facts.check(recipe.form, recipe.direction, metric.kind, dict(method.params))
    asked = tuple(conditions)
    if recipe.conditions is not None:
        with placed(spec, f"{place}.conditions"):
            asked = tuple(c for name in recipe.conditions for c in _named_conditions(name, conditions))
    with placed(spec, place):
        _check_meaning(asked, corruption, metric)
    full = Recipe(
        method, recipe.form, metric, corruption, recipe.direction, facts.signed, dtype=recipe.dtype, seed=spec.seed
    )
    return AskedRecipe(full, tuple(sorted(dict.fromkeys(asked), key=lambda c: c.kind != NATURAL)))


def _named_conditions(name: str, conditions: Sequence[Condition]) -> list[Condition]:
    """Conditions of that kind or own name, or the one of that canonical text."""
    own = {c: dict(c.params).get("name") for c in conditions}
    hits = [c for c in conditions if name in (c.kind, c.text, own[c])]
    if not hits:
        raise unknown("condition", name, {c.kind if own[c] is None else str(own[c]) for c in conditions})
    return hits


def _check_meaning(conditions: Sequence[Condition], corruption: Corruption, metric: Metric) -> None:
    """Refuse what can be said but has no meaning."""
    unattacked = [c.text for c in conditions if not is_attack(c)]
    if not unattacked:
        return
    remedy = 'name the attacked conditions in the recipe, such as conditions = ["typographic"]'
    if needs_attack(corruption):
        raise InputError(
            f"under {unattacked[0]!r} the corruption {corruption.text} contrasts each image with itself "
            f"and every score is 0; {remedy}"
        )
    if METRICS[metric.kind].needs_targets and not metric.params:
        raise InputError(
            f"the metric {metric.kind} needs the class that an attack aims at, and {unattacked[0]!r} has none; "
            f'{remedy}, name a class (metric = {{ kind = "{metric.kind}", target = "…" }}), or take metric = "logit"'
        )


def _source(spec: Spec) -> str | dict[str, Any]:
    source = spec.images.source
    match source:
        case str():
            return source
        case FolderSpec():
            return {"folder": source.folder, "classes": source.classes}
        case _:
            return {"kind": source.kind, **source.params}


def _attacked_folders(spec: Spec) -> dict[str, Path]:
    """The folders of attacked images, by the name of their condition."""
    folders: dict[str, Path] = {}
    for i, condition in enumerate(spec.condition):
        if condition.path is not None:
            name = str(CONDITIONS.resolve(condition.kind, condition.params)["name"])
            if folders.setdefault(name, condition.path) != condition.path:
                raise InputError(
                    f"{spec.origin}: condition[{i}].name: {name!r} is the name of {folders[name]} already; "
                    "give each folder a name of its own"
                )
    return folders


def _classes(spec: Spec, source: ImageSource, notices: dict[str, None]) -> list[ClassInfo]:
    """The classes that are asked: those of `only`, or all that have images under every condition."""
    by_name = {c.name: c for c in source.classes}
    for name in spec.images.only or ():
        if name not in by_name:
            raise unknown("class", name, by_name, where=f"{spec.origin}: images.only")
    asked = [by_name[name] for name in dict.fromkeys(spec.images.only or by_name)]
    lacking = [c.name for c in asked if not source.has_attacked(c)]
    folders = " and ".join(f"{path} ({name})" for name, path in _attacked_folders(spec).items())
    if len(lacking) == len(asked) or (lacking and spec.images.only):
        raise InputError(
            f"{spec.origin}: images: no image of {', '.join(lacking[:5])} has an attacked twin in {folders}; "
            "expected files of the same class folder and name"
        )
    if lacking:
        told = f"{', '.join(lacking[:5])}{f' and {len(lacking) - 5} more' if len(lacking) > 5 else ''}"
        notices[f"no attacked image in {folders} of: {told}; these classes are not asked, only contrasted with"] = None
    return [c for c in asked if c.name not in lacking]


def _sized(extraction: Extraction, size_of: str | None) -> Extraction:
    """The extraction, whose size another condition decides where it has one to be found."""
    found = size_of is not None and EXTRACTIONS[extraction.kind].find is not None
    return sized_by(extraction, size_of) if found and size_of else extraction


def _check_extractions(spec: Spec, model: ViT, asked: AskedRecipe) -> None:
    """Sizes that the graph does not have, and orders that scores do not have, are refused before any is computed."""
    method = asked.recipe.method.kind
    for i, extract in enumerate(spec.extract):
        extraction = extract.extraction()
        size = dict(extraction.params).get("n")
        if isinstance(size, int | float):
            with placed(spec, f"extract[{i}].{extraction.kind}"):
                edge_count(universe_of(model.info, asked.recipe.over), size)
        if METHODS[method].shares and EXTRACTIONS[extraction.kind].ranks_all:
            with placed(spec, f"extract[{i}] for recipe {method}"):
                way_out = (
                    f"each extract applies to every recipe: where another one wants it, give {method} its own spec"
                )
                raise InputError(f"{shares_error(extraction.kind)}; {way_out}")


def metric_target(source: ImageSource, metric: Metric) -> int | None:
    """Logit of the class that a metric names as its target; None where it names none.

    Raises:
        InputError: neither the source nor the model has such a class.
    """
    named = dict(metric.params).get("target")
    if named is None:
        return None
    index = source.class_index_of(str(named))
    if index is None:
        raise unknown("class", named, [c.name for c in source.classes], where=f"metric {metric.kind}: target")
    return index


def _classes_of(
    asked: AskedRecipe, source: ImageSource, classes: Sequence[ClassInfo], notices: dict[str, None]
) -> list[ClassInfo]:
    """The classes that a study can be asked of: not the one that its metric takes as target.

    Raises:
        InputError: none is left, or an attack aims at no class and the metric needs one.
    """
    metric, target = asked.recipe.metric, metric_target(source, asked.recipe.metric)
    fitting = [cls for cls in classes if cls.class_index != target]
    if not fitting:
        raise InputError(f"metric {metric.text}: its target is the only class that is asked; name another")
    if len(fitting) < len(classes):
        left_out = next(cls.name for cls in classes if cls.class_index == target)
        notices[f"class {left_out!r} is not asked for {metric.text}: it is the target"] = None
    if METRICS[metric.kind].needs_targets and target is None:
        for condition in asked.conditions:
            _check_aim(source, fitting, condition, asked.recipe)
    return fitting


def _check_aim(source: ImageSource, classes: Sequence[ClassInfo], condition: Condition, recipe: Recipe) -> None:
    for cls in classes:
        aim = target_of(condition, source, cls, recipe.seed)
        if aim is not None and aim != cls.class_index:
            continue
        kind = recipe.metric.kind
        what = "is a class of neither the images nor the model" if aim is None else "is the class itself"
        raise InputError(
            f"the metric {kind} needs a target class, and what {condition.text} aims at on images of {cls.name!r} "
            f'{what}; name one: metric = {{ kind = "{kind}", target = "…" }}'
        )


def _try_out(spec: Spec, source: ImageSource, model: ViT, cls: ClassInfo, asked: AskedRecipe) -> None:
    """Attack and corrupt one image of a class, so that what cannot work fails here and not once per class."""
    seed, corruption = asked.recipe.seed, asked.recipe.corruption
    partners = contrast_classes(corruption, source, cls, seed=seed, count=spec.images.per_class)
    dealt = deal_partners([source.candidates(c)[:1] for c in partners], 1)
    for condition in asked.conditions:
        with suppress(BadImage):
            build_pairs(
                source, model, cls, source.candidates(cls)[:1], condition, corruption, seed=seed, partners=dealt
            )


def _items(spec: Spec, model: ViT, source: ImageSource, cls: ClassInfo, asked: AskedRecipe) -> Iterator[Planned]:
    """The items of one class in one study; the natural condition, if asked, decides the sizes of all."""
    hashes = [ref.hash for ref in order_candidates(source.candidates(cls), spec.seed)]
    sized_by: WorkItem | None = None
    size_of = NATURAL if asked.conditions[0].kind == NATURAL else None
    if METHODS[asked.recipe.method.kind].selects:
        extractions = (EXTRACTIONS.resolve("found"),)
    else:
        extractions = tuple(_sized(e.extraction(), size_of) for e in spec.extract)
    corruption, count = asked.recipe.corruption, spec.images.per_class
    target = metric_target(source, asked.recipe.metric)
    made_of: dict[str, Any] = {"seed": spec.seed, "count": count, "target": target}
    for condition in asked.conditions:
        rule = spec.images.choose
        if condition.kind == NATURAL and rule == "successful":
            rule = "correct"
        with placed(spec, "images"):
            around = surroundings(source, cls, condition, corruption, **made_of)
            against = contrast(source, cls, condition, corruption, **made_of)
        selection = Selection.of(hashes, count, rule, spec.seed, around)
        item = WorkItem(model.info, cls, condition, asked.recipe, selection, against)
        yield Planned(item, extractions, sized_by)
        if condition.kind == NATURAL:
            sized_by = item
