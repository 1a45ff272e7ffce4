"""What gives a score its meaning (condition, corruption, method, metric), and its identity.

An identity is the SHA-256 of canonical JSON; equal identities are the same question. It can grow: a field declared with
`added_later`, or a parameter of a kind with `Param.added_later`, is left out of the hash while it has its default, so
ids of stored items do not change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, Self

from ..errors import InputError

Scalar = str | int | float | bool | None

Direction = Literal["noising", "denoising"]
DIRECTIONS: tuple[Direction, ...] = ("noising", "denoising")
"""`noising` corrupts an edge in the clean run, `denoising` restores an edge in the corrupted run."""


def digest(value: Any) -> str:
    """Return the SHA-256 (hex) of a JSON value in canonical form: sorted keys, no spaces.

    Examples:
        >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
        True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def added_later(default: Any) -> Any:
    """Declare a field that was added after ids were frozen; its default is the behaviour of earlier versions."""
    return field(default=default, metadata={"later": True})


def identity_fields(value: Any) -> dict[str, Any]:
    """Return the dataclass fields that enter the identity: all but `added_later` fields with their default."""
    return {
        f.name: getattr(value, f.name)
        for f in fields(value)
        if not f.metadata.get("later") or getattr(value, f.name) != f.default
    }


@dataclass(frozen=True)
class Variant:
    """A kind with all its parameters resolved and the version of its definition.

    `params` are sorted by name. A change of what the kind computes is a new `version`.
    """

    kind: str
    params: tuple[tuple[str, Scalar], ...] = ()
    version: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", tuple(sorted((str(k), v) for k, v in self.params)))

    @classmethod
    def of(cls, kind: str, params: Mapping[str, Scalar] | None = None, version: int = 1) -> Self:
        return cls(kind, tuple((params or {}).items()), version)

    @property
    def text(self) -> str:
        """Canonical text: `typographic(number=1, size=5)`, or the kind if there are no parameters."""
        inner = ", ".join(f"{k}={v}" for k, v in self.params)
        return f"{self.kind}({inner})" if inner else self.kind

    def __getitem__(self, name: str) -> Scalar:
        return dict(self.params)[name]

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "params": dict(self.params), "version": self.version}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        return cls.of(value["kind"], value["params"], value["version"])


NATURAL = "natural"
"""Kind of the condition that leaves images unchanged; all others are attacks, controls or distortions."""

UNATTACKED_TWIN = "unattacked-twin"
"""Kind of the corruption that contrasts an image under a condition with the same natural image."""


class Condition(Variant):
    """What was done to the images, such as typographic; natural if nothing was done."""


class Corruption(Variant):
    """What the clean run is contrasted with: other-class, mean-image, blur, patch-shuffle, unattacked-twin."""


class MethodUse(Variant):
    """A discovery method with its parameters (steps, rule …)."""


class UniverseUse(Variant):
    """A universe with its parameters: a form of the computation graph, or a universe of another package."""

    @property
    def form(self) -> str:
        """Short name that distinguishes universes of a model in recipes and queries: `split`, `neurons-3f2a81`."""
        return self.kind if self == UniverseUse(self.kind) else f"{self.kind}-{digest(self.to_dict())[:6]}"


class Metric(Variant):
    """The scored quantity: logit, logit-diff …; higher is always better."""


