"""Build a loaded model from a module, the same way for every source: options, identity, self-check, device."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import torch
from torch import nn

from ..errors import InputError, check_known, unknown, warn
from .families import as_vision_transformer
from .fingerprint import computation, contents
from .fixed_image import fixed_logits
from .grid import Size, check_memory, parse_size
from .preprocess import TIMM_NAMES, Preprocess
from .representable import check_finite_weights, check_representable
from .self_check import check_finite, check_model
from .vit import ViT

UNSTATED = ("mean", "std", "crop", "interpolation")
"""Fields of the preprocessing that a file of weights does not state."""

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class SourceModule:
    """A module of a supported family, with what its source says about it.

    Attributes:
        module: a copy that may be changed.
        name: display name.
        preprocess: how the model expects its images.
        weights: description of where the weights come from.
        random: whether the weights are random.
        labels: name of each class, where the source knows them.
        unstated: fields of the preprocessing that the source does not state and that are therefore assumed.
        assumed: description of where the assumed fields come from.
        notices: everything else that was assumed or chosen.
    """

    module: nn.Module
    name: str
    preprocess: Preprocess
    weights: str
    random: bool = False
    labels: Sequence[str] | None = None
    unstated: tuple[str, ...] = ()
    assumed: str = ""
    notices: tuple[str, ...] = ()


def random_weights_notices(name: str, seed: int | None) -> tuple[str, ...]:
    """Return the notice about random weights; none if a seed was given."""
    text = (
        f"{name}: its weights are random, because neither pretrained nor checkpoint is given; load trained weights, or "
    )
    return () if seed is not None else (f"{text}state a seed if you want random ones",)


def copy_module(module: nn.Module) -> Any:
    """Return a copy, so that the caller's module stays unchanged.

    Raises:
        InputError: the module cannot be copied.
    """
    try:
        return copy.deepcopy(module)
    except Exception as error:  # any part of the module may raise anything
        raise InputError(f"source: the module cannot be copied ({type(error).__name__}: {error})") from error


class LoadKeywords(TypedDict, total=False):
    """Keywords that `load_model` and `load_clip` share; None is the default of each, except for `device` and `dtype`.

    Attributes:
        name: display name; by default the name in timm or open_clip, with the checkpoint's name (or open_clip's
            tag) after a slash.
        device: `cpu` (the default), `cuda`, `cuda:1` …, or `auto`: CUDA if there is a device.
        dtype: `float32` (the default), `float64` or `bfloat16`; differences are always computed in at least float32.
        seed: seed of random weights, if there are neither published weights nor a checkpoint; 0 by default, with a
            warning.
        image_size: pixels, or height and width, of a model loaded by name; by default those of the checkpoint's
            position embeddings, or the architecture's own. Position embeddings of another size are resampled.
        mean: per channel, see `Preprocess`; the fields of the preprocessing default to the library's configuration.
        std: per channel.
        crop: share of the resized image that the centre crop keeps.
        crop_mode: `center`, `squash` or `border`.
        interpolation: `bicubic`, `bilinear`, `nearest` …
    """

    name: str | None
    device: str | torch.device
    dtype: str
    seed: int | None
    image_size: int | tuple[int, int] | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    crop: float | None
    crop_mode: str | None
    interpolation: str | None


@dataclass(frozen=True)
class LoadOptions:
    """`LoadKeywords` and labels after checking, which comes before anything is loaded.

    Attributes:
        name: display name; None: the source's.
        device: device of the model.
        dtype: floating-point type of the model.
        seed: seed of random weights; None if not stated.
        size: height and width in pixels; None if not stated.
        preprocess: the stated fields of the preprocessing.
        labels: name of each class; None: those that the source knows.
    """

    name: str | None
    device: torch.device
    dtype: torch.dtype
    seed: int | None
    size: Size | None
    preprocess: Mapping[str, Any]
    labels: tuple[str, ...] | None

    @classmethod
    def checked(
        cls, keywords: Mapping[str, Any], labels: Sequence[str] | None = None, *, others: Sequence[str] = ()
    ) -> LoadOptions:
        """Check the keywords of a load.

        Args:
            keywords: by name, see `LoadKeywords`.
            labels: name of each class.
            others: the function's other parameters, to suggest for an unknown keyword.

        Raises:
            InputError: an unknown keyword, dtype or device; a name that cannot be printed; a seed, size or field of
                the preprocessing that is not valid; labels that are not a list of names.
        """
        for keyword in keywords:
            if keyword not in LoadKeywords.__annotations__:
                raise unknown("keyword", keyword, (*LoadKeywords.__annotations__, *others))
        name, seed, dtype = keywords.get("name"), keywords.get("seed"), keywords.get("dtype", "float32")
        if name is not None and not (isinstance(name, str) and name.isprintable() and name.strip() == name != ""):
            raise InputError(f"name: expected printable text without blanks at its ends, got {name!r}")
        check_known("dtype", dtype, DTYPES)
        if seed is not None and not (isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**63):
            raise InputError(f"seed: expected a whole number from 0 to 2^63 - 1, got {seed!r}")
        if labels is not None and (isinstance(labels, str) or not all(isinstance(label, str) for label in labels)):
            raise InputError(f"labels: expected a list of names, one per class, got {labels!r}")
        preprocess = {field: keywords[field] for field in TIMM_NAMES if keywords.get(field) is not None}
        Preprocess((1, 1)).override(**preprocess)  # checks the values
        return cls(
            name=name,
            device=_device(keywords.get("device", "cpu")),
            dtype=DTYPES[dtype],
            seed=seed,
            size=parse_size(keywords.get("image_size")),
            preprocess=preprocess,
            labels=None if labels is None else tuple(labels),
        )


def _device(device: str | torch.device) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"device: expected cpu, cuda, cuda:N or auto, got {device!r}") from error
    if place.type not in ("cpu", "cuda"):
        raise InputError(f"device: expected cpu, cuda, cuda:N or auto; {place.type} is not supported, use cpu")
    if place.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device: got {device!r}, but torch finds no CUDA device; use cpu or auto")
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device: got {device!r}, but torch finds {torch.cuda.device_count()} CUDA devices")
    return place


def assemble(source: SourceModule, options: LoadOptions) -> ViT:
    """Return the loaded model, after checking that it is the sum of its senders; warn about what was assumed.

    Raises:
        NotRepresentable: the model's parts do not add up as the graph says; the message names the part.
        InputError: weights that hold NaN or infinity, or overflow; a model that does not run; labels that do not fit.
    """
    preprocess = source.preprocess.override(**options.preprocess)
    name = options.name or source.name
    check_finite_weights(source.module)
    module = _frozen(as_vision_transformer(source.module, preprocess.size))
    check_representable(module)
    check_memory(name, module, preprocess.size, options.device)
    content = contents(module)
    output = fixed_logits(module, preprocess.size)
    check_finite(name, output)
    module.num_classes = len(output)
    labels = options.labels if options.labels is not None else source.labels
    notices = tuple(_notices(replace(source, name=name, preprocess=preprocess), options))
    exact = torch.float64 if options.dtype == torch.float64 else torch.float32
    model = ViT(
        module=module.to(options.device, exact),
        name=name,
        computation=computation(content, output),
        preprocess=preprocess,
        labels=None if labels is None else tuple(labels),
        weights=source.weights,
        random=source.random,
        notices=notices,
    )
    check_model(model)
    for notice in notices:
        warn(notice)
    return model if options.dtype == exact else replace(model, module=module.to(options.dtype))


def _frozen(module: Any) -> Any:
    """Set evaluation mode, without gradients, checkpointing or in-place steps."""
    module = module.eval().requires_grad_(False)
    module.set_grad_checkpointing(False)
    for part in module.modules():
        if getattr(part, "inplace", False):
            part.inplace = False
    return module


def _notices(source: SourceModule, options: LoadOptions) -> Iterator[str]:
    yield from source.notices
    fields = [field for field in source.unstated if field not in options.preprocess]
    if fields:
        yield (
            f"{source.name}: {source.weights} does not say how images are prepared, so {source.assumed} is assumed: "
            f"{source.preprocess.text_of(fields)}; state {', '.join(fields)} if the model was trained differently"
        )
