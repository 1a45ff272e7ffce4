"""Load a model by its timm name, with published, local or random weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from timm.models import eva, vision_transformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ..errors import CircuitStoreError, InputError, unknown
from .assembly import UNSTATED, LoadOptions, SourceModule, random_weights_notices
from .grid import Size, check_memory, check_patches, resampling_notices, trained_size
from .layouts import torchvision_tensors
from .preprocess import TIMM_NAMES, Preprocess, built_for
from .representable import check_family
from .weights import Weights, existing_file, fill, read_weights


def timm_by_name(name: str, pretrained: bool | str, checkpoint: object, options: LoadOptions) -> SourceModule:
    """Load a model by its name in timm, such as `vit_base_patch16_224`.

    Raises:
        InputError: an unknown name or tag, or weights that do not fit.
        NotRepresentable: a family that is not supported.
        CircuitStoreError: the published weights could not be downloaded.
    """
    if not isinstance(pretrained, bool):
        raise InputError(
            f"pretrained: expected True or False with timm; a tag is part of the name, {name}.{pretrained}"
        )
    if pretrained and checkpoint is not None:
        raise InputError("pretrained and checkpoint exclude each other; give one of them")
    _check_name(name)
    skeleton, size = _skeleton(name), options.size
    if size is not None:
        check_patches(name, skeleton, size)
    check_memory(name, skeleton, size or built_for(skeleton), options.device)
    if checkpoint is not None:
        return _from_checkpoint(name, skeleton, existing_file(checkpoint), size, options.device)
    return _from_timm(name, pretrained, size, options.seed)


def timm_preprocess(module: nn.Module) -> Preprocess:
    """Return the preprocessing in a timm model's data config, with timm's defaults for missing fields."""
    return Preprocess.of_timm(resolve_model_data_config(module), built_for(module))


def _from_timm(name: str, pretrained: bool, size: Size | None, seed: int | None) -> SourceModule:
    module: Any = _create(name, pretrained, seed or 0, {} if size is None else {"img_size": size})
    if pretrained:
        return SourceModule(module, name, timm_preprocess(module), f"published ({_tagged(module)})")
    notices = random_weights_notices(name, seed)
    return SourceModule(
        module, name, timm_preprocess(module), f"random, seed {seed or 0}", random=True, notices=notices
    )


def _tagged(module: Any) -> str:
    config = module.pretrained_cfg
    return ".".join(filter(None, (config.get("architecture"), config.get("tag"))))


def _check_name(name: str) -> None:
    """Check that timm has a model of this name.

    Raises:
        InputError: not a timm model, or not one of its tags.
    """
    architecture, dot, tag = name.partition(".")
    if name and not timm.is_model(architecture) and Path(name).is_dir():
        raise InputError(
            f"{name}: timm has no model of this name; to load the folder, write Path({name!r}) or './{name}'"
        )
    if not timm.is_model(architecture):
        raise unknown("model", name, _supported_names())
    known = [n for n in timm.list_models(f"{architecture}*", include_tags=True) if n.startswith(f"{architecture}.")]
    if dot and name not in known:
        raise unknown("tag", tag, [n.partition(".")[2] for n in known], where=architecture)


def _supported_names() -> list[str]:
    """List names for messages: timm's entry points that return a VisionTransformer or an Eva, and the demo model."""
    modules = ("deit", "eva")
    plain = timm.list_models("*vit*", module="vision_transformer")
    return [*plain, *(name for module in modules for name in timm.list_models(module=module)), "digits"]


def _skeleton(name: str, **arguments: Any) -> Any:
    """Create the architecture on the meta device.

    Raises:
        NotRepresentable: the model's family is not supported.
    """
    with torch.device("meta"):
        module = _create(name, False, 0, arguments)
    check_family(module)
    return module


def _create(name: str, pretrained: bool, seed: int, arguments: dict[str, Any]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return timm.create_model(name, pretrained=pretrained, **arguments)
        except Exception as error:
            if not pretrained:
                raise InputError(
                    f"{name}: timm could not create the model ({type(error).__name__}: {error})"
                ) from error
            raise CircuitStoreError(
                f"{name}: timm could not download the published weights ({type(error).__name__}: {error}); "
                "download them on a machine with network access and pass the file as checkpoint="
            ) from error


def _from_checkpoint(name: str, skeleton: Any, path: Path, size: Size | None, device: torch.device) -> SourceModule:
    """Create a timm model with the weights in a file, at the image size of the weights unless `size` is given."""
    weights = read_weights(path, skeleton.state_dict().keys())
    weights = replace(weights, tensors=torchvision_tensors(weights.table) or weights.tensors)
    own, where = built_for(skeleton), path.name
    trained = trained_size(where, skeleton, own, weights.tensors, size, weights.preprocess.get("size"))
    check_memory(name, skeleton, trained.size, device)
    arguments = _classes(weights.tensors) | ({} if trained.size == own else {"img_size": trained.size})
    tensors = _named_as_timm(weights, _skeleton(name, **arguments))
    module: Any = _create(name, False, 0, arguments)
    fill(module, tensors, str(path))
    notices = (*weights.notices, *trained.notices)
    if size is not None and size != trained.size:
        module.set_input_size(img_size=size)
        notices = (*notices, *resampling_notices(where, module, trained.size, size))
    stated = {
        field: weights.preprocess[TIMM_NAMES[field]] for field in UNSTATED if TIMM_NAMES[field] in weights.preprocess
    }
    return SourceModule(
        module,
        f"{name}/{path.stem}",
        timm_preprocess(module).override(**stated),
        where,
        unstated=tuple(field for field in UNSTATED if field not in stated),
        assumed=f"timm's configuration of {name}",
        notices=notices,
    )


def _classes(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    head = tensors.get("head.weight")
    return {} if head is None or head.ndim != 2 else {"num_classes": len(head)}


def _named_as_timm(weights: Weights, module: Any) -> dict[str, Tensor]:
    """Return the tensors by timm's names, converted if timm knows their published layout."""
    names = module.state_dict().keys()
    if weights.tensors.keys() == names:
        return weights.tensors
    convert: Any = eva.checkpoint_filter_fn
    options = {}
    if isinstance(module, VisionTransformer):
        convert, options = vision_transformer.checkpoint_filter_fn, {"adapt_layer_scale": True}
    for tensors in (weights.tensors, weights.table):
        try:
            found = convert(dict(tensors), module, **options)
        except Exception:  # a layout that is not the expected one can raise anything
            continue
        patches = found.get("patch_embed.proj.weight")
        as_saved = patches is not None and any(t.numel() == patches.numel() for t in tensors.values())
        if found.keys() == names and as_saved:  # patches of another size would have been resampled
            return found
    return weights.tensors
