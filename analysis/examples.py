"""The example images that a report shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..circuits import NATURAL, ExampleImages
from ..errors import StoreDamaged
from ..store import Store

MAX_SETS = 60
"""Maximum number of classes and conditions whose example images are read."""

_OF_CLASS = ["model_id", "dataset", "class_index", "class", "image_group"]
_IMAGES = [*_OF_CLASS, "condition"]


def read_examples(store: Store, run: str | None = None) -> tuple[ExampleImages, ...]:
    """Return the newest example images of each class and condition of a run, or of the store.

    Natural images are left out where attacked ones are shown, which include the unattacked image. Damaged files are
    left out; `verify` reports them.

    Raises:
        InputError: the run does not exist.

    Examples:
        >>> read_examples(store)
        ()
    """
    newest = store.examples(run).sort_values("created_ms", kind="stable").drop_duplicates(_IMAGES, keep="last")
    images = list(newest[_OF_CLASS].itertuples(index=False, name=None))
    attacked = (newest["attack"] != NATURAL).tolist()
    covered = {key for key, under in zip(images, attacked, strict=True) if under}
    wanted = [under or key not in covered for key, under in zip(images, attacked, strict=True)]
    return tuple(_readable(store, newest.loc[np.array(wanted, bool)].sort_values(_IMAGES)["id"].tolist()[:MAX_SETS]))


def _readable(store: Store, ids: Sequence[str]) -> Iterator[ExampleImages]:
    for id in ids:
        try:
            yield store.example_images(id)
        except StoreDamaged:
            continue
