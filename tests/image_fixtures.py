"""Small real models and folders of real image files, as fixtures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from circuitstore.images import ImageSource, open_source
from circuitstore.models import ViT, load_model
from PIL import Image
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models.vision_transformer import VisionTransformer


@pytest.fixture(scope="session")
def digits_model() -> ViT:
    return load_model("digits")


@pytest.fixture(scope="session")
def digits(digits_model: ViT) -> ImageSource:
    return open_source("digits", digits_model)


@pytest.fixture(scope="session")
def imagenet_model() -> ViT:
    """A small ViT with 1,000 logits and timm's ordinary preprocessing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = VisionTransformer(img_size=64, patch_size=16, embed_dim=24, depth=1, num_heads=2, num_classes=1000)
    ordinary = {"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD, "crop": 0.875, "interpolation": "bicubic"}
    return load_model(module, **ordinary)


Photo = Callable[..., Image.Image]


@pytest.fixture
def photo() -> Photo:
    """A noisy colour picture; the same for the same seed."""

    def make(seed: int = 0, size: tuple[int, int] = (90, 70)) -> Image.Image:
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)

    return make


@pytest.fixture
def photos(tmp_path: Path, photo: Photo) -> Path:
    """Three ImageNet classes, ten pictures each, called in the three ways that are understood."""
    root = tmp_path / "photos"
    for i, name in enumerate(("Tiger cat", "n02123045", "207")):
        (root / name).mkdir(parents=True)
        for k in range(10):
            photo(100 * i + k).save(root / name / f"{k}.{('jpg', 'png')[k % 2]}")
    return root
