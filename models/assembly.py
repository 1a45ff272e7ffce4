"""From a module to a loaded model: its identity, what is proved of it, where it runs; the same for every source."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from ..errors import InputError, unknown, warn
from .families import as_vision_transformer
from .fingerprint import computation, contents
from .grid import check_memory
from .preprocess import Preprocess
from .probe import probe
from .representable import check_finite_weights, check_representable
from .self_check import check_finite, check_gates
from .vit import ViT

UNSTATED = ("mean", "std", "crop", "interpolation")
"""Fields of the preprocessing that a file of weights does not state."""

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class SourceModule:
    """A module of a family that is taken, and what its source tells of it.

    Attributes:
        module: a copy that may be changed.
        name: what people call it.
        preprocess: how it wants its images.
        weights: where they come from, in words.
        random: whether they are random.
        labels: name of each class, where the source knows them.
        unstated: fields of the preprocessing that the source does not state, so that they are assumed.
        assumed: from where they are assumed, in words.
        notices: what else was assumed or chosen.
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


def random_weights(name: str, seed: int | None) -> tuple[str, ...]:
    """What is said of random weights that nobody asked for by a seed."""
    said = f"{name}: its weights are random, as neither pretrained nor checkpoint is given; load trained weights, or "
    return () if seed is not None else (f"{said}state a seed if random ones are meant",)


def check_seed(seed: int | None) -> int:
    """The seed of random weights; 0 where none is stated.

    Raises:
        InputError: a seed that torch does not take.
    """
    if seed is not None and not (isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**63):
        raise InputError(f"seed: expected a whole number from 0 to 2^63 - 1, got {seed!r}")
    return seed or 0


def copied(module: nn.Module) -> Any:
    """A copy, so that the caller's module stays as it is.

    Raises:
        InputError: the module cannot be copied.
    """
    try:
        return copy.deepcopy(module)
    except Exception as error:  # whatever a part of the module raises
        raise InputError(f"source: the module cannot be copied ({type(error).__name__}: {error})") from error


@dataclass(frozen=True)
class LoadOptions:
    """What every source takes beside itself; checked before anything is loaded.

    Attributes:
        name: what people call the model; None: by its source.
        preprocess: fields of the preprocessing that are stated.
        device: where it runs.
        dtype: in which it runs.
        labels: name of each class; None: those that the source knows.
    """

    name: str | None
    preprocess: Mapping[str, Any]
    device: torch.device
    dtype: torch.dtype
    labels: tuple[str, ...] | None

    @classmethod
    def checked(
        cls,
        name: str | None,
        device: str | torch.device,
        dtype: str,
        labels: Sequence[str] | None = None,
        **preprocess: Any,
    ) -> LoadOptions:
        """Check what was asked for, before a model is loaded.

        Raises:
            InputError: a name that cannot be printed, an unknown dtype or device, labels that are no list of names.
        """
        if name is not None and not (isinstance(name, str) and name.isprintable() and name.strip() == name != ""):
            raise InputError(f"name: expected printable text without blanks at its ends, got {name!r}")
        if dtype not in DTYPES:
            raise unknown("dtype", dtype, DTYPES)
        if labels is not None and (isinstance(labels, str) or not all(isinstance(label, str) for label in labels)):
            raise InputError(f"labels: expected a list of names, one per class, got {labels!r}")
        stated = {field: value for field, value in preprocess.items() if value is not None}
        Preprocess((1, 1)).stated(**stated)
        return cls(name, stated, _device(device), DTYPES[dtype], None if labels is None else tuple(labels))


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
        raise InputError(f"device: {device!r} was asked for, but torch finds no CUDA device; use cpu or auto")
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device: {device!r} was asked for, but torch finds {torch.cuda.device_count()} CUDA devices")
    return place


def loaded(source: SourceModule, options: LoadOptions) -> ViT:
    """Prove that senders and receivers account for the model, and warn of what was assumed.

    Raises:
        NotRepresentable: the model's parts do not add up as the graph says; names the part.
        InputError: weights that hold NaN or infinity, or overflow; a model that does not run; labels that do not fit.
    """
    preprocess = source.preprocess.stated(**options.preprocess)
    name = options.name or source.name
    check_finite_weights(source.module)
    module = _settled(as_vision_transformer(source.module, preprocess.size))
    check_representable(module)
    check_memory(name, module, preprocess.size, options.device)
    held = contents(module)
    answer = probe(module, preprocess.size)
    check_finite(name, answer)
    module.num_classes = len(answer)
    labels = options.labels if options.labels is not None else source.labels
    notices = tuple(_notices(replace(source, name=name, preprocess=preprocess), options))
    exact = torch.float64 if options.dtype == torch.float64 else torch.float32
    model = ViT(
        module=module.to(options.device, exact),
        name=name,
        computation=computation(held, answer),
        preprocess=preprocess,
        labels=None if labels is None else tuple(labels),
        weights=source.weights,
        random=source.random,
        notices=notices,
    )
    check_gates(model)
    for notice in notices:
        warn(notice)
    return model if options.dtype == exact else replace(model, module=module.to(options.dtype))


def _settled(module: Any) -> Any:
    """In evaluation mode, without gradients, and without steps that write over what they read."""
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
            f"{source.preprocess.text_of(fields)}; state {', '.join(fields)} if it was trained otherwise"
        )
