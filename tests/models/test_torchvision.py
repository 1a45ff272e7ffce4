"""Models of torchvision: the same logits and fingerprint as torchvision and timm, from modules and checkpoints."""

import math

import pytest
import torch
from circuitstore.errors import CircuitStoreWarning, InputError, NotRepresentable
from circuitstore.models import load_model
from circuitstore.models.torchvision_vit import preprocess_of
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torchvision.models import ViT_B_16_Weights, get_model, vision_transformer

from ..conftest import enliven

STATED = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "crop": 1.0, "interpolation": "bicubic"}
TINY = {"image_size": 9, "patch_size": 3, "num_layers": 2, "num_heads": 3, "hidden_dim": 12, "mlp_dim": 31}


def tiny(**changes) -> nn.Module:
    """A model of torchvision in float64, all its weights live."""
    return enliven(vision_transformer.VisionTransformer(**(TINY | {"num_classes": 5} | changes)).double()).eval()


@pytest.mark.parametrize("representation", [None, 7])
def test_a_module_gives_torchvisions_own_logits(representation, images):
    module = tiny(representation_size=representation)
    model = load_model(module, dtype="float64", **STATED)
    with torch.no_grad():
        expected = module(images(model, 3))
    assert expected.std() > 1e-2 and model.n_classes == 5
    assert torch.allclose(model.logits(images(model, 3)), expected, rtol=1e-12)


def test_other_heads_are_kept(images):
    for heads in (nn.Linear(12, 2), nn.Sequential(nn.Dropout(0.5), nn.Linear(12, 2))):
        module = tiny()
        module.heads = heads.double()
        model = load_model(module.eval(), dtype="float64", **STATED)
        with torch.no_grad():
            assert torch.allclose(model.logits(images(model)), module(images(model)), rtol=1e-12)
    module.heads = nn.Identity()
    with pytest.raises(InputError, match="no classifier"):
        load_model(module, **STATED)
    assert load_model(module, head=nn.Linear(12, 4), **STATED).n_classes == 4


def test_a_convolutional_stem_raises():
    stem = [vision_transformer.ConvStemConfig(out_channels=4, kernel_size=3, stride=3)]
    with pytest.raises(NotRepresentable, match="a convolutional stem is not supported"):
        load_model(tiny(conv_stem_configs=stem))


def test_a_module_without_preprocessing_warns():
    with pytest.warns(CircuitStoreWarning, match=r"torchvision's default is assumed: mean \(0\.485"):
        assert load_model(tiny()).preprocess.interpolation == "bilinear"


def test_a_timm_model_with_the_same_tensors_has_the_same_fingerprint():
    model = load_model(tiny(mlp_dim=48), dtype="float64", **STATED)
    twin = VisionTransformer(img_size=9, patch_size=3, embed_dim=12, depth=2, num_heads=3, num_classes=5).double()
    twin.load_state_dict(model.module.state_dict())
    assert load_model(twin, **STATED).fingerprint == model.fingerprint


@pytest.mark.slow
def test_checkpoints_fit_torchvisions_and_timms_name(tmp_path, images):
    module = enliven(get_model("vit_b_32", image_size=64, num_classes=3), scale=0.02).eval()
    tensors = {name: t.contiguous() for name, t in module.state_dict().items()}
    save_file(tensors, tmp_path / "weights.safetensors")
    torch.save({"model": {f"module.{name}": t for name, t in tensors.items()}}, tmp_path / "wrapped.pth")
    plain = load_model("torchvision:vit_b_32", checkpoint=tmp_path / "weights.safetensors", **STATED)
    assert plain.image_size == (64, 64) and plain.n_classes == 3
    with torch.no_grad():
        assert torch.allclose(plain.logits(images(plain).float()), module(images(plain).float()), atol=1e-4)
    wrapped = load_model("vit_base_patch32_224", checkpoint=tmp_path / "wrapped.pth", image_size=64, **STATED)
    assert wrapped.fingerprint == plain.fingerprint
    with pytest.warns(CircuitStoreWarning, match="resampled from 2 × 2 to 3 × 3 patches"):
        larger = load_model("torchvision:vit_b_32", checkpoint=tmp_path / "wrapped.pth", image_size=96, **STATED)
    assert larger.n_tokens == 10


@pytest.mark.slow
def test_random_weights_are_seeded():
    with pytest.warns(CircuitStoreWarning, match="^vit_b_32: its weights are random"):
        model = load_model("torchvision:vit_b_32", image_size=64)
    assert model.random and model.weights == "random, seed 0" and model.image_size == (64, 64)
    stated = load_model("torchvision:vit_b_32", image_size=64, seed=0)
    assert stated.notices == () and stated.fingerprint == model.fingerprint


def test_the_preprocessing_of_published_weights():
    for weights in ViT_B_16_Weights:
        transform, fields = weights.transforms(), preprocess_of(weights.transforms())
        assert math.floor(transform.crop_size[0] / fields["crop"]) == transform.resize_size[0]
        assert fields["interpolation"] == transform.interpolation.value and fields["mean"] == tuple(transform.mean)


def test_names_and_tags_that_are_unknown_raise(tmp_path):
    with pytest.raises(InputError, match="unknown torchvision model 'vit_b_61'; did you mean 'vit_b_16'"):
        load_model("torchvision:vit_b_61")
    with pytest.raises(InputError, match="vit_b_16: unknown tag 'IMAGENET1K_V9'; did you mean 'IMAGENET1K_V1'"):
        load_model("torchvision:vit_b_16", pretrained="IMAGENET1K_V9")
    with pytest.raises(InputError, match="exclude each other"):
        load_model("torchvision:vit_b_16", pretrained=True, checkpoint=tmp_path)
    with pytest.raises(InputError, match=r"no file at .+none\.pth"):
        load_model("torchvision:vit_b_16", checkpoint=tmp_path / "none.pth")
    positions = {"encoder.pos_embedding": torch.zeros(1, 7, 768), "class_token": torch.zeros(1, 1, 768)}
    save_file(positions, tmp_path / "odd.safetensors")
    with pytest.raises(InputError, match="position embeddings of 6 patches are not a square's"):
        load_model("torchvision:vit_b_16", checkpoint=tmp_path / "odd.safetensors")
