"""Sizes of read-outs, known before they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..circuits import READOUT, WorkItem
from ..evaluation import READOUTS
from ..images import quotas
from ..models import ViT

LARGE = 2**30
"""Bytes of all read-outs of a kind, or of one while it is read, above which a notice states them."""

_STORED, _READ = 4, 8
"""Bytes of a number in the store (float32), and while it is read (at most float64)."""


def n_report_images(item: WorkItem) -> int:
    """Return how many report images an item has, if all that are requested qualify."""
    return quotas(min(item.selection.count, item.selection.n_candidates))["report"]


def numbers_per_image(model: ViT, item: WorkItem) -> int:
    """Return how many numbers a read-out has per image; 0 if that is known only when it is read."""
    method = item.recipe.method
    numbers = READOUTS[method.kind].numbers
    return 0 if numbers is None else numbers(model, **dict(method.params))


def readout_bytes(model: ViT, item: WorkItem, *, per_image: bool) -> int:
    """Return the bytes of a stored read-out without compression: mean, standard deviation, and images if requested."""
    images = n_report_images(item) if per_image else 0
    return _STORED * numbers_per_image(model, item) * (2 + images)


def size_notices(models: Mapping[str, ViT], items: Iterable[tuple[WorkItem, bool]]) -> Iterator[str]:
    """Yield a message about each kind of read-out that takes much space, in the store or while it is read.

    Args:
        models: the model in each floating-point type.
        items: items, and whether the numbers of each image are kept.
    """
    stored: dict[str, int] = {}
    read: dict[str, int] = {}
    for item, per_image in items:
        if item.recipe.form == READOUT:
            model, name = models[item.recipe.dtype], item.recipe.method.text
            stored[name] = stored.get(name, 0) + readout_bytes(model, item, per_image=per_image)
            now = _READ * numbers_per_image(model, item) * n_report_images(item)
            read[name] = max(read.get(name, 0), now)
    for name, size in stored.items():
        if max(size, read[name]) > LARGE:
            sizes = f"up to {_gib(size)} GiB in the store, and {_gib(read[name])} GiB of memory while a class is read"
            remedy = "fewer images, maps over patches instead of pixels, or per_image = false take less"
            yield f"read-out {name}: {sizes}; {remedy}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f}"
