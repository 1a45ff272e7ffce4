"""Specs: a TOML file that describes a run, as frozen values; errors give the path in the file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from ..circuits import Extraction, Form
from ..circuits.recipe import Direction
from ..discovery import EXTRACTIONS
from ..errors import CircuitStoreError, InputError, nearest
from ..images import SOURCES
from ..notation import read_toml

FOLDER = "folder"
"""Kind of condition whose attacked images are in a folder."""

LIBRARIES = ("timm", "torchvision", "huggingface", "open_clip")
"""Fields of a model's table of which it has exactly one."""

DEVICE = r"auto|cpu|cuda(:\d+)?"
"""Names of devices."""

_TAGS = ("~name", "~table", "~kind")


def _by_shape(value: object) -> str:
    return "~name" if isinstance(value, str) else "~table"


def _by_source(value: object) -> str:
    return "~kind" if isinstance(value, Mapping) and "kind" in value else _by_shape(value)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Open(_Part):
    """A table whose other keys are parameters of a kind, which the plan checks."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


_Device = Annotated[str, Field(pattern=f"^({DEVICE})$")]


class ModelSpec(_Part):
    """A model of timm, torchvision or Hugging Face, or a zero-shot classifier of open_clip.

    `{ timm = "vit_base_patch16_224", pretrained = true }`, or with `checkpoint = "file.safetensors"`;
    `{ torchvision = "vit_b_16", checkpoint = "file.pth" }`; `{ huggingface = "folder/" }`; each of these also with
    `head = "probe.safetensors"`;
    `{ open_clip = "ViT-B-32", pretrained = "laion2b_s34b_b79k", classes = ["cat", "dog"] }`.
    """

    timm: str | None = None
    torchvision: str | None = None
    huggingface: Path | None = None
    open_clip: str | None = None
    name: str | None = None
    pretrained: bool | str = False
    checkpoint: Path | None = None
    head: Path | None = None
    image_size: int | tuple[int, int] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    crop: float | None = None
    crop_mode: str | None = None
    interpolation: str | None = None
    classes: tuple[str, ...] | None = None
    templates: tuple[str, ...] | None = None
    seed: int | None = None

    @model_validator(mode="after")
    def _one_library(self) -> ModelSpec:
        named = [library for library in LIBRARIES if getattr(self, library) is not None]
        if len(named) != 1:
            raise ValueError(f"expected exactly one of {', '.join(LIBRARIES)}")
        if named == ["open_clip"]:
            self._check_clip()
        elif self.templates is not None or (self.classes is not None and self.head is None):
            raise ValueError(
                f"classes and templates define prompts: use them with open_clip, not with {named[0]}; with {named[0]}, "
                "classes are the names of the classes of head"
            )
        elif named == ["timm"] and not isinstance(self.pretrained, bool):
            raise ValueError(f"pretrained: expected true or false with timm, got {self.pretrained!r}")
        elif named == ["huggingface"] and (self.pretrained or self.checkpoint is not None):
            raise ValueError("huggingface: a folder holds its own weights; leave out pretrained and checkpoint")
        return self

    def _check_clip(self) -> None:
        if self.classes is None:
            raise ValueError("open_clip: expected classes, the list of names of the model's classes")
        if self.pretrained is True:
            raise ValueError("pretrained: expected the tag of open_clip's weights, got true")
        if self.head is not None:
            raise ValueError("head: the classes' prompts are open_clip's classifier; leave head out")


_NameOrModel = Annotated[Annotated[str, Tag("~name")] | Annotated[ModelSpec, Tag("~table")], Discriminator(_by_shape)]


class SourceSpec(_Open):
    """A source by its kind: `{ kind = "manifest", path = "images.csv" }`; its other keys are parameters."""

    kind: str


class FolderSpec(_Part):
    """A folder with one folder per class: `{ folder = "photos/", classes = { tabby = 281 }, nested = true }`."""

    folder: Path
    classes: dict[str, int] | None = None
    nested: bool = False


class TableSpec(_Part):
    """A file with the group or the unit of each image: `{ path = "groups.csv" }`."""

    path: Path


class KindSpec(_Open):
    """A condition, corruption or metric: its kind and parameters."""

    kind: str


class ConditionSpec(KindSpec):
    """A condition.

    `path` is the folder of attacked images of the kind `folder` and not part of the identity. `model` is the model
    whose gradients an attack follows, if it is not the model of the run; its fingerprint is part of the identity.
    """

    path: Path | None = None
    model: _NameOrModel | None = None

    @model_validator(mode="after")
    def _folder_has_path(self) -> ConditionSpec:
        if (self.path is not None) != (self.kind == FOLDER):
            raise ValueError(f'expected path, a folder of attacked images, with kind = "{FOLDER}" and no other kind')
        return self


_NameOrFolder = Annotated[
    Annotated[str, Tag("~name")] | Annotated[FolderSpec, Tag("~table")] | Annotated[SourceSpec, Tag("~kind")],
    Discriminator(_by_source),
]
_NameOrTable = Annotated[Annotated[str, Tag("~name")] | Annotated[TableSpec, Tag("~table")], Discriminator(_by_shape)]
_NameOrKind = Annotated[Annotated[str, Tag("~name")] | Annotated[KindSpec, Tag("~table")], Discriminator(_by_shape)]


class ImagesSpec(_Part):
    """The images; `per_class` counts discovery (50 %), selection (25 %) and report images (25 %) together."""

    source: _NameOrFolder
    name: str | None = Field(default=None, min_length=1, max_length=200)
    masks: Path | None = None
    per_class: int = Field(default=36, ge=4, le=1_000_000)
    choose: Literal["correct", "all", "successful"] = "correct"
    only: tuple[str, ...] | None = None
    groups: _NameOrTable | None = None
    units: _NameOrTable | None = None
    examples: int = Field(default=3, ge=0, le=8)


class RecipeSpec(_Open):
    """How edges are scored; other keys are parameters of the method (`steps`, `rule` …)."""

    method: str
    form: Form = "split"
    corruption: _NameOrKind = "other-class"
    metric: _NameOrKind = "logit"
    direction: Direction = "noising"
    dtype: Literal["float32", "float64", "bfloat16"] = "float32"
    conditions: tuple[str, ...] | None = Field(default=None, min_length=1)


class ReadoutSpec(_Open):
    """A read-out of each class; other keys are parameters of its kind (`norm`, `tokens` …).

    `corruption` is `other-class` by default for kinds that depend on a metric, and `zero`, without image, for others.
    """

    kind: str
    corruption: _NameOrKind | None = None
    metric: _NameOrKind = "logit"
    dtype: Literal["float32", "float64", "bfloat16"] = "float32"
    conditions: tuple[str, ...] | None = Field(default=None, min_length=1)
    per_image: bool = False


class NeuronPathsSpec(_Open):
    """A search for neuron paths; other keys are its parameters (`score`, `k`, `beam` …)."""

    search: str = "neuron-path"
    dtype: Literal["float32", "float64", "bfloat16"] = "float32"
    conditions: tuple[str, ...] | None = Field(default=None, min_length=1)


class ExtractSpec(_Open):
    """How a circuit is extracted: the name of an extraction with its size, and its other parameters."""

    @model_validator(mode="after")
    def _one_extraction(self) -> ExtractSpec:
        try:
            self.extraction()
        except InputError as error:
            raise ValueError(str(error)) from error
        return self

    def extraction(self) -> Extraction:
        """Return the extraction with all its parameters.

        Raises:
            InputError: not exactly one extraction is named, or it has no such parameter.
        """
        params = self.params
        sizes = [key for key, kind in EXTRACTIONS.items() if kind.main]
        names = [key for key in sizes if key in params]
        if len(names) != 1:
            raise InputError(f"expected exactly one of {', '.join(sizes)}; got {', '.join(names or params) or 'none'}")
        kind = EXTRACTIONS[names[0]]
        size = params.pop(kind.key)
        if kind.main in params:
            raise InputError(f"{kind.main}: already set by {kind.key} = {size!r}; leave it out")
        return EXTRACTIONS.resolve(kind.key, {kind.main: size, **params})


class DefenceSpec(_Part):
    """A defence study: which attacks are defended against, and what is chosen on selection images.

    Attributes:
        against: kinds, names or texts of the conditions that defences are fitted against; by default all attacks.
        form: form of the graph; its senders are heads and MLPs.
        sizes: numbers of edges to choose from.
        strengths: strengths of steering to choose from.
        quantile: quantile of the clean images' projections above which a sender is steered.
        clean_loss: number of unattacked selection images that a defence may lose.
        pairs: maximum number of discovery images that directions and circuit are found on.
        false_alarms: share of the unattacked selection images that a gate may flag.
        detector: detector of suspicious images that gates the row `edges, detector`.
        draws: number of draws of each random control.
        restarts: random starts of an attack that knows the defence.
    """

    against: tuple[str, ...] | None = Field(default=None, min_length=1)
    form: Literal["split", "head", "attention"] = "split"
    sizes: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(24, 48, 96, 192), min_length=1)
    strengths: tuple[Annotated[float, Field(gt=0, le=100)], ...] = Field(default=(1.0, 2.0, 3.0), min_length=1)
    quantile: float = Field(default=0.95, ge=0, le=1)
    clean_loss: int = Field(default=1, ge=0)
    pairs: int = Field(default=400, ge=2)
    false_alarms: float = Field(default=0.05, gt=0, lt=1)
    detector: str = "layers-mahalanobis"
    draws: int = Field(default=4, ge=1, le=1000)
    restarts: int = Field(default=2, ge=1, le=1000)


class CorrectionSpec(_Part):
    """A correction: which error of the model is corrected, and what is tried on selection images.

    Attributes:
        error: `cue`, a cue that goes with a class in most training images, or `confusion`, the two classes that the
            model confuses most.
        cues: the class that the cue of a group of images goes with, by the name of the group; other groups bear none.
        form: form of the graph; its senders are heads and MLPs.
        sizes: numbers of edges to choose from.
        strengths: strengths of steering to choose from.
        quantile: quantile of the reference images' projections above which a sender is steered.
        max_loss: maximum loss of accuracy on the selection images that must not suffer.
        draws: number of draws of each random control.
    """

    error: Literal["cue", "confusion"]
    cues: dict[str, str] | None = Field(default=None, min_length=1)
    form: Literal["split", "head", "attention"] = "split"
    sizes: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(24, 48, 96), min_length=1)
    strengths: tuple[Annotated[float, Field(gt=0, le=100)], ...] = Field(default=(1.0, 1.5), min_length=1)
    quantile: float = Field(default=0.95, ge=0, le=1)
    max_loss: float = Field(default=0.01, ge=0, lt=1)
    draws: int = Field(default=4, ge=1, le=1000)

    @model_validator(mode="after")
    def _cues_of_a_cue(self) -> CorrectionSpec:
        if (self.cues is None) != (self.error == "confusion"):
            raise ValueError('expected cues, such as { red = "zero" }, with error = "cue" and with no other error')
        return self


class Spec(_Part):
    """The description of an indexing run.

    `name` is the name of the run; a changed spec with the same name adds items. Without `model`, `index` needs a loaded
    model.
    """

    name: str = Field(min_length=1, max_length=200)
    model: _NameOrModel | None = None
    images: ImagesSpec
    condition: tuple[ConditionSpec, ...] = Field(min_length=1)
    recipe: tuple[RecipeSpec, ...] = ()
    extract: tuple[ExtractSpec, ...] = ()
    neuron_paths: tuple[NeuronPathsSpec, ...] = ()
    readout: tuple[ReadoutSpec, ...] = ()
    defence: DefenceSpec | None = None
    correction: CorrectionSpec | None = None
    keep: Literal["per-image", "mean"] = "per-image"
    seed: int = Field(default=0, ge=0, lt=2**63)
    device: _Device | Annotated[tuple[_Device, ...], Field(min_length=1)] = "auto"
    batch_size: int = Field(default=32, ge=1, le=100_000)
    _text: str = PrivateAttr(default="")
    _part: tuple[int, int] = PrivateAttr(default=(1, 1))
    _origin: str = PrivateAttr(default="spec")

    @property
    def text(self) -> str:
        """The TOML text of the spec."""
        return self._text

    @property
    def origin(self) -> str:
        """The name of its file, for messages."""
        return self._origin

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices of the run, with a process for each if there are several."""
        return (self.device,) if isinstance(self.device, str) else self.device

    @property
    def part(self) -> tuple[int, int]:
        """Which part of the run's items is meant, and the number of parts."""
        return self._part

    def on(self, *devices: str) -> Spec:
        """Return the same run on other devices.

        Raises:
            InputError: no device, or the name of one is not `auto`, `cpu`, `cuda` or `cuda:N`.

        Examples:
            >>> spec.on("cuda:0", "cuda:1").devices
            ('cuda:0', 'cuda:1')
        """
        for device in devices or ("",):
            if not re.fullmatch(DEVICE, device):
                raise InputError(f"devices: expected names such as cpu, cuda or cuda:1, got {device!r}")
        return self.model_copy(update={"device": devices})

    def only_part(self, k: int, n: int) -> Spec:
        """Return part k of n (from 1) of the run: every item is in one part, and items that share sizes in the same.

        Raises:
            InputError: k or n is out of range.

        Examples:
            >>> spec.only_part(3, 16).part
            (3, 16)
        """
        if not 1 <= k <= n:
            raise InputError(f"part: expected K/N with 1 <= K <= N, such as 3/16, got {k}/{n}")
        copy = self.model_copy()
        copy._part = k, n
        return copy

    @model_validator(mode="after")
    def _asks_something(self) -> Spec:
        if not (self.recipe or self.neuron_paths or self.readout or self.defence or self.correction):
            raise ValueError(
                "expected at least one [[recipe]], [[neuron_paths]], [[readout]], [defence] or [correction]"
            )
        if bool(self.recipe) != bool(self.extract):
            given, lacking = ("recipe", "extract") if self.recipe else ("extract", "recipe")
            raise ValueError(f"{lacking}: [[{given}]] needs at least one [[{lacking}]]")
        return self

    @field_validator("name")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not is_printable(value):
            raise ValueError("expected printable text without leading or trailing spaces")
        return value


