"""Load torchvision's vision transformers, from a module or by name, as timm models with the same tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from timm.layers.norm import LayerNorm
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights, list_models
from torchvision.models import vision_transformer as torchvision_vit

from ..errors import CircuitStoreError, InputError, NotRepresentable, check_known
from .assembly import UNSTATED, LoadOptions, SourceModule, copy_module, random_weights_notices
from .families import check_same_logits
from .grid import check_memory, check_patches, resampling_notices
from .layouts import TORCHVISION, filled, mlp_ratio, named_as_timm, on_meta
from .preprocess import Preprocess, built_for
from .representable import check_as_written
from .weights import existing_file, read_weights

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "interpolation": "bilinear", "crop": 0.875}
"""The preprocessing of torchvision's models, unless their weights say otherwise."""


def is_torchvision(module: nn.Module) -> bool:
    """Return whether a module is torchvision's vision transformer."""
    return type(module) is torchvision_vit.VisionTransformer


def from_torchvision(module: Any) -> SourceModule:
    """Convert a module of torchvision, which stays unchanged.

    Raises:
        NotRepresentable: a convolutional stem, or a module that computes other logits than the conversion.
    """
    check_as_written(module)
    name, size = "torchvision's VisionTransformer", (module.image_size, module.image_size)
    original = copy_module(module).cpu().eval()
    if next(original.parameters()).dtype.itemsize < 4:
        original = original.float()
    rebuilt = _converted(original, original.state_dict(), name)
    check_same_logits(name, original, rebuilt, size, next(original.parameters()))
    return _source(rebuilt, type(module).__name__, "the module as given")


def torchvision_by_name(
    name: str, pretrained: bool | str, checkpoint: str | Path | None, options: LoadOptions
) -> SourceModule:
    """Load a model by its name in torchvision, such as `vit_b_16`.

    Args:
        name: the name.
        pretrained: download published weights: true for torchvision's default, or their tag.
        checkpoint: local weights.
        options: image size, and seed of random weights.

    Raises:
        InputError: an unknown name or tag, or weights that do not fit.
        CircuitStoreError: the published weights could not be downloaded.
    """
    check_known("torchvision model", name, list_models(include="vit_*"))
    if pretrained and checkpoint is not None:
        raise InputError("pretrained and checkpoint exclude each other; give one of them")
    if pretrained:
        found = _published(name, pretrained)
    elif checkpoint is not None:
        found = _from_checkpoint(name, existing_file(checkpoint))
    else:
        found = _random(name, options.seed)
    return found if options.size is None else _resized(found, options)


def _random(name: str, seed: int | None) -> SourceModule:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed or 0)
        original: Any = get_model(name)
        torch.nn.init.trunc_normal_(original.heads.head.weight, std=0.02)  # torchvision's own are zero
    found = _source(_converted(original, original.state_dict(), name), name, f"random, seed {seed or 0}")
    return replace(found, random=True, unstated=(), notices=random_weights_notices(name, seed))


def _from_checkpoint(name: str, path: Path) -> SourceModule:
    names = on_meta(partial(get_model, name)).state_dict().keys()
    weights = read_weights(path, names)
    module = _converted(_architecture(name, weights.tensors, str(path)), weights.tensors, str(path))
    return replace(_source(module, f"{name}/{path.stem}", path.name), notices=weights.notices)


def _published(name: str, tag: bool | str) -> SourceModule:
    known: Any = get_model_weights(name)
    if isinstance(tag, str):
        check_known("tag", tag, [weights.name for weights in known], where=name)
    weights = known.DEFAULT if tag is True else known[tag]
    try:
        tensors = weights.get_state_dict(progress=False, check_hash=True)
    except Exception as error:  # torch's downloader raises errors of all kinds
        raise CircuitStoreError(
            f"{name}: torchvision could not download the published weights ({type(error).__name__}: {error}); download "
            "them on a machine with network access and pass the file as checkpoint="
        ) from error
    module = _converted(_architecture(name, tensors, weights.name), tensors, weights.name)
    found = _source(module, name, f"published ({weights})", preprocess_of(weights.transforms()))
    return replace(found, labels=weights.meta["categories"])


def preprocess_of(transform: Any) -> Mapping[str, Any]:
    """Return the fields of torchvision's preset of a published model."""
    return {
        "mean": tuple(transform.mean),
        "std": tuple(transform.std),
        "interpolation": transform.interpolation.value,
        "crop": transform.crop_size[0] / transform.resize_size[0],
    }


def _architecture(name: str, tensors: Mapping[str, Tensor], where: str) -> Any:
    """Create torchvision's model without values, for the image size and the number of classes of the tensors."""
    positions, head = tensors.get("encoder.pos_embedding"), tensors.get("heads.head.weight")
    patch = on_meta(partial(get_model, name)).patch_size
    arguments: dict[str, Any] = {} if head is None else {"num_classes": len(head)}
    if positions is not None and positions.ndim == 3:
        side = isqrt(positions.shape[1] - 1)
        if side * side != positions.shape[1] - 1:
            raise InputError(
                f"checkpoint: {where}: its position embeddings of {positions.shape[1] - 1} patches are not a square's"
            )
        arguments["image_size"] = side * patch
    return on_meta(partial(get_model, name, **arguments))


def _converted(original: Any, tensors: Mapping[str, Tensor], where: str) -> Any:
    """Return timm's model of torchvision's architecture, with the tensors.

    Raises:
        NotRepresentable: a convolutional stem.
        InputError: tensors that do not fit.
    """
    if type(original.conv_proj) is not nn.Conv2d:
        raise NotRepresentable(f"{where}: a convolutional stem is not supported; expected one projection of patches")
    layers, heads = list(original.encoder.layers), original.heads
    linear = heads[0] if isinstance(heads, nn.Sequential) and [type(part) for part in heads] == [nn.Linear] else None
    arguments = {
        "img_size": original.image_size,
        "patch_size": original.patch_size,
        "num_classes": 0 if linear is None else linear.out_features,
        "embed_dim": original.hidden_dim,
        "depth": len(layers),
        "num_heads": layers[0].num_heads,
        "mlp_ratio": mlp_ratio(original.hidden_dim, original.mlp_dim),
        "norm_layer": partial(LayerNorm, eps=original.encoder.ln.eps),
        "weight_init": "skip",
    }
    own = {name: t for name, t in tensors.items() if linear is not None or not name.startswith("heads.")}
    vit = filled(on_meta(partial(VisionTransformer, **arguments)), named_as_timm(own, TORCHVISION), where)
    if linear is None:
        vit.head = heads
    return vit


def _source(module: Any, name: str, weights: str, stated: Mapping[str, Any] | None = None) -> SourceModule:
    return SourceModule(
        module,
        name,
        Preprocess(built_for(module), **(stated or IMAGENET)),
        weights,
        unstated=() if stated else UNSTATED,
        assumed="torchvision's default",
    )


def _resized(source: SourceModule, options: LoadOptions) -> SourceModule:
    """Return the model at the image size that the user states, with resampled position embeddings."""
    module: Any = source.module
    trained, size = source.preprocess.size, options.size
    assert size is not None
    if size == trained:
        return source
    check_patches(source.name, module, size)
    check_memory(source.name, module, size, options.device)
    module.set_input_size(img_size=size)
    notices = () if source.random else resampling_notices(source.weights, module, trained, size)
    return replace(source, preprocess=replace(source.preprocess, size=size), notices=(*source.notices, *notices))