@dataclass(frozen=True)
class Recipe:
    """Everything that gives a score its meaning, except model, images and condition.

    Attributes:
        method: discovery method with its resolved parameters and version.
        form: short name of the universe; the form of a computation graph.
        metric: metric that the scores raise or lower.
        direction: `noising` (clean run, corrupt an edge) or `denoising` (corrupted run, restore one).
        corruption: what the clean run is contrasted with.
        signed: False if scores are magnitudes.
        dtype: floating-point type of the computation.
        seed: seed of all random choices (pairing, shuffles).
        universe: the universe if it has parameters, which its short name does not contain.
    """

    method: MethodUse
    form: str
    metric: Metric
    corruption: Corruption
    direction: Direction = "noising"
    signed: bool = True
    dtype: str = "float32"
    seed: int = 0
    universe: UniverseUse | None = added_later(None)  # noqa: RUF009

    def __post_init__(self) -> None:
        if self.universe is None:
            return
        if self.form != self.universe.form:
            raise InputError(f"form: expected {self.universe.form!r}, that of the universe, got {self.form!r}")
        if self.universe == UniverseUse(self.form):
            object.__setattr__(self, "universe", None)

    @property
    def over(self) -> UniverseUse:
        """The universe whose edges are scored."""
        return self.universe or UniverseUse(self.form)

    def to_dict(self) -> dict[str, Any]:
        return {k: v.to_dict() if isinstance(v, Variant) else v for k, v in identity_fields(self).items()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Recipe:
        parts = dict(value)
        universe = parts.pop("universe", None)
        return cls(
            method=MethodUse.from_dict(parts.pop("method")),
            metric=Metric.from_dict(parts.pop("metric")),
            corruption=Corruption.from_dict(parts.pop("corruption")),
            universe=None if universe is None else UniverseUse.from_dict(universe),
            **parts,
        )

    @property
    def id(self) -> str:
        return digest(self.to_dict())

    @property
    def text(self) -> str:
        """Canonical text."""
        return f"{self.method.text}, {self.over.text}, {self.metric.text}, {self.direction}, {self.corruption.text}"


StudyKind = Literal["effect", "mechanism", "other"]


def study_kind(recipe: Recipe) -> StudyKind:
    """Return what circuits of a recipe say about attacks.

    `effect`: natural and attacked images are contrasted with the same images and scored by the true class's logit, so
    only the condition differs, and edges are gained or lost. `mechanism`: attacked images are contrasted with their
    unattacked twins and scored by the target's logit minus the true class's, so edges carry the attack. `other`:
    neither.

    Examples:
        >>> study_kind(Recipe(MethodUse.of("eap"), "split", Metric.of("logit"), Corruption.of("blur")))
        'effect'
    """
    match recipe.metric.kind, recipe.corruption.kind == UNATTACKED_TWIN:
        case "logit", False:
            return "effect"
        case "logit-diff", True:
            return "mechanism"
        case _:
            return "other"


@dataclass(frozen=True)
class ModelInfo:
    """A model as stored. `id` is its fingerprint: architecture, tensors, preprocessing."""

    id: str
    name: str
    n_layers: int
    n_heads: int
    d_model: int
    n_classes: int


@dataclass(frozen=True)
class ClassInfo:
    """A class of a data set. `name` is the user's name for it, `class_index` the index of its logit."""

    dataset: str
    name: str
    class_index: int
    tags: str = ""

    @property
    def key(self) -> str:
        return f"{self.dataset}/{self.class_index}/{self.name}"


IMPORTED = "imported"
"""Kind of the method of results that were read from a file of another tool."""

GIVEN = "given"
"""Rule of a selection whose images came with the answer, so the item can be stored but not computed."""


@dataclass(frozen=True)
class Selection:
    """The images of a question.

    Attributes:
        candidates: digest of the content hashes of the candidate images, in the order in which they are tried; sorted
            if the images were given.
        n_candidates: number of candidates.
        count: number of images to select, over the three splits; 0 if they were given.
        rule: which candidates qualify: `correct`, `all`, `successful`, or `given`.
        seed: seed of the order of the candidates.
        surroundings: digest of everything else that decides how they are attacked and corrupted: the images of the
            contrast classes, the written word, the target class.
        group: name of the group that all of them are in; empty if the images of the class are not divided.
    """

    candidates: str
    n_candidates: int
    count: int
    rule: str
    seed: int = 0
    surroundings: str = ""
    group: str = added_later("")

    @classmethod
    def of(
        cls,
        hashes: Sequence[str],
        count: int,
        rule: str,
        seed: int = 0,
        surroundings: Sequence[str] = (),
        group: str = "",
    ) -> Selection:
        """Return the selection from candidate images with these content hashes."""
        return cls(digest(list(hashes)), len(hashes), count, rule, seed, digest(list(surroundings)), group)


@dataclass(frozen=True)
class Contrast:
    """What the images of a question are contrasted with, by name.

    Not part of the identity: the values that decide it (seed, classes, parameters) are hashed with condition, recipe
    and selection.

    Attributes:
        word: the word that the attack writes on the images, if any.
        target: the target class of the metric or the attack, if any.
        against: classes of the corrupted images, in the order in which they are dealt.
    """

    word: str | None = None
    target: str | None = None
    against: tuple[str, ...] = ()

    @property
    def against_text(self) -> str | None:
        """The classes as text, with at most `MAX_NAMED` names; None if corrupted images come from no class."""
        if not self.against:
            return None
        named = ", ".join(self.against[:MAX_NAMED])
        return named if len(self.against) <= MAX_NAMED else f"{named} and {len(self.against) - MAX_NAMED} more"


MAX_NAMED = 12
"""Contrast classes that are named; further ones are only counted."""


@dataclass(frozen=True)
class WorkItem:
    """One question: which edges of `model` matter for images of one class under one condition?"""

    model: ModelInfo
    target_class: ClassInfo
    condition: Condition
    recipe: Recipe
    selection: Selection
    contrast: Contrast = Contrast()

    @property
    def text(self) -> str:
        """Model, class, group and condition as text."""
        images = f"{self.target_class.dataset} {self.target_class.name!r}"
        group = f" in {self.selection.group!r}" if self.selection.group else ""
        return f"{self.model.name}, {images}{group}, {self.condition.text}"

    @property
    def is_given(self) -> bool:
        """Whether the answer was computed elsewhere, so that it cannot be computed here."""
        return self.selection.rule == GIVEN

    @cached_property
    def id(self) -> str:
        """Hash of model fingerprint, class, condition, recipe and candidate images."""
        return digest(
            {
                "model": self.model.id,
                "class": identity_fields(self.target_class),
                "condition": self.condition.to_dict(),
                "recipe": self.recipe.to_dict(),
                "selection": identity_fields(self.selection),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": asdict(self.model),
            "target_class": identity_fields(self.target_class),
            "condition": self.condition.to_dict(),
            "recipe": self.recipe.to_dict(),
            "selection": identity_fields(self.selection),
            **({} if self.contrast == Contrast() else {"contrast": asdict(self.contrast)}),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> WorkItem:
        contrast = value.get("contrast", {})
        return cls(
            model=ModelInfo(**value["model"]),
            target_class=ClassInfo(**value["target_class"]),
            condition=Condition.from_dict(value["condition"]),
            recipe=Recipe.from_dict(value["recipe"]),
            selection=Selection(**value["selection"]),
            contrast=Contrast(**{**contrast, "against": tuple(contrast.get("against", ()))}),
        )
