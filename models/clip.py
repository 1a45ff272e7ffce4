"""CLIP, SigLIP and similar models from open_clip: the image tower with a zero-shot head.

open_clip's own tower is rebuilt as timm's VisionTransformer; a timm tower is used unchanged. The text tower runs once,
to embed the prompts, and is not part of the graph.
"""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import CircuitStoreError, InputError, NotRepresentable, optional, unknown
from .ambient import plain_torch
from .assembly import UNSTATED, LoadKeywords, LoadOptions, SourceModule, assemble, copy_module, random_weights_notices
from .clip_tower import tower_of
from .families import check_same_logits
from .grid import Size, check_memory, check_patches
from .preprocess import Preprocess
from .representable import check_as_written, check_finite_weights
from .vit import ViT
from .weights import existing_file, read_weights
from .wrappers import unwrap
from .zero_shot import ZeroShotHead, length_errors

TEMPLATES = ("a photo of a {}.",)

Tokenizer = Callable[[list[str]], Tensor]
"""Maps texts to token indices `[text, token]`."""

Template = str | Callable[[str], str]
"""A prompt with `{}` in place of the class name, or a function that returns the prompt for a name."""


@plain_torch()
def load_clip(
    source: str | nn.Module,
    classes: Iterable[str],
    templates: Iterable[Template] = TEMPLATES,
    *,
    tokenizer: Tokenizer | None = None,
    pretrained: str | None = None,
    checkpoint: str | Path | None = None,
    **options: Unpack[LoadKeywords],
) -> ViT:
    """Load a CLIP model's image tower as a zero-shot classifier.

    Args:
        source: name in open_clip (`"ViT-B-32"`; OpenAI's own weights need the names that end in `-quickgelu`), or an
            open_clip model, which is copied and stays unchanged.
        classes: a name for each class; they become the labels.
        templates: prompts with `{}` in place of the class name, or functions that return the prompt for a name, such
            as open_clip's own. A class is embedded as the mean over its prompts, scaled to length 1.
        tokenizer: required with a module; a name brings its own.
        pretrained: tag of published weights (needs the network unless they are cached).
        checkpoint: file of weights.
        **options: `name`, `device`, `dtype`, `seed`, `image_size`, `mean`, `std`, `crop`, `crop_mode` and
            `interpolation`, see `LoadKeywords`.

    Raises:
        NotRepresentable: the image tower is not a plain vision transformer; the message says why.
        InputError: names or templates that give no prompts, an unknown name or option, weights that do not fit.
        CircuitStoreError: open_clip is not installed, or weights or tokenizer could not be downloaded.

    Examples:
        >>> model = load_clip(clip, ["tabby cat", "school bus"], tokenizer=tokenizer)
        >>> model.labels
        ('tabby cat', 'school bus')
    """
    checked = LoadOptions.checked(options, others=("templates", "tokenizer", "pretrained", "checkpoint"))
    labels, prompts = _checked_prompts(classes, templates)
    if isinstance(source, nn.Module):
        if tokenizer is None or pretrained or checkpoint or checked.size:
            raise InputError("a CLIP module needs a tokenizer, and takes neither weights nor an image size")
        clip, facts = _from_module(source)
    else:
        clip, facts = _by_name(source, pretrained, checkpoint, checked.size, checked.seed)
        tower, _ = tower_of(clip.visual)
        if checked.size is not None:
            check_patches(source, tower, checked.size)
        check_memory(source, tower, clip.visual.image_size, checked.device)
        tokenizer = tokenizer or _tokenizer(source)
    check_finite_weights(clip)
    stored = next(clip.parameters()).dtype
    text = text_embeddings(clip.double(), tokenizer, labels, prompts).to(stored)  # the same on every machine
    module: Any = zero_shot(clip.to(stored), text, name=facts.name)
    preprocess = Preprocess.of_timm(module.pretrained_cfg, clip.visual.image_size)
    loaded = SourceModule(
        module, facts.name, preprocess, facts.weights, facts.random, labels, facts.unstated, "open_clip's default",
        notices=(*facts.notices, *_duplicates(labels)),
    )  # fmt: skip
    return assemble(loaded, checked)