def is_printable(value: str) -> bool:
    """Return whether a text may be a name: printable, without leading or trailing spaces."""
    return value.isprintable() and value == value.strip()


def load_spec(path: str | Path) -> Spec:
    """Read a spec file; relative paths in it are relative to the folder of the file.

    Raises:
        InputError: the file is missing or is not TOML, or fields are missing, unknown or invalid. The message lists
            all of these fields, with their path in the file and the expected value.

    Examples:
        >>> file = folder / "spec.toml"
        >>> _ = file.write_text(spec.text)
        >>> load_spec(file).images.only
        ('three', 'eight')
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot read the spec: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected a TOML file in UTF-8, got other bytes at {error.start}") from error
    return parse_spec(text, origin=str(path), folder=path.parent)


def parse_spec(text: str, *, origin: str = "spec", folder: Path | None = None) -> Spec:
    """Return the spec that a TOML text describes.

    Args:
        text: TOML.
        origin: name of the text in messages.
        folder: folder to which relative paths in the text are relative; by default, the current folder.

    Raises:
        InputError: see `load_spec`.

    Examples:
        >>> parse_spec(spec.text).recipe[0].method
        'eap'
    """
    values = read_toml(text, origin)
    try:
        spec = Spec.model_validate(_resolve_paths(folder, values) if folder else values)
    except ValidationError as error:
        raise InputError("\n".join(f"{origin}: {_explain(e)}" for e in _root_errors(error))) from error
    spec._text, spec._origin = text, origin
    return spec


def _resolve_paths(folder: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Resolve the relative paths in a spec against a folder."""
    listed, source = values.get("condition"), _get(values, "images", "source")
    places = [*((source, key) for key in _paths_of(source)), (values.get("images"), "masks")]
    places += [(_get(values, "images", "groups"), "path"), (_get(values, "images", "units"), "path")]
    models = [values.get("model")]
    for condition in listed if isinstance(listed, list) else ():
        places.append((condition, "path"))
        models.append(_get(condition, "model"))
    places += [(model, key) for model in models for key in ("checkpoint", "huggingface", "head")]
    for table, key in places:
        if isinstance(table, dict) and isinstance(table.get(key), str):
            table[key] = str(folder / Path(table[key]).expanduser())
    return values


