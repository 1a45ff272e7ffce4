"""What a spec asks about each class and condition: recipes that score edges, neuron paths, and read-outs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..circuits import (
    NATURAL,
    READOUT,
    Condition,
    Corruption,
    Extraction,
    Metric,
    Recipe,
    as_method,
    digest,
)
from ..discovery import EXTRACTIONS, METHODS, sized_by
from ..errors import InputError, unknown
from ..evaluation import METRICS, READOUTS
from ..images import CONDITIONS, CORRUPTIONS, attacker_of, changes_images, has_image, needs_attack, short_fingerprint
from ..models import ViT
from .neuron_paths import path_recipe, search_method
from .spec import NeuronPathsSpec, ReadoutSpec, RecipeSpec, Spec, errors_at, kind_and_params


@dataclass(frozen=True)
class Requested:
    """A recipe and the conditions under which it is used.

    Attributes:
        place: the path of its table in the spec.
        recipe: the recipe.
        conditions: natural first.
        extractions: how circuits are extracted from its answers; none from read-outs.
        per_image: whether the numbers of each image of a read-out are kept.
        about: the recipe and the extraction of the circuits that a read-out is about; None if it is about none.
    """

    place: str
    recipe: Recipe
    conditions: tuple[Condition, ...]
    extractions: tuple[Extraction, ...] = ()
    per_image: bool = False
    about: tuple[Recipe, Extraction] | None = None


def requests_of(spec: Spec, attackers: Mapping[int, ViT], width: int = 1) -> list[Requested]:
    """Return everything that a spec asks about each class.

    Args:
        spec: the spec.
        attackers: the loaded attackers by the index of the condition.
        width: number of neurons of each MLP of the model; any number as long as the model is not loaded.

    Raises:
        InputError: an unknown kind or parameter, or a combination that is undefined.
    """
    conditions = conditions_of(spec, attackers)
    recipes = [_of_recipe(spec, f"recipe[{i}]", recipe, conditions) for i, recipe in enumerate(spec.recipe)]
    paths = [_of_paths(spec, i, conditions, width) for i in range(len(spec.neuron_paths))]
    about = {"circuit": recipes, "path": paths}
    readouts = [_of_readouts(spec, f"readout[{i}]", table, conditions, about) for i, table in enumerate(spec.readout)]
    return [*recipes, *paths, *(requested for found in readouts for requested in found)]


def conditions_of(spec: Spec, attackers: Mapping[int, ViT]) -> list[Condition]:
    """Return the conditions of a spec, in its order.

    Raises:
        InputError: an unknown kind or parameter.
    """
    return [_condition(spec, i, attackers) for i in range(len(spec.condition))]


def _condition(spec: Spec, index: int, attackers: Mapping[int, ViT]) -> Condition:
    condition = spec.condition[index]
    with errors_at(spec, f"condition[{index}]"):
        attacker = {"model": short_fingerprint(attackers[index])} if index in attackers else {}
        resolved = CONDITIONS.resolve(condition.kind, condition.params | attacker)
        if condition.model is not None and attacker_of(resolved) is None:
            raise InputError(f"model: {condition.kind} follows no model's gradients; leave it out")
    return resolved


def _of_recipe(spec: Spec, place: str, recipe: RecipeSpec, conditions: Sequence[Condition]) -> Requested:
    with errors_at(spec, place):
        method = METHODS.resolve(recipe.method, recipe.params)
        facts = METHODS[recipe.method]
    corruption, metric = _contrast(spec, place, recipe)
    with errors_at(spec, place):
        facts.check(recipe.form, recipe.direction, metric.kind, dict(method.params))
        if not has_image(corruption):
            facts.check_without_images(recipe.direction)
    chosen = _chosen(spec, place, recipe, conditions)
    with errors_at(spec, place):
        _check_defined(chosen, corruption, metric)
    full = Recipe(
        method, recipe.form, metric, corruption, recipe.direction, facts.signed, dtype=recipe.dtype, seed=spec.seed
    )
    if facts.selects:
        return Requested(place, full, chosen, (EXTRACTIONS.resolve("found"),))
    size_of = NATURAL if chosen[0].kind == NATURAL else None
    return Requested(place, full, chosen, tuple(_sized(e.extraction(), size_of) for e in spec.extract))


def _sized(extraction: Extraction, size_of: str | None) -> Extraction:
    """Return the extraction, with the condition that determines its size if the size has to be found."""
    if size_of is None or EXTRACTIONS[extraction.kind].find is None:
        return extraction
    return sized_by(extraction, size_of)


def _of_paths(spec: Spec, index: int, conditions: Sequence[Condition], width: int) -> Requested:
    place, table = f"neuron_paths[{index}]", spec.neuron_paths[index]
    with errors_at(spec, place):
        method = search_method(table.search, table.params)
    recipe = path_recipe(method, width, dtype=table.dtype, seed=spec.seed)
    return Requested(place, recipe, _chosen(spec, place, table, conditions), (EXTRACTIONS.resolve("found"),))


def _of_readouts(
    spec: Spec,
    place: str,
    table: ReadoutSpec,
    conditions: Sequence[Condition],
    about: Mapping[str, Sequence[Requested]],
) -> list[Requested]:
    """Return the read-out of a table; or one for each circuit or path that the spec asks for, if it is about these."""
    with errors_at(spec, place):
        kind = READOUTS[table.kind]
        if kind.about:
            chosen = _chosen(spec, place, table, conditions)
            return _of_circuits(spec, place, table, chosen, about[kind.about])
        use = READOUTS.resolve(table.kind, table.params)
    corruption, metric = _contrast(spec, place, table, "other-class" if kind.reads_metric else "zero")
    chosen = _chosen(spec, place, table, conditions)
    if kind.reads_metric:
        with errors_at(spec, place):
            _check_defined(chosen, corruption, metric)
    recipe = Recipe(as_method(use), READOUT, metric, corruption, dtype=table.dtype, seed=spec.seed)
    return [Requested(place, recipe, chosen, per_image=table.per_image)]


_SOURCES = {
    "circuit": ("circuits", "circuits of each recipe", "a [[recipe]] and an [[extract]]"),
    "path": ("neuron paths", "neuron paths of each search", "a [[neuron_paths]]"),
}
"""What read-outs may be about: its name, where it comes from, and the tables of a spec that ask for it."""


def _of_circuits(
    spec: Spec, place: str, table: ReadoutSpec, conditions: Sequence[Condition], recipes: Sequence[Requested]
) -> list[Requested]:
    """Return a read-out of each of the circuits or paths, under those of its conditions that are chosen.

    Raises:
        InputError: a field that the recipe sets; no recipe; none under these conditions; one without corrupted images.
    """
    kind = READOUTS[table.kind]
    what, source, needed = _SOURCES[kind.about or "circuit"]
    taken = sorted({"metric", "corruption", "dtype"} & table.model_fields_set | {"circuit"} & table.params.keys())
    if taken:
        raise InputError(f"{', '.join(taken)}: {table.kind} is about the {source}, which sets it; leave it out")
    if not recipes:
        raise InputError(f"{table.kind} is about {what}, so the spec needs {needed}")
    found = []
    for requested in recipes:
        recipe, chosen = requested.recipe, tuple(c for c in requested.conditions if c in conditions)
        if chosen and kind.reads_metric and not has_image(recipe.corruption):
            raise InputError(
                f"{table.kind} contrasts images, and the corruption {recipe.corruption.text} of {requested.place} has "
                "none; give this recipe its own spec"
            )
        for extraction in requested.extractions if chosen else ():
            use = READOUTS.resolve(table.kind, {**table.params, "circuit": _circuit_name(recipe, extraction)})
            asked = Recipe(
                as_method(use), READOUT, recipe.metric, recipe.corruption, dtype=recipe.dtype, seed=recipe.seed
            )
            about = (recipe, extraction)
            found.append(Requested(place, asked, chosen, per_image=table.per_image, about=about))
    if not found:
        raise InputError(f"conditions: none of the {what} is found under {', '.join(c.text for c in conditions)}")
    return found


def _circuit_name(recipe: Recipe, extraction: Extraction) -> str:
    """Return a name of the circuits of a recipe and an extraction: that of any other recipe or extraction differs."""
    identity = digest([recipe.to_dict(), extraction.to_dict()])
    return f"{recipe.method.kind} {extraction.text} {identity[:12]}"


def _contrast(
    spec: Spec, place: str, table: RecipeSpec | ReadoutSpec, default: str = "other-class"
) -> tuple[Corruption, Metric]:
    with errors_at(spec, f"{place}.corruption"):
        corruption = CORRUPTIONS.resolve(*kind_and_params(table.corruption or default))
    with errors_at(spec, f"{place}.metric"):
        metric = METRICS.resolve(*kind_and_params(table.metric))
    return corruption, metric


def _chosen(
    spec: Spec, place: str, table: RecipeSpec | NeuronPathsSpec | ReadoutSpec, conditions: Sequence[Condition]
) -> tuple[Condition, ...]:
    """Return the conditions of a table, natural first."""
    chosen = tuple(conditions)
    if table.conditions is not None:
        with errors_at(spec, f"{place}.conditions"):
            chosen = tuple(c for name in table.conditions for c in named_conditions(name, conditions))
    return tuple(sorted(dict.fromkeys(chosen), key=lambda c: c.kind != NATURAL))


def named_conditions(name: str, conditions: Sequence[Condition]) -> list[Condition]:
    """Return the conditions whose kind, name or canonical text is `name`."""
    own = {c: dict(c.params).get("name") for c in conditions}
    hits = [c for c in conditions if name in (c.kind, c.text, own[c])]
    if not hits:
        raise unknown("condition", name, {c.kind if own[c] is None else str(own[c]) for c in conditions})
    return hits


def _check_defined(conditions: Sequence[Condition], corruption: Corruption, metric: Metric) -> None:
    """Raise an error if the scores are undefined or all 0 under an unattacked condition."""
    unattacked = [c.text for c in conditions if not changes_images(c)]
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
            f"the metric {metric.kind} needs the target class of an attack, and {unattacked[0]!r} has none; "
            f'{remedy}, name a class (metric = {{ kind = "{metric.kind}", target = "…" }}), or use metric = "logit"'
        )
