"""A linear probe: a classifier on a model's pooled tokens, trained on the images of a spec."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from ..bars import QUIET_S, Bar
from ..errors import InputError
from ..images import SPLITS, WORDS, BadImage, ImageRef, ImageSource, Split, printable
from ..models import PENALTIES, LinearHead, ViT, fit_head
from ..results import Table
from .images import open_images
from .loading import untrained
from .spec import FolderSpec, ModelSpec, Spec, errors_at

BATCH = 64
"""Number of images per batch."""


@dataclass(frozen=True)
class Probe:
    """A trained classifier.

    Attributes:
        head: its weights and the names of its classes.
        table: number of images and accuracy per split.
    """

    head: LinearHead
    table: Table


def probe_file(spec: Spec) -> Path:
    """Return the file that a spec names as its model's head, to which a probe can be written.

    Raises:
        InputError: the spec names none, or the file exists or cannot be created.

    Examples:
        >>> model = ModelSpec(timm="test_vit", head=Path("probe.safetensors"))
        >>> probe_file(spec.model_copy(update={"model": model})).name
        'probe.safetensors'
    """
    head = spec.model.head if isinstance(spec.model, ModelSpec) else None
    if head is None:
        raise InputError(
            f"{spec.origin}: model.head: this field is missing; name the file to which the probe is written, as in "
            'model = { timm = "vit_small_patch14_dinov2", pretrained = true, head = "probe.safetensors" }'
        )
    if head.exists():
        raise InputError(
            f"{spec.origin}: model.head: {head} exists, and stored results may be of it; name another file, or "
            "delete it first"
        )
    if not os.access(head.parent, os.W_OK):
        raise InputError(
            f"{spec.origin}: model.head: {head.parent} is not a writable folder; create it, or name another"
        )
    return head


def train_probe(spec: Spec, *, progress: bool = False) -> Probe:
    """Train a linear classifier on the pooled tokens of a spec's model, on the spec's images.

    Logistic regression on the discovery images of all classes. The accuracy on selection images chooses how strongly
    large weights are penalised, and report images are only used to report the accuracy, so that circuits can be
    evaluated on them.

    Args:
        spec: names the model, whose own classifier is not used, and the images. The classes are those of the model's
            `classes`, by default the names of the class folders.
        progress: show a bar on stderr if reading the images or training takes more than two seconds.

    Raises:
        InputError: the model or the images cannot be loaded, a class has too few images, or there is only one class.

    Examples:
        >>> probe = train_probe(spec)
        >>> probe.table.to_pandas()[["split", "images"]].values.tolist()
        [['discovery', 347], ['selection', 173], ['report', 168]]
        >>> probe.head.save(folder / "probe.safetensors")
    """
    names = _class_names(spec)
    model = untrained(spec, names)
    source = open_images(spec, model, progress=progress)
    with errors_at(spec, "images.source"):
        data, notes = _read(source, model, progress)
        _check(data, names)
    with _bar(len(PENALTIES), "penalty", "training", progress) as bar:
        fitted = {}
        for penalty in PENALTIES:
            fitted[penalty] = fit_head(data["discovery"].features, data["discovery"].classes, names, penalty)
            bar.update()
    chosen = max(PENALTIES, key=lambda penalty: (_accuracy(fitted[penalty], data["selection"]), -penalty))
    return Probe(fitted[chosen], _table(fitted[chosen], data, model, chosen, (*source.notices, *notes, *model.notices)))


@dataclass(frozen=True)
class _Data:
    """The images of one split: pooled tokens, and the index of each image's class."""

    features: Float[np.ndarray, "image width"]
    classes: Int[np.ndarray, "image"]


