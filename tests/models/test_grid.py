"""Image sizes are inferred from position embeddings, with notices for guesses; resampling uses the right grid."""

import warnings

import pytest
import timm
import torch
import torch.nn.functional as F
from circuitstore.errors import CircuitStoreError, CircuitStoreWarning, InputError
from circuitstore.models import load_clip, load_model
from circuitstore.models.grid import parse_size

from ..families import tiny_config
from .test_patched_runs import assert_close
from .test_weights import STATED

EVA = "eva02_tiny_patch14_224"
DISTILLED = "deit_tiny_distilled_patch16_224"


@pytest.fixture
def saved(tmp_path):
    """Save a model built for one image size, and load it: `saved(name, trained, image_size)`."""

    def build(name, trained, image_size=None, **options):
        module = timm.create_model(name, num_classes=5, img_size=trained).eval()
        torch.nn.init.normal_(module.pos_embed)
        torch.save(module.state_dict(), tmp_path / "w.pth")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", CircuitStoreWarning)
            model = load_model(name, checkpoint=tmp_path / "w.pth", image_size=image_size, **STATED | options)
        assert tuple(str(w.message) for w in caught) == model.notices
        return module, model

    return build


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "trained", "size", "message"),
    [
        ("test_vit", (160, 160), None, None),
        ("test_vit", (160, 160), (160, 160), None),
        ("test_vit", (96, 96), None, r"36 position embeddings are read as 6 × 6 patches, so images of 96 × 96 pixels"),
        ("test_vit", (96, 96), 96, None),
        ("test_vit", (32, 96), (32, 96), None),
        ("test_vit", (80, 320), (80, 320), r"5 × 20 patches, as image_size says, but 10 × 10 would also fit"),
        ("test_vit", (320, 80), (320, 80), r"20 × 5 patches, as image_size says, but 10 × 10"),
        (DISTILLED, (112, 448), (112, 448), r"7 × 28 patches, as image_size says, but 14 × 14"),
        (EVA, (112, 448), (112, 448), r"8 × 32 patches, as image_size says, but 16 × 16"),
    ],
)
@torch.no_grad()
def test_a_model_saved_and_loaded_at_its_size_is_the_same_model(saved, images, name, trained, size, message):
    module, model = saved(name, trained, size)
    assert model.image_size == trained
    x = images(model).float()
    assert_close(model.logits(x), module(x), 1e-5)
    assert len(model.notices) == (message is not None)
    if message is not None:
        with pytest.warns(UserWarning, match=message):
            warnings.warn(model.notices[0], stacklevel=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "trained", "before", "size"),
    [
        ("test_vit", (160, 160), (10, 10), (80, 160)),
        ("test_vit", (96, 96), (6, 6), 160),
        (EVA, (224, 224), (16, 16), (112, 224)),
        (DISTILLED, (224, 224), (14, 14), (32, 64)),
    ],
)
@torch.no_grad()
def test_embeddings_are_resampled_from_their_own_grid(saved, name, trained, before, size):
    module, model = saved(name, trained, size)
    height, width = parse_size(size)
    patch = module.patch_embed.patch_size[0]
    prefix = module.num_prefix_tokens
    grid = module.pos_embed[:, prefix:].reshape(1, *before, -1).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, size=(height // patch, width // patch), mode="bicubic", antialias=True)
    found = model.module.pos_embed[:, prefix:]
    assert_close(found, expected.permute(0, 2, 3, 1).flatten(1, 2), 1e-5)
    assert model.image_size == (height, width)
    text = f"resampled from {before[0]} × {before[1]} to {height // patch} × {width // patch} patches"
    assert any(text in notice for notice in model.notices)


@pytest.mark.slow
def test_an_unknown_grid_raises_or_is_a_notice(saved, tmp_path):
    with pytest.raises(InputError, match=r"13 position embeddings fit neither 160 × 160 pixels .+ nor a square"):
        saved("test_vit", (32, 96))
    _, model = saved("test_vit", (64, 256), (64, 128))  # 4 × 16 is read as 8 × 8
    assert any("read as 8 × 8" in notice for notice in model.notices)
    rotary = timm.create_model("vit_small_patch16_dinov3", num_classes=5)
    torch.save(rotary.state_dict(), tmp_path / "rotary.pth")
    with pytest.warns(CircuitStoreWarning, match=r"no position embeddings from which .+ 256 × 256 pixels"):
        load_model("vit_small_patch16_dinov3", checkpoint=tmp_path / "rotary.pth", **STATED)


@pytest.mark.parametrize("size", [0, -16, True, (160,), (160, 160, 3), (0, 160), 16.0])
def test_invalid_sizes_raise(size):
    with pytest.raises(InputError, match=r"image_size: expected pixels, or height and width, .+ got"):
        parse_size(size)


@pytest.mark.parametrize("size", [7, 100, (160, 100)])
def test_sizes_that_patches_do_not_fill_raise(size):
    with pytest.raises(InputError, match=r"test_vit reads patches of 16 × 16 pixels; expected multiples of that"):
        load_model("test_vit", image_size=size)


@pytest.mark.parametrize("size", [16 * 10**4, 16 * 10**6, (16, 16 * 10**12), 16 * 10**30])
def test_images_too_large_for_the_memory_raise_before_anything_is_allocated(size):
    with pytest.raises(InputError, match=r"image_size: .+ tokens of test_vit, and checking .+ smaller images"):
        load_model("test_vit", image_size=size)


@pytest.mark.parametrize(
    ("size", "message"),
    [(100, "multiples"), ((16, 100), "multiples"), (16 * 10**9, "could not create the model")],
)
def test_sizes_that_a_clip_cannot_have(tmp_path, size, message):
    tiny_config(tmp_path)
    with pytest.raises(CircuitStoreError, match=message):
        load_clip("tiny", ["a"], image_size=size)


def test_a_models_own_size_need_not_be_a_multiple_of_the_patch():
    """Some timm models do not read the last pixels of each row."""
    plain = timm.create_model("vit_so400m_patch14_siglip_384", num_classes=2, depth=1, embed_dim=48, num_heads=4)
    assert load_model(plain).image_size == (384, 384)
