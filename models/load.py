"""Load a model by its timm name (published or local weights), from a module, or the demo's digits model."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Unpack

import timm
import torch
from safetensors.torch import load
from timm.data.config import resolve_model_data_config
from timm.models import eva, vision_transformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ..errors import CircuitStoreError, InputError, unknown
from .ambient import plain_torch
from .assembly import UNSTATED, LoadKeywords, LoadOptions, SourceModule, assemble, copy_module, random_weights_notices
from .grid import Size, check_memory, check_patches, resampling_notices, trained_size
from .preprocess import TIMM_NAMES, Preprocess, built_for
from .representable import check_as_written, check_family
from .vit import ViT
from .weights import Weights, existing_file, read_weights
from .wrappers import timm_model_in


@plain_torch()
def load_model(
    source: str | nn.Module,
    *,
    pretrained: bool = False,
    checkpoint: str | Path | None = None,
    labels: Sequence[str] | None = None,
    **options: Unpack[LoadKeywords],
) -> ViT:
    """Load a vision transformer, freeze it, and check that it is exactly the sum of its senders.

    Everything that has to be assumed raises a `CircuitStoreWarning` and is kept in `notices`: preprocessing that the
    weights do not state, an image size inferred from position embeddings, random weights.

    Args:
        source: `"digits"` (the demo model), a timm name with or without the prefix `timm:`, or a module, which is
            copied and stays unchanged.
        pretrained: download the published weights with timm (needs the network unless they are cached).
        checkpoint: local weights for a timm name: safetensors, or a torch file as training scripts save it.
        labels: name of each class.
        **options: `name`, `device`, `dtype`, `seed`, `image_size`, `mean`, `std`, `crop`, `crop_mode` and
            `interpolation`, see `LoadKeywords`.

    Raises:
        NotRepresentable: the model's parts do not add up as the graph says; the message names the part.
        InputError: a source or option that is unknown or does not fit; weights that do not fit, hold NaN or infinity,
            or overflow.
        CircuitStoreError: the published weights could not be downloaded.

    Examples:
        >>> load_model("digits", dtype="float64")
        ViT(digits, 4 layers, 4 heads, width 64, 10 classes, torch.float64 on cpu, ...)
        >>> load_model("timm:test_vit", seed=0, image_size=64).n_tokens
        17
    """
    checked = LoadOptions.checked(options, labels, others=("pretrained", "checkpoint", "labels"))
    if isinstance(source, str) and source != "digits":
        return assemble(_by_name(source.removeprefix("timm:"), pretrained, checkpoint, checked), checked)
    if not isinstance(source, str | nn.Module):
        raise InputError(f"source: expected 'digits', a timm name or an nn.Module, got {type(source).__name__}")
    if checkpoint is not None:
        raise InputError("checkpoint: can only be given with a timm name; load the weights into the module first")
    if checked.size is not None:
        raise InputError("image_size: can only be given with a timm name; a module has its own")
    return assemble(_from_module(source) if isinstance(source, nn.Module) else _digits(), checked)


def _by_name(name: str, pretrained: bool, checkpoint: object, options: LoadOptions) -> SourceModule:
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


def _from_module(source: nn.Module) -> SourceModule:
    module: Any = timm_model_in(source)
    check_as_written(module)
    config = getattr(module, "pretrained_cfg", None) or {}
    return SourceModule(
        copy_module(module),
        config.get("architecture") or type(module).__name__,
        _preprocess(module),
        "the module as given",
        unstated=tuple(field for field in UNSTATED if TIMM_NAMES[field] not in config),
        assumed="timm's default",
    )


def _preprocess(module: nn.Module) -> Preprocess:
    """Return the preprocessing in a timm model's data config, with timm's defaults for missing fields."""
    return Preprocess.of_timm(resolve_model_data_config(module), built_for(module))


def _digits() -> SourceModule:
    """Build the demo model from the package's data: weights, and a TOML file with the architecture."""
    folder = resources.files("circuitstore") / "demo"
    weights, table = folder / "digits_model.safetensors", folder / "digits_model.toml"
    if not (weights.is_file() and table.is_file()):
        raise CircuitStoreError("digits: this installation lacks the demo model; reinstall circuitstore")
    facts = tomllib.loads(table.read_text(encoding="utf-8"))
    module = VisionTransformer(**facts["architecture"])
    _fill(module, load(weights.read_bytes()), "digits")
    prepared = facts["preprocess"]
    preprocess = Preprocess(tuple(prepared.pop("size")), **prepared)
    return SourceModule(module, "digits", preprocess, "shipped with circuitstore", labels=facts["labels"])


def _from_timm(name: str, pretrained: bool, size: Size | None, seed: int | None) -> SourceModule:
    module: Any = _create(name, pretrained, seed or 0, {} if size is None else {"img_size": size})
    if pretrained:
        return SourceModule(module, name, _preprocess(module), f"published ({_tagged(module)})")
    notices = random_weights_notices(name, seed)
    return SourceModule(module, name, _preprocess(module), f"random, seed {seed or 0}", random=True, notices=notices)


def _tagged(module: Any) -> str:
    config = module.pretrained_cfg
    return ".".join(filter(None, (config.get("architecture"), config.get("tag"))))


def _check_name(name: str) -> None:
    """Check that timm has a model of this name.

    Raises:
        InputError: not a timm model, or not one of its tags.
    """
    if "/" in name or name.startswith("hf-hub:"):
        raise InputError(
            f"{name}: models from the Hugging Face hub are not supported yet; expected a name in timm, such as "
            "vit_base_patch16_224, with pretrained=True for its published weights"
        )
    architecture, dot, tag = name.partition(".")
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
    own, where = built_for(skeleton), path.name
    trained = trained_size(where, skeleton, own, weights.tensors, size, weights.preprocess.get("size"))
    check_memory(name, skeleton, trained.size, device)
    arguments = _classes(weights.tensors) | ({} if trained.size == own else {"img_size": trained.size})
    tensors = _named_as_timm(weights, _skeleton(name, **arguments))
    module: Any = _create(name, False, 0, arguments)
    _fill(module, tensors, str(path))
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
        _preprocess(module).override(**stated),
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


def _fill(module: nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    """Load all tensors into the module; names and shapes must match exactly."""
    own = module.state_dict()
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    shapes = [
        f"{n} is {tuple(tensors[n].shape)}, expected {tuple(own[n].shape)}"
        for n in own.keys() & tensors.keys()
        if tensors[n].shape != own[n].shape
    ]
    if missing or extra or shapes:
        problems = [
            *(f"missing: {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}" for _ in missing[:1]),
            *(f"not in the model: {', '.join(extra[:5])}{' …' if len(extra) > 5 else ''}" for _ in extra[:1]),
            *shapes[:3],
        ]
        raise InputError(f"checkpoint: {where} does not fit the model: {'; '.join(problems)}")
    if any(tensor.dtype == torch.float64 for tensor in tensors.values()):
        module.double()
    module.load_state_dict(tensors)
