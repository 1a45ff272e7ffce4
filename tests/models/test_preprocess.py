"""View and normalisation together equal timm's own evaluation transform, bit by bit."""

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from circuitstore.errors import InputError
from circuitstore.models import Preprocess, load_model
from circuitstore.models.preprocess import INTERPOLATIONS
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data import create_transform, resolve_model_data_config


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


NAMES = ["vit_tiny_patch16_224", "vit_base_patch16_clip_224", "deit3_small_patch16_224", "vit_base_patch16_siglip_224"]


@pytest.mark.parametrize("name", NAMES)
def test_equal_to_timm_s_transform(name):
    with torch.device("meta"):
        module = timm.create_model(name)
    config = resolve_model_data_config(module)
    ours, theirs = Preprocess.of_timm(config, config["input_size"][1:]), create_transform(**config)
    for size in ((300, 200), (64, 500), (224, 224)):
        image = picture(*size)
        assert torch.equal(ours.normalise(ours.view(image)[None])[0], theirs(image))


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([(32, 32), (24, 40)]),
    st.sampled_from([0.8, 0.9, 1.0]),
    st.sampled_from(["center", "squash", "border"]),
    st.sampled_from(INTERPOLATIONS),
    st.integers(1, 90),
    st.integers(1, 90),
)
def test_every_crop_has_the_models_size(size, crop, crop_mode, interpolation, width, height):
    preprocess = Preprocess(size, crop, crop_mode, interpolation)
    view = preprocess.view(picture(width, height))
    assert view.dtype == np.uint8 and view.shape == (*size, 3)
    back = Preprocess((1, 1)).override(crop=crop, crop_mode=crop_mode, interpolation=interpolation)
    assert replace(back, size=size) == preprocess


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_pictures_of_other_modes_become_rgb(mode):
    preprocess = Preprocess((16, 16))
    image = picture(20, 20, mode)
    assert np.array_equal(preprocess.view(image), preprocess.view(image.convert("RGB")))


def test_normalisation_by_hand():
    preprocess = Preprocess((1, 1), mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    found = preprocess.normalise(np.array([[[[0, 51, 255]]]], np.uint8))
    assert found.shape == (1, 3, 1, 1) and found.dtype == torch.float32
    assert found.flatten().tolist() == pytest.approx([-0.2, 0.0, 0.35])


def test_loaded_models_have_their_own(toy_module):
    assert load_model("digits").preprocess == Preprocess((64, 64), crop=1.0, mean=(0.2,) * 3, std=(0.25,) * 3)
    assert load_model(toy_module()).preprocess.size == (8, 8)


def test_invalid_fields_raise():
    for wrong, message in (
        ({"size": (8, 0)}, "size: expected height and width in pixels"),
        ({"std": (0.5, 0.0, 0.5)}, "std: expected three positive numbers"),
        ({"mean": (0.5, float("nan"), 0.5)}, "mean: expected three numbers"),
        ({"crop": float("nan")}, "crop: expected a share"),
    ):
        with pytest.raises(InputError, match=message):
            Preprocess(**{"size": (8, 8)} | wrong)
    with pytest.raises(InputError, match="unknown field of the preprocessing 'crop_pct'; did you mean 'crop'"):
        Preprocess((8, 8)).override(crop_pct=0.9)


def test_text_and_dict():
    assert Preprocess((8, 16)).text == (
        "size (8, 16), crop 0.875, crop_mode center, interpolation bicubic, mean (0.5, 0.5, 0.5), std (0.5, 0.5, 0.5)"
    )
