"""Load models of Hugging Face's transformers from a module or from a local folder.

A folder is read without transformers: `config.json`, tensors, and `preprocessor_config.json`. Nothing is downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, unknown
from ..notation import read_json
from .assembly import UNSTATED, SourceModule, copy_module
from .families import check_same_logits
from .grid import Size, check_memory, check_patches
from .hf_model import CLASSES, HfModel
from .hf_preprocess import Prepared, read_processor
from .layouts import filled, on_meta
from .preprocess import Preprocess
from .representable import check_as_written
from .weights import existing_file, read_tensors

_HALVES = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bilinear", "crop": 1.0, "crop_mode": "squash"}
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "interpolation": "bicubic", "crop": 0.875}


def from_folder(folder: Path, size: Size | None, device: torch.device) -> SourceModule:
    """Load a folder that transformers' `save_pretrained` wrote.

    Args:
        folder: with `config.json`, `model.safetensors` (or shards with an index, or `pytorch_model.bin`) and, if
            possible, `preprocessor_config.json`.
        size: height and width of the images; None: those of the preprocessing, or else of the model.
        device: the device whose memory must be large enough.

    Raises:
        InputError: there is no such folder, or a file in it is missing or not supported; the message names it.
        NotRepresentable: a quantised or pruned model.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder. Models of the Hugging Face hub are not downloaded; first download this one "
            "to a folder, for example with `hf download OWNER/NAME --local-dir FOLDER`, and load that folder"
        )
    config = _json(folder / "config.json")
    names = config.get("architectures") or ["none"]
    if isinstance(timm_name := config.get("architecture"), str):
        raise InputError(
            f"{folder}: this is a model of timm; load it by its name: source 'timm:{timm_name}' and checkpoint "
            f"'{folder / 'model.safetensors'}'"
        )
    if names[0] not in CLASSES:
        raise unknown("class", names[0], CLASSES, where=f"{folder / 'config.json'}: architectures")
    file = folder / "preprocessor_config.json"
    prepared = read_processor(_json(file), str(file)) if file.is_file() else Prepared(None, {})
    model = HfModel(config, CLASSES[names[0]], _tensors(folder), str(folder))
    wanted = size or prepared.size or model.size
    skeleton, notices = on_meta(partial(model.skeleton, wanted)), ()
    if wanted != model.size:
        check_patches(str(folder), skeleton, wanted)
        reason = "image_size" if size else file.name
        before, after = _text(model.size), _text(wanted)
        notices = (f"{folder}: position embeddings for {before} pixels are resampled for {after}, as {reason} says",)
    check_memory(str(folder), skeleton, wanted, device)
    module = filled(skeleton, model.tensors(wanted), str(folder))
    found = _source(model, module, folder.resolve().name, wanted, prepared.fields)
    return replace(found, weights=f"the folder {folder}", notices=notices)


def from_transformers(module: Any) -> SourceModule:
    """Convert a module of transformers, which stays unchanged.

    Raises:
        NotRepresentable: an option that is not supported, or a module that computes other logits than the conversion.
    """
    name = type(module).__name__
    check_as_written(module)
    original = copy_module(module).cpu().eval()
    if next(original.parameters()).dtype.itemsize < 4:
        original = original.float()
    model = HfModel(module.config.to_dict(), CLASSES[name], original.state_dict(), name)
    rebuilt = filled(on_meta(partial(model.skeleton, model.size)), model.tensors(model.size), name)

    def logits(images: Tensor) -> Tensor:
        output = original(pixel_values=images)
        return output.logits if model.cls.reads else output.last_hidden_state[:, 0]

    check_same_logits(name, logits, rebuilt, model.size, next(original.parameters()))
    return _source(model, rebuilt, name, model.size, {})


def is_transformers(module: nn.Module) -> bool:
    """Return whether a module is of a supported class of transformers."""
    return type(module).__module__.startswith("transformers.") and type(module).__name__ in CLASSES


def _source(model: HfModel, module: nn.Module, name: str, size: Size, stated: Mapping[str, Any]) -> SourceModule:
    assumed = _HALVES if model.cls.family == "vit" else _IMAGENET
    return SourceModule(
        module,
        name,
        Preprocess(size, **{**assumed, **stated}),
        "the module as given",
        labels=model.labels,
        unstated=tuple(field for field in UNSTATED if field not in stated),
        assumed=f"transformers' default for {model.cls.family}",
    )


def _text(size: Size) -> str:
    return f"{size[0]} × {size[1]}"


def _json(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{file}: cannot read this file ({error}); expected JSON as transformers writes it") from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: expected a JSON object, got {type(content).__name__}")
    return content


def _tensors(folder: Path) -> dict[str, Tensor]:
    """Read the tensors of a folder; a large model has several files and an index."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return read_tensors(folder / name, "weights")
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = sorted({Path(str(shard)).name for shard in _json(index).get("weight_map", {}).values()})
            files = [existing_file(folder / shard, "weights") for shard in shards]
            return {name: tensor for file in files for name, tensor in read_tensors(file, "weights").items()}
    raise InputError(f"{folder}: expected model.safetensors or pytorch_model.bin, found neither")
