"""Load a model: by name, from a folder or a module, or the demo's digits model."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Unpack

from safetensors.torch import load
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ..errors import CircuitStoreError, InputError
from .ambient import plain_torch
from .assembly import UNSTATED, LoadKeywords, LoadOptions, SourceModule, assemble, copy_module
from .huggingface import from_folder, from_transformers, is_transformers
from .linear_head import attach
from .preprocess import TIMM_NAMES, Preprocess
from .representable import check_as_written
from .timm_names import timm_by_name, timm_preprocess
from .torchvision_vit import from_torchvision, is_torchvision, torchvision_by_name
from .vit import ViT
from .weights import existing_file, fill, read_weights
from .wrappers import timm_model_in, unwrap


@plain_torch()
def load_model(
    source: str | Path | nn.Module,
    *,
    pretrained: bool | str = False,
    checkpoint: str | Path | None = None,
    head: str | Path | nn.Module | Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    **options: Unpack[LoadKeywords],
) -> ViT:
    """Load a vision transformer, freeze it, and check that it is exactly the sum of its senders.

    Everything that has to be assumed raises a `CircuitStoreWarning` and is kept in `notices`: preprocessing that the
    weights do not state, an image size inferred from position embeddings, random weights.

    Args:
        source: `"digits"` (the demo model); a timm name, with or without the prefix `timm:`; a torchvision name with
            the prefix `torchvision:`; the folder of a Hugging Face model, as a `Path` or a text with a slash; or a
            module of one of these libraries, which is copied and stays unchanged.
        pretrained: download the published weights of a name (needs the network unless they are cached); for torchvision
            also their tag.
        checkpoint: local weights for a name, also for `"digits"`: safetensors, or a torch file as training scripts
            save it.
        head: the classifier instead of the model's own: a file as `circuitstore probe` writes it; a layer that reads
            the pooled tokens; or names of classes, for a classifier whose logits are 0.
        labels: name of each class.
        **options: `name`, `device`, `dtype`, `seed`, `image_size`, `mean`, `std`, `crop`, `crop_mode` and
            `interpolation`, see `LoadKeywords`.

    Raises:
        NotRepresentable: the model's parts do not add up as the graph says; the message names the part.
        InputError: a source or option that is unknown or does not fit; weights that do not fit, hold NaN or infinity,
            or overflow; a model without a classifier.
        CircuitStoreError: the published weights could not be downloaded.

    Examples:
        >>> load_model("digits", dtype="float64")
        ViT(digits, 4 layers, 4 heads, width 64, 10 classes, torch.float64 on cpu, ...)
        >>> load_model("timm:test_vit", seed=0, image_size=64).n_tokens
        17
    """
    checked = LoadOptions.checked(options, labels, others=("pretrained", "checkpoint", "head", "labels"))
    return assemble(attach(_found(source, pretrained, checkpoint, checked), head), checked)


def _found(source: object, pretrained: bool | str, checkpoint: str | Path | None, options: LoadOptions) -> SourceModule:
    """Return the model at a source.

    Raises:
        InputError: an unknown source, or an argument that this source does not take.
    """
    if isinstance(source, str) and source != "digits" and not _is_folder(source):
        library, colon, name = source.partition(":")
        if library == "torchvision" and colon:
            return torchvision_by_name(name, pretrained, checkpoint, options)
        return timm_by_name(source.removeprefix("timm:"), pretrained, checkpoint, options)
    if not isinstance(source, str | Path | nn.Module):
        raise InputError(
            "source: expected 'digits', the name of a timm or torchvision model, a folder of Hugging Face or an "
            f"nn.Module, got {type(source).__name__}"
        )
    if source == "digits" and pretrained:
        raise InputError("digits: has no published weights; leave out pretrained, or give a file as checkpoint")
    if source != "digits" and (checkpoint is not None or pretrained):
        raise InputError(
            "pretrained and checkpoint can only be given with a name; a folder holds its own weights, and weights for "
            "a module must be loaded into it first"
        )
    if not isinstance(source, nn.Module) and source != "digits":
        return from_folder(Path(source), options.size, options.device)
    if options.size is not None:
        raise InputError("image_size: can only be given with a timm name or a folder; a module has its own")
    return _from_module(source) if isinstance(source, nn.Module) else _digits(checkpoint)


def _is_folder(text: str) -> bool:
    """Return whether a text is the path of a folder: no name in timm or torchvision has a slash."""
    return "/" in text or os.sep in text


def _from_module(source: nn.Module) -> SourceModule:
    module = unwrap(source)
    if is_transformers(module):
        return from_transformers(module)
    return from_torchvision(module) if is_torchvision(module) else _from_timm(timm_model_in(module))


def _from_timm(module: Any) -> SourceModule:
    check_as_written(module)
    config = getattr(module, "pretrained_cfg", None) or {}
    return SourceModule(
        copy_module(module),
        config.get("architecture") or type(module).__name__,
        timm_preprocess(module),
        "the module as given",
        unstated=tuple(field for field in UNSTATED if TIMM_NAMES[field] not in config),
        assumed="timm's default",
    )


def _digits(checkpoint: str | Path | None) -> SourceModule:
    """Build the demo model from the package's data: weights, unless others are given, and the architecture."""
    folder = resources.files("circuitstore") / "demo"
    weights, table = folder / "digits_model.safetensors", folder / "digits_model.toml"
    if not (weights.is_file() and table.is_file()):
        raise CircuitStoreError("digits: this installation lacks the demo model; reinstall circuitstore")
    facts = tomllib.loads(table.read_text(encoding="utf-8"))
    module = VisionTransformer(**facts["architecture"])
    prepared = facts["preprocess"]
    preprocess = Preprocess(tuple(prepared.pop("size")), **prepared)
    if checkpoint is None:
        fill(module, load(weights.read_bytes()), "digits")
        return SourceModule(module, "digits", preprocess, "shipped with circuitstore", labels=facts["labels"])
    path = existing_file(checkpoint)
    fill(module, read_weights(path, module.state_dict().keys()).tensors, str(path))
    return SourceModule(module, f"digits/{path.stem}", preprocess, path.name, labels=facts["labels"])