def _class_names(spec: Spec) -> tuple[str, ...]:
    """Return the names of the classifier's classes.

    Raises:
        InputError: the images do not say which classes there are.
    """
    source = spec.images.source
    if isinstance(spec.model, ModelSpec) and spec.model.classes is not None:
        return spec.model.classes
    if isinstance(source, FolderSpec) and source.classes is None and source.folder.is_dir():
        found = sorted(path.name for path in source.folder.iterdir() if path.is_dir() and path.name[0] != ".")
        if found:
            return tuple(found)
    if source == "digits":
        return WORDS
    raise InputError(
        f"{spec.origin}: model.classes: this field is missing; name the classes of the head in the order of its logits "
        "(only a folder without a table of classes has them as names of its folders)"
    )


def _read(source: ImageSource, model: ViT, progress: bool) -> tuple[dict[Split, _Data], tuple[str, ...]]:
    """Run the model on all images; also return a note for each image that cannot be decoded."""
    refs = [(ref, cls.class_index) for cls in source.classes for ref in source.candidates(cls)]
    rows: dict[Split, list[np.ndarray]] = {split: [] for split in SPLITS}
    classes: dict[Split, list[int]] = {split: [] for split in SPLITS}
    notes: list[str] = []
    with _bar(len(refs), "image", "reading images", progress) as bar:
        for start in range(0, len(refs), BATCH):
            readable = list(_readable(source, refs[start : start + BATCH], notes))
            bar.update(len(refs[start : start + BATCH]))
            if not readable:
                continue
            views = np.stack([view for _, _, view in readable])
            pooled = model.pooled(model.preprocess.normalise(views)).float().cpu().numpy()
            for (ref, index, _), row in zip(readable, pooled, strict=True):
                rows[source.split_of(ref)].append(row)
                classes[source.split_of(ref)].append(index)
    head: Any = model.module.head
    data: dict[Split, _Data] = {
        split: _Data(np.reshape(rows[split], (-1, head.in_features)), np.array(classes[split], int)) for split in SPLITS
    }
    return data, tuple(notes)


def _bar(total: int, unit: str, title: str, wanted: bool) -> Bar:
    shown_late: dict[str, Any] = {"delay": QUIET_S, "leave": False, "dynamic_ncols": True}
    return Bar(total=total, unit=unit, desc=title, disable=not wanted, **shown_late)


def _readable(
    source: ImageSource, refs: Sequence[tuple[ImageRef, int]], notes: list[str]
) -> Iterator[tuple[ImageRef, int, np.ndarray]]:
    """Yield the images that can be decoded, with class and view; add a note for each of the others."""
    for ref, index in refs:
        try:
            yield ref, index, source.view(ref)
        except BadImage as error:
            notes.append(f"skipped {printable(ref.origin)}: {error.reason}")


def _check(data: dict[Split, _Data], names: Sequence[str]) -> None:
    """Check that there are enough images.

    Raises:
        InputError: fewer than two classes, or a class without a discovery image; no image in another split.
    """
    if len(names) < 2:
        raise InputError(f"a classifier needs at least two classes, got {', '.join(names)}")
    missing = [name for index, name in enumerate(names) if index not in data["discovery"].classes]
    if missing or not all(len(of.classes) for of in data.values()):
        listed = ", ".join(missing[:10]) or ", ".join(split for split, of in data.items() if not len(of.classes))
        raise InputError(
            f"too few images: {listed}; expected at least four per class: half are for training, a quarter each for "
            "choosing the penalty and for the reported accuracy"
        )


def _accuracy(head: LinearHead, data: _Data) -> float:
    logits = data.features @ head.weight.numpy().T + head.bias.numpy()
    return float((logits.argmax(axis=1) == data.classes).mean())


def _table(head: LinearHead, data: dict[Split, _Data], model: ViT, penalty: float, notes: tuple[str, ...]) -> Table:
    rows = [(split, len(of.classes), _accuracy(head, of)) for split, of in data.items()]
    facts = {
        "model": f"{model.name}, pooled tokens of width {head.weight.shape[1]}",
        "classes": f"{len(head.bias)}: {', '.join(head.labels or ())}",
        "penalty": f"C = {penalty:g}, chosen on selection images",
    }
    return Table(pd.DataFrame(rows, columns=["split", "images", "accuracy"]), notes, facts)