class _Facts(NamedTuple):
    """What is known about a CLIP model's weights; see `SourceModule`."""

    name: str
    weights: str
    random: bool = False
    unstated: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


def _from_module(source: nn.Module) -> tuple[Any, _Facts]:
    module: Any = unwrap(source)
    check_as_written(module)
    unstated = () if hasattr(module.visual, "preprocess_cfg") else UNSTATED
    return copy_module(module), _Facts(type(module).__name__, "the module as given", unstated=unstated)


def _by_name(
    name: object, pretrained: str | None, checkpoint: str | Path | None, size: Size | None, seed: int | None
) -> tuple[Any, _Facts]:
    library = optional("open_clip", "clip")
    if not isinstance(name, str):
        raise InputError(
            f"source: expected the name of an open_clip model or the model itself, got {type(name).__name__}"
        )
    if pretrained is not None and checkpoint is not None:
        raise InputError("pretrained and checkpoint exclude each other; give one of them")
    if ":" not in name and name not in library.list_models():
        raise unknown("model", name, library.list_models())
    path = None if checkpoint is None else existing_file(checkpoint)
    with _open_clip_errors(name), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed or 0)
        clip = library.create_model(name, pretrained=pretrained, force_image_size=size)
    if path is not None:
        facts = _Facts(f"{name}/{path.stem}", path.name, unstated=UNSTATED, notices=_fill(clip, path, name))
    elif pretrained is not None:
        facts = _Facts(f"{name}/{pretrained}", f"published ({name}, {pretrained})")
    else:
        facts = _Facts(name, f"random, seed {seed or 0}", random=True, notices=random_weights_notices(name, seed))
    return clip, facts


@contextmanager
def _open_clip_errors(name: str) -> Iterator[None]:
    """Convert open_clip's errors, and drop its log message about missing weights: we load them later or warn.

    Raises:
        CircuitStoreError: any error inside open_clip.
    """
    root = logging.getLogger()
    root.addFilter(_is_relevant)
    try:
        yield
    except CircuitStoreError:
        raise
    except Exception as error:
        raise CircuitStoreError(
            f"{name}: open_clip could not create the model ({type(error).__name__}: {error})"
        ) from error
    finally:
        root.removeFilter(_is_relevant)


def _is_relevant(record: logging.LogRecord) -> bool:
    return "No pretrained weights loaded" not in record.getMessage()


def _fill(clip: Any, path: Path, name: str) -> tuple[str, ...]:
    """Load a file's weights into the model; return a notice if position embeddings are resampled."""
    library, own = optional("open_clip", "clip"), clip.state_dict()
    weights = read_weights(path, own.keys())
    with _open_clip_errors(name):
        if weights.tensors.keys() != own.keys():  # another layout that open_clip may know
            library.load_checkpoint(clip, str(path))
            return ()
        found, wanted = (t.get("visual.positional_embedding") for t in (weights.tensors, own))
        library.model.resize_pos_embed(weights.tensors, clip)
        clip.load_state_dict(weights.tensors)
    if found is None or wanted is None or found.shape == wanted.shape:
        return ()
    return (
        f"{path.name}: the position embeddings of {len(found) - 1} patches are read as a square grid and resampled to "
        f"{len(wanted) - 1} patches, for the given image_size",
    )


def text_embeddings(
    clip: nn.Module, tokenizer: Tokenizer, classes: Iterable[str], templates: Iterable[Template] = TEMPLATES
) -> Float[Tensor, "class width"]:
    """Embed each class's prompts, scale them to length 1, average and scale again, as open_clip does.

    Args:
        clip: open_clip model.
        tokenizer: the model's tokenizer.
        classes: a name for each class.
        templates: prompts with `{}` in place of the class name, or functions that return the prompt for a name.

    Raises:
        InputError: names or templates that give no prompts.

    Examples:
        >>> text_embeddings(clip, tokenizer, ["tabby cat", "school bus"]).shape
        torch.Size([2, 12])
    """
    names, prompts = _checked_prompts(classes, templates)
    build = optional("open_clip", "clip").build_zero_shot_classifier
    place = next(clip.parameters()).device
    return build(clip.eval(), tokenizer, names, prompts, device=place).T.contiguous()