def _paths_of(source: Any) -> tuple[str, ...]:
    """Return the keys of a source's table that are paths."""
    kind = source.get("kind", "folder") if isinstance(source, Mapping) else None
    return SOURCES[kind].paths if isinstance(kind, str) and kind in SOURCES else ()


def _get(values: Mapping[str, Any], *keys: str) -> Any:
    for key in keys:
        values = values.get(key, {}) if isinstance(values, Mapping) else {}
    return values


def _root_errors(error: ValidationError) -> list[ErrorDetails]:
    """Return the errors except those that follow from others: a list that is too short because an entry is invalid."""
    details = error.errors(include_url=False)
    return [
        e
        for e in details
        if e["type"] != "too_short" or not any(o is not e and o["loc"][: len(e["loc"])] == e["loc"] for o in details)
    ]


def _explain(error: ErrorDetails) -> str:
    """Return the text of a pydantic error: path, what was expected, what was given."""
    place = "".join(_step(part) for part in error["loc"] if part not in _TAGS).lstrip(".") or "spec"
    got, context = error.get("input"), error.get("ctx", {})
    match error["type"]:
        case "missing":
            return f"{place}: this field is missing"
        case "extra_forbidden":
            valid = sorted(_fields_at(error["loc"][:-1]))
            close = nearest(str(error["loc"][-1]), valid)
            hint = f"did you mean {close[0]!r}? " if close else ""
            return f"{place}: unknown field; {hint}(valid: {', '.join(valid)})"
        case "literal_error":
            valid = [v.strip(" '") for v in context["expected"].replace(" or ", ",").split(",")]
            close = nearest(str(got), valid)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            return f"{place}: expected {context['expected']}, got {got!r}{hint}"
        case "value_error":
            return f"{place}: {context['error']}"
        case "tuple_type":
            return f"{place}: expected a list; tables of a list are written [[{place}]], got {got!r}"
        case _:
            return f"{place}: {error['msg'].replace('Input should', 'expected to')}, got {got!r}"


