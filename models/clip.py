"""CLIP, SigLIP and their kin from open_clip: the image tower with a zero-shot head over classes in words.

open_clip's own tower is put together as timm's VisionTransformer; a tower that is timm's is taken as it is. The text
tower runs once, to embed the prompts, and is no part of the graph.
"""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import CircuitStoreError, InputError, NotRepresentable, optional, unknown
from .ambient import plain_torch
from .assembly import UNSTATED, LoadOptions, SourceModule, check_seed, copied, loaded, random_weights
from .clip_tower import tower_of
from .families import hold_same
from .grid import Size, check_memory, check_patches, checked_size
from .preprocess import Preprocess
from .representable import check_as_written, check_finite_weights
from .vit import ViT
from .weights import checked_file, read_weights
from .wrappers import unwrapped
from .zero_shot import ZeroShotHead, length_errors

TEMPLATES = ("a photo of a {}.",)

Tokenizer = Callable[[list[str]], Tensor]
"""From texts to token indices `[text, token]`."""

Template = str | Callable[[str], str]
"""A prompt with `{}` where the name goes, or a function from the name to the prompt."""


@plain_torch()
def load_clip(
    source: str | nn.Module,
    classes: Iterable[str],
    templates: Iterable[Template] = TEMPLATES,
    *,
    name: str | None = None,
    tokenizer: Tokenizer | None = None,
    pretrained: str | None = None,
    checkpoint: str | Path | None = None,
    image_size: int | tuple[int, int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    crop: float | None = None,
    crop_mode: str | None = None,
    interpolation: str | None = None,
    device: str | torch.device = "cpu",
    dtype: str = "float32",
    seed: int | None = None,
) -> ViT:
    """Load a CLIP model's image tower as a classifier of classes that are given in words.

    Args:
        source: open_clip's name (`"ViT-B-32"`; OpenAI's own weights want the names that end in `-quickgelu`), or a
            model that open_clip made, which is copied and left as it is.
        classes: a name for each class; they become the labels.
        templates: prompts with `{}` where the name goes, or functions from the name to the prompt, such as open_clip's
            own; a class is the mean over them, scaled to length 1.
        name: what people call the model; by default open_clip's name, and the tag's or the checkpoint's after a slash.
        tokenizer: needed beside a module; a name brings its own.
        pretrained: tag of published weights (needs the network unless they are cached).
        checkpoint: file of weights.
        image_size: pixels, where it is not the model's own; position embeddings are resampled.
        mean, std, crop, crop_mode, interpolation: how images are prepared; by default as open_clip says.
        device, dtype, seed: as in `load_model`.

    Raises:
        NotRepresentable: a tower that is no plain vision transformer; says why.
        InputError: names or templates that make no prompts, an unknown name, weights that do not fit.
        CircuitStoreError: open_clip is not installed, or weights or tokenizer could not be fetched.
    """
    stated = {"mean": mean, "std": std, "crop": crop, "crop_mode": crop_mode, "interpolation": interpolation}
    options, size = LoadOptions.checked(name, device, dtype, **stated), checked_size(image_size)
    labels, prompts = _checked_prompts(classes, templates)
    if isinstance(source, nn.Module):
        if tokenizer is None or pretrained or checkpoint or size:
            raise InputError("a CLIP module takes a tokenizer beside it, and no weights and no image size")
        clip, facts = _given(source)
    else:
        clip, facts = _by_name(source, pretrained, checkpoint, size, seed)
        tower, _ = tower_of(clip.visual)
        if size is not None:
            check_patches(source, tower, size)
        check_memory(source, tower, clip.visual.image_size, options.device)
        tokenizer = tokenizer or _tokenizer(source)
    check_finite_weights(clip)
    stored = next(clip.parameters()).dtype
    text = text_embeddings(clip.double(), tokenizer, labels, prompts).to(stored)  # alike on every machine
    module: Any = zero_shot(clip.to(stored), text, name=facts.name)
    preprocess = Preprocess.of_timm(module.pretrained_cfg, clip.visual.image_size)
    made = SourceModule(
        module, facts.name, preprocess, facts.weights, facts.random, labels, facts.unstated, "open_clip's default",
        notices=(*facts.notices, *_twice(labels)),
    )  # fmt: skip
    return loaded(made, options)


class _Facts(NamedTuple):
    """What is known of a CLIP model's weights; see `SourceModule`."""

    name: str
    weights: str
    random: bool = False
    unstated: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


def _given(source: nn.Module) -> tuple[Any, _Facts]:
    module: Any = unwrapped(source)
    check_as_written(module)
    unstated = () if hasattr(module.visual, "preprocess_cfg") else UNSTATED
    return copied(module), _Facts(type(module).__name__, "the module as given", unstated=unstated)


def _by_name(
    name: object, pretrained: str | None, checkpoint: str | Path | None, size: Size | None, seed: int | None
) -> tuple[Any, _Facts]:
    library = optional("open_clip", "clip")
    if not isinstance(name, str):
        raise InputError(f"source: expected open_clip's name or a model that it made, got {type(name).__name__}")
    if pretrained is not None and checkpoint is not None:
        raise InputError("pretrained and checkpoint exclude each other: say which weights are meant")
    if ":" not in name and name not in library.list_models():
        raise unknown("model", name, library.list_models())
    path = None if checkpoint is None else checked_file(checkpoint)
    with _making(name), torch.random.fork_rng(devices=[]):
        torch.manual_seed(check_seed(seed))
        clip = library.create_model(name, pretrained=pretrained, force_image_size=size)
    if path is not None:
        facts = _Facts(f"{name}/{path.stem}", path.name, unstated=UNSTATED, notices=_fill(clip, path, name))
    elif pretrained is not None:
        facts = _Facts(f"{name}/{pretrained}", f"published ({name}, {pretrained})")
    else:
        facts = _Facts(name, f"random, seed {check_seed(seed)}", random=True, notices=random_weights(name, seed))
    return clip, facts


@contextmanager
def _making(name: str) -> Iterator[None]:
    """Open_clip's errors as ours. That it made a model without weights is not logged: they follow, or we say so.

    Raises:
        CircuitStoreError: whatever goes wrong inside of open_clip.
    """
    root = logging.getLogger()
    root.addFilter(_is_news)
    try:
        yield
    except CircuitStoreError:
        raise
    except Exception as error:
        raise CircuitStoreError(f"{name}: open_clip could not make it ({type(error).__name__}: {error})") from error
    finally:
        root.removeFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return "No pretrained weights loaded" not in record.getMessage()


def _fill(clip: Any, path: Path, name: str) -> tuple[str, ...]:
    """Put a file's weights into the model; tells where position embeddings are resampled."""
    library, own = optional("open_clip", "clip"), clip.state_dict()
    weights = read_weights(path, own.keys())
    with _making(name):
        if weights.tensors.keys() != own.keys():  # another layout that open_clip may know
            library.load_checkpoint(clip, str(path))
            return ()
        found, wanted = (t.get("visual.positional_embedding") for t in (weights.tensors, own))
        library.model.resize_pos_embed(weights.tensors, clip)
        clip.load_state_dict(weights.tensors)
    if found is None or wanted is None or found.shape == wanted.shape:
        return ()
    return (
        f"{path.name}: position embeddings of {len(found) - 1} patches are taken as a square and resampled to "
        f"{len(wanted) - 1}, as image_size says",
    )


def text_embeddings(
    clip: nn.Module, tokenizer: Tokenizer, classes: Iterable[str], templates: Iterable[Template] = TEMPLATES
) -> Float[Tensor, "class width"]:
    """Each class's prompts embedded, scaled to length 1, averaged and scaled again, as open_clip does."""
    names, prompts = _checked_prompts(classes, templates)
    build = optional("open_clip", "clip").build_zero_shot_classifier
    place = next(clip.parameters()).device
    return build(clip.eval(), tokenizer, names, prompts, device=place).T.contiguous()


def zero_shot(clip: Any, text: Float[Tensor, "class width"], name: str = "clip") -> nn.Module:
    """A copy of the image tower with a head of text embeddings, for `load_model`.

    Raises:
        NotRepresentable: a tower that is no plain vision transformer; says why.
        InputError: text embeddings of another width than the image's, or of another length than 1.
    """
    visual = copy.deepcopy(clip.eval().visual)
    tower, projection = tower_of(visual)
    _check_text(text, clip)
    bias = getattr(clip, "logit_bias", None)
    tower.head = nn.Sequential(*projection, ZeroShotHead(text, clip.logit_scale, bias))
    tower.num_classes = len(text)
    tower.pretrained_cfg = {"architecture": name, **_preprocess(visual)}
    hold_same(name, _logits(clip, text, bias), tower, visual.image_size, next(clip.parameters()))
    return tower


def _logits(clip: Any, text: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """open_clip's own logits, from its own tower."""

    def logits(images: Tensor) -> Tensor:
        cosines = clip.encode_image(images, normalize=True) @ text.T
        return clip.logit_scale.exp() * cosines + (0 if bias is None else bias)

    return logits


def _checked_prompts(
    classes: Iterable[str], templates: Iterable[Template]
) -> tuple[tuple[str, ...], tuple[Callable[[str], str], ...]]:
    """Names, and functions from a name to each prompt.

    Raises:
        InputError: no names or templates, or some that are no text or make none.
    """
    names = () if isinstance(classes, str) else tuple(classes)
    if not names or not all(isinstance(c, str) and c.strip() for c in names):
        raise InputError(f"classes: expected a list of names, one per class, got {classes!r}")
    given = () if isinstance(templates, str) else tuple(templates)
    if not given or not all(_makes_prompts(template) for template in given):
        raise InputError(
            f"templates: expected prompts with one {{}} each, where the name goes, or functions of it, "
            f"got {templates!r}"
        )
    return tuple(str(c) for c in names), tuple(t.format if isinstance(t, str) else t for t in given)


def _makes_prompts(template: object) -> bool:
    if isinstance(template, str):
        return template.count("{}") == 1
    return callable(template) and isinstance(template("name"), str)


def _twice(labels: Sequence[str]) -> tuple[str, ...]:
    """What is said of names that stand more than once."""
    doubled = [name for name, times in Counter(labels).items() if times > 1]
    if not doubled:
        return ()
    return (f"classes: {', '.join(map(repr, doubled))} stand more than once; classes of one name have equal logits",)


def _check_text(text: Tensor, clip: Any) -> None:
    with torch.no_grad():
        image = torch.zeros(1, 3, *clip.visual.image_size).to(next(clip.parameters()))
        width = clip.encode_image(image).shape[-1]
    if text.ndim != 2 or text.shape[1] != width:
        raise InputError(f"text: expected embeddings [class, {width}], got {tuple(text.shape)}")
    if not bool((length_errors(text) < 1e-2).all()):
        raise InputError("text: expected embeddings of length 1; divide each by its norm")


def _tokenizer(name: str) -> Tokenizer:
    try:
        return optional("open_clip", "clip").get_tokenizer(name)
    except Exception as error:
        raise CircuitStoreError(
            f"{name}: open_clip could not get its tokenizer ({type(error).__name__}: {error}); give one as tokenizer="
        ) from error


def _preprocess(visual: Any) -> dict[str, Any]:
    """What open_clip says of the images, by timm's names; its defaults where it says nothing."""
    cfg = getattr(visual, "preprocess_cfg", None) or asdict(optional("open_clip.transform", "clip").PreprocessCfg())
    modes = {"shortest": "center", "squash": "squash"}
    if (mode := cfg.get("resize_mode", "shortest")) not in modes:
        raise NotRepresentable(f"images are resized by {mode!r}; expected one of {', '.join(modes)}")
    same = {key: cfg[key] for key in ("mean", "std", "interpolation") if key in cfg}
    return {"input_size": (3, *visual.image_size), "crop_pct": 1.0, "crop_mode": modes[mode], **same}