def zero_shot(clip: Any, text: Float[Tensor, "class width"], name: str = "clip") -> nn.Module:
    """Return a copy of the image tower with text embeddings as its classifier, for `load_model`.

    Args:
        clip: open_clip model.
        text: one embedding per class, of length 1.
        name: the model's default name.

    Raises:
        NotRepresentable: the image tower is not a plain vision transformer; the message says why.
        InputError: text embeddings whose width differs from the image embedding's, or whose length is not 1.

    Examples:
        >>> text = text_embeddings(clip, tokenizer, ["tabby cat", "school bus"])
        >>> cs.load_model(zero_shot(clip, text), labels=["tabby cat", "school bus"]).n_classes
        2
    """
    visual = copy.deepcopy(clip.eval().visual)
    tower, projection = tower_of(visual)
    _check_text(text, clip)
    bias = getattr(clip, "logit_bias", None)
    tower.head = nn.Sequential(*projection, ZeroShotHead(text, clip.logit_scale, bias))
    tower.num_classes = len(text)
    tower.pretrained_cfg = {"architecture": name, **_preprocess(visual)}
    check_same_logits(name, _logits(clip, text, bias), tower, visual.image_size, next(clip.parameters()))
    return tower


def _logits(clip: Any, text: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """Return the function that computes open_clip's own logits with its own tower."""

    def logits(images: Tensor) -> Tensor:
        cosines = clip.encode_image(images, normalize=True) @ text.T
        return clip.logit_scale.exp() * cosines + (0 if bias is None else bias)

    return logits


def _checked_prompts(
    classes: Iterable[str], templates: Iterable[Template]
) -> tuple[tuple[str, ...], tuple[Callable[[str], str], ...]]:
    """Return the class names, and a function from name to prompt for each template.

    Raises:
        InputError: no names or templates, or one that is not text or gives none.
    """
    names = () if isinstance(classes, str) else tuple(classes)
    if not names or not all(isinstance(c, str) and c.strip() for c in names):
        raise InputError(f"classes: expected a list of names, one per class, got {classes!r}")
    given = () if isinstance(templates, str) else tuple(templates)
    if not given or not all(_makes_prompts(template) for template in given):
        raise InputError(
            f"templates: expected prompts with one {{}} each, in place of the name, or functions of the name, "
            f"got {templates!r}"
        )
    return tuple(str(c) for c in names), tuple(t.format if isinstance(t, str) else t for t in given)


def _makes_prompts(template: object) -> bool:
    if isinstance(template, str):
        return template.count("{}") == 1
    return callable(template) and isinstance(template("name"), str)


def _duplicates(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the notice about names that occur more than once."""
    doubled = [name for name, times in Counter(labels).items() if times > 1]
    if not doubled:
        return ()
    return (
        f"classes: {', '.join(map(repr, doubled))} occur more than once; classes with the same name have equal logits",
    )


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
            f"{name}: open_clip could not load its tokenizer ({type(error).__name__}: {error}); pass one as tokenizer="
        ) from error


def _preprocess(visual: Any) -> dict[str, Any]:
    """Return open_clip's preprocessing by timm's names, with its defaults for missing fields."""
    cfg = getattr(visual, "preprocess_cfg", None) or asdict(optional("open_clip.transform", "clip").PreprocessCfg())
    modes = {"shortest": "center", "squash": "squash"}
    if (mode := cfg.get("resize_mode", "shortest")) not in modes:
        raise NotRepresentable(f"unsupported resize mode {mode!r}; expected one of {', '.join(modes)}")
    same = {key: cfg[key] for key in ("mean", "std", "interpolation") if key in cfg}
    return {"input_size": (3, *visual.image_size), "crop_pct": 1.0, "crop_mode": modes[mode], **same}