def _step(part: int | str) -> str:
    return f"[{part}]" if isinstance(part, int) else f".{part}"


def _fields_at(loc: tuple[int | str, ...]) -> Iterator[str]:
    """Yield the names of the fields of a table in the spec."""
    tables: dict[tuple[str, ...], type[_Part]] = {
        (): Spec,
        ("model",): ModelSpec,
        ("condition", "model"): ModelSpec,
        ("images",): ImagesSpec,
        ("images", "source"): FolderSpec,
        ("images", "groups"): TableSpec,
        ("images", "units"): TableSpec,
        ("defence",): DefenceSpec,
        ("correction",): CorrectionSpec,
    }
    names = tuple(str(part) for part in loc if not isinstance(part, int) and part not in _TAGS)
    yield from tables[names].model_fields


def kind_and_params(value: str | KindSpec) -> tuple[str, dict[str, Any]]:
    """Return the kind and parameters of a name or a table."""
    return (value, {}) if isinstance(value, str) else (value.kind, value.params)


def named_or_file(value: str | TableSpec) -> str | Path:
    """Return the name of a column, or the path of a file."""
    return value if isinstance(value, str) else value.path


@contextmanager
def errors_at(spec: Spec, path: str) -> Iterator[None]:
    """Add the path in the spec to errors of the block."""
    try:
        yield
    except CircuitStoreError as error:
        raise InputError(f"{spec.origin}: {path}: {error}") from error
