"""The corruption `inpaint`: the foreground that a mask marks is removed and filled from its surroundings by OpenCV."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..circuits import ClassInfo, Corruption
from ..circuits.kinds import choice, whole
from ..errors import optional
from .batch import Batch
from .corruption_kind import CorruptionKind, Views
from .masks import find_masks, read_mask
from .params import number
from .source import ImageRef, ImageSource


def _inpaint(corruption: Corruption, batch: Batch) -> Views:
    """Fill the marked part of each image in its own size, before it is resized for the model."""
    opencv = optional("cv2", "inpaint")
    flag = {"telea": opencv.INPAINT_TELEA, "navier-stokes": opencv.INPAINT_NS}[str(corruption["method"])]
    radius = int(number(corruption["radius"]))
    views = []
    for ref in batch.refs:
        image, mask = np.array(batch.source.image(ref)), read_mask(batch.source, ref)
        filled = opencv.inpaint(image, mask.astype(np.uint8), radius, flag)
        views.append(batch.source.to_view(Image.fromarray(filled)))
    return np.stack(views)


def _masks(corruption: Corruption, source: ImageSource, cls: ClassInfo, seed: int, count: int) -> tuple[ImageRef, ...]:
    return find_masks(source, source.candidates(cls))


INPAINT = CorruptionKind(
    key="inpaint",
    name="the image without its foreground: the part that a mask marks is filled from its surroundings",
    source="OpenCV; Telea 2004, or Bertalmio, Bertozzi & Sapiro 2001",
    apply=_inpaint,
    params={"method": choice("telea", "navier-stokes"), "radius": whole(3, 1, 100)},
    draws_on=_masks,
)
