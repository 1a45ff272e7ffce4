"""Models of Hugging Face's transformers: the same logits, labels and preprocessing, from a module and from a folder."""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from circuitstore.errors import CircuitStoreWarning, InputError, NotRepresentable
from circuitstore.models import Preprocess, load_model
from circuitstore.models.hf_preprocess import read_processor
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ..conftest import enliven

transformers.logging.set_verbosity_error()

TINY = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 8, "patch_size": 4}
LABELS = {0: "tench", 1: "goldfish, Carassius auratus", 2: "hen"}
STATED = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "crop": 1.0, "interpolation": "bicubic"}
CASES = {
    "ViT": ("ViT", {"intermediate_size": 31}),
    "ViT, no bias of q, k and v, wide image": ("ViT", {"qkv_bias": False, "image_size": [8, 12], "patch_size": [2, 3]}),
    "ViT, image of 9 pixels in patches of 4": ("ViT", {"image_size": 9, "hidden_act": "gelu_pytorch_tanh"}),
    "ViT, QuickGELU": ("ViT", {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-3}),
    "DeiT": ("DeiT", {"intermediate_size": 24}),
    "DINOv2": ("Dinov2", {"layerscale_value": 0.3}),
    "DINOv2, SwiGLU": ("Dinov2", {"use_swiglu_ffn": True, "mlp_ratio": 3}),
    "DINOv2, wide image": ("Dinov2", {"image_size": [8, 32]}),
    "DINOv2 with registers": ("Dinov2WithRegisters", {"num_register_tokens": 2}),
}


def tiny(family: str, suffix: str = "ForImageClassification", seed: int = 0, **changes) -> nn.Module:
    """A model of transformers in float64, all its weights live."""
    config = getattr(transformers, f"{family}Config")(**(TINY | {"id2label": LABELS} | changes))
    return enliven(getattr(transformers, f"{family}{suffix}")(config).double(), seed).eval()


def folder_of(module: nn.Module, folder: Path, **processor) -> Path:
    """The folder that transformers writes, with the configuration of an image processor if there is one."""
    module.save_pretrained(folder, max_shard_size=processor.pop("max_shard_size", "5GB"))
    if processor:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


@pytest.mark.parametrize(("family", "changes"), CASES.values(), ids=CASES.keys())
def test_module_and_folder_give_transformers_own_logits(family, changes, images, tmp_path):
    module = tiny(family, **changes)
    model = load_model(module, dtype="float64", **STATED)
    x = images(model, 3)
    with torch.no_grad():
        expected = module(pixel_values=x).logits
    assert expected.std() > 1e-2
    assert torch.allclose(model.logits(x), expected, rtol=1e-12, atol=1e-14)
    assert model.labels == tuple(LABELS.values()) and model.n_classes == 3 and model.notices == ()
    loaded = load_model(folder_of(module, tmp_path), dtype="float64", **STATED)
    assert torch.equal(loaded.logits(x), model.logits(x)) and loaded.labels == model.labels
    assert loaded.with_preprocess(crop_mode=model.preprocess.crop_mode).fingerprint == model.fingerprint
    assert loaded.name == tmp_path.name


def test_the_average_of_two_classifiers_is_that_of_timms_distilled_deit(images):
    module = tiny("DeiT", "ForImageClassificationWithTeacher")
    model = load_model(module, dtype="float64", **STATED)
    assert type(model.module) is VisionTransformerDistilled
    with torch.no_grad():
        assert torch.allclose(model.logits(images(model)), module(images(model)).logits, rtol=1e-12)
    with pytest.raises(InputError, match=r"head: .+ has two classifiers"):
        load_model(module, head=nn.Linear(12, 2), **STATED)


def twin(model, **changes) -> nn.Module:
    """A timm model with the same tensors."""
    arguments = {"img_size": 8, "patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 3, "num_classes": 3}
    module = VisionTransformer(**arguments | changes).double()
    module.load_state_dict(model.module.state_dict())
    return module


@pytest.mark.parametrize(
    ("family", "changes", "same"),
    [
        ("ViT", {"intermediate_size": 48, "layer_norm_eps": 1e-6}, {}),
        ("DeiT", {"intermediate_size": 48, "layer_norm_eps": 1e-6}, {"reg_tokens": 1}),
    ],
)
def test_a_timm_model_with_the_same_tensors_has_the_same_fingerprint(family, changes, same):
    model = load_model(tiny(family, **changes), dtype="float64", **STATED, crop_mode="center")
    assert load_model(twin(model, **same), **STATED).fingerprint == model.fingerprint
    other = load_model(tiny(family, **{**changes, "layer_norm_eps": 1e-12}), **STATED, crop_mode="center")
    assert other.fingerprint != model.fingerprint


def test_a_module_in_half_precision_and_training_mode_stays_unchanged(images):
    module = tiny("ViT").to(torch.bfloat16).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    model = load_model(module, **STATED)
    assert module.training and all(torch.equal(t, before[n]) for n, t in module.state_dict().items())
    with torch.no_grad():
        expected = module.eval().float()(images(model).float()).logits
    assert torch.allclose(model.logits(images(model)), expected, atol=1e-5)


def test_shards_and_old_files_are_read(tmp_path):
    module = tiny("Dinov2")
    expected = load_model(module, **STATED, crop_mode="center").fingerprint
    sharded = folder_of(module, tmp_path / "sharded", max_shard_size="5KB")
    assert len(list(sharded.glob("*.safetensors"))) > 1
    assert load_model(sharded, **STATED).fingerprint == expected
    next(sharded.glob("*-00002-of-*")).unlink()
    with pytest.raises(InputError, match=r"weights: no file at .+-00002-of-"):
        load_model(sharded)
    old = folder_of(module, tmp_path / "old")
    torch.save(load_file(old / "model.safetensors"), old / "pytorch_model.bin")
    (old / "model.safetensors").unlink()
    assert load_model(old, **STATED).fingerprint == expected
    (old / "pytorch_model.bin").unlink()
    with pytest.raises(InputError, match=r"expected model\.safetensors or pytorch_model\.bin, found neither"):
        load_model(old)


def test_placeholder_labels_are_unknown_labels(tmp_path):
    assert load_model(tiny("ViT", id2label={0: "LABEL_0", 1: "LABEL_1"}), **STATED).labels is None
    folder = folder_of(tiny("ViT"), tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "id2label": {"0": "cat", "1": "dog"}}))
    with pytest.raises(InputError, match="labels: expected 3 names, one per class, got 2"):
        load_model(folder, **STATED)
    assert load_model(folder, labels=["a", "b", "c"], **STATED).labels == ("a", "b", "c")


PROCESSOR = {
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.4, 0.5, 0.6],
    "resample": 3,
    "size": {"height": 8, "width": 8},
}


def test_the_folders_preprocessing_is_kept(tmp_path):
    model = load_model(folder_of(tiny("ViT"), tmp_path, **PROCESSOR))
    expected = Preprocess((8, 8), 1.0, "squash", "bicubic", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert model.preprocess == expected and model.notices == ()
    with pytest.warns(CircuitStoreWarning, match=r"transformers' default for vit is assumed: mean .+ std .+ crop"):
        assert load_model(tiny("ViT")).preprocess.crop_mode == "squash"


@pytest.mark.parametrize("family", ["ViT", "Dinov2", "Dinov2WithRegisters"])
@pytest.mark.parametrize("size", [(12, 12), (12, 20)])
def test_other_image_sizes_give_transformers_own_logits(family, size, images, tmp_path):
    module = tiny(family)
    processor = {**PROCESSOR, "size": {"height": size[0], "width": size[1]}}
    folder = folder_of(module, tmp_path, **processor)
    with pytest.warns(CircuitStoreWarning, match=r"for 8 × 8 pixels are resampled for 12 × .+, as preprocessor_config"):
        model = load_model(folder, dtype="float64")
    with torch.no_grad():
        options = {"interpolate_pos_encoding": True} if family == "ViT" else {}
        expected = module(images(model), **options).logits
    assert torch.allclose(model.logits(images(model)), expected, rtol=0, atol=1e-5)
    with pytest.warns(CircuitStoreWarning, match="as image_size says"):
        assert load_model(folder, image_size=16).n_tokens == model.module.num_prefix_tokens + 16
    with pytest.raises(InputError, match="reads patches of 4 × 4 pixels; expected multiples"):
        load_model(folder, image_size=9)


def test_position_embeddings_that_are_no_square_cannot_be_resampled(tmp_path):
    folder = folder_of(tiny("ViT", image_size=[8, 12]), tmp_path)
    with pytest.raises(InputError, match="its 6 position embeddings are not those of a square"):
        load_model(folder, image_size=16)


@given(cut=st.integers(1, 600), more=st.integers(0, 600), shorter=st.booleans())
def test_timm_resizes_to_the_processors_size(cut, more, shorter):
    size = {"shortest_edge": cut + more} if shorter else cut + more
    found = read_processor({"size": size, "do_center_crop": True, "crop_size": cut, **STATISTICS}, "file")
    assert found.size == (cut, cut)
    assert math.floor(cut / found.fields["crop"]) == cut + more
    assert found.fields["crop_mode"] == ("center" if shorter else "squash")


STATISTICS = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


@pytest.mark.parametrize(
    "processor",
    [
        transformers.ViTImageProcessor(size={"height": 12, "width": 20}),
        transformers.DeiTImageProcessor(size={"height": 20, "width": 20}, crop_size={"height": 16, "width": 16}),
        transformers.BitImageProcessor(size={"shortest_edge": 20}, crop_size={"height": 16, "width": 16}),
        transformers.ViTImageProcessor(size={"height": 12, "width": 12}, do_rescale=False, resample=0),
        transformers.ViTImageProcessor(size={"height": 12, "width": 12}, do_normalize=False, rescale_factor=1 / 127.5),
    ],
    ids=["ViT", "DeiT", "Bit", "without rescaling", "without normalisation"],
)
def test_views_are_those_of_the_processor(processor):
    pixels = np.random.default_rng(0).integers(0, 256, (33, 47, 3), np.uint8)
    found = read_processor(processor.to_dict(), "file")
    assert found.size is not None
    preprocess = Preprocess(found.size, **found.fields)
    ours = preprocess.normalise(preprocess.view(Image.fromarray(pixels))[None])[0].numpy()
    theirs = np.asarray(processor(Image.fromarray(pixels))["pixel_values"][0])
    step = 1 / 255 / np.array(preprocess.std)[:, None, None]
    assert np.all(np.abs(ours - theirs) <= 1.01 * step)  # processors on tensors round once more
    assert np.mean(np.abs(ours - theirs) > 0.01 * step) < 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": {"shortest_edge": 9}}, "resizes the shorter side to 9 pixels and does not crop"),
        ({"resample": 9}, "resample: expected one of Pillow's codes 0 to 5, got 9"),
        ({"size": {"longest_edge": 9}}, "expected a size as a number, or as height and width"),
        ({"size": 4, "do_center_crop": True, "crop_size": 8}, r"crops 8 × 8 of 4 × 4 pixels; expected the same share"),
    ],
)
def test_processors_that_cannot_be_represented_raise(changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        load_model(folder_of(tiny("ViT"), tmp_path, **(PROCESSOR | changes)))


def edit(folder: Path, **fields) -> Path:
    """Change fields of the folder's configuration."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))
    return folder


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        (
            {"architecture": "test_vit"},
            InputError,
            r"a model of timm; .+'timm:test_vit' and checkpoint '.+'",
        ),
        ({"hidden_act": "gelu_nwe"}, InputError, "hidden_act: unknown activation 'gelu_nwe'; did you mean 'gelu_new'"),
        ({"architectures": ["SwinModel"]}, InputError, "architectures: unknown class 'SwinModel'"),
        ({"architectures": None}, InputError, "architectures: unknown class 'none'"),
        ({"quantization_config": {"bits": 8}}, NotRepresentable, "quantization_config = .+ is not supported"),
        ({"num_channels": 1}, InputError, r"patch_embed\.proj\.weight is \(12, 3, 4, 4\), expected \(12, 1, 4, 4\)"),
        ({"num_attention_heads": 5}, InputError, "timm could not create the model of this configuration"),
        ({"hidden_size": "wide"}, InputError, "timm could not create the model of this configuration"),
        ({"num_hidden_layers": 1}, InputError, r"not in the model: blocks\.1"),
        ({"image_size": -8}, InputError, "image_size: expected pixels"),
    ],
)
def test_configurations_that_are_not_supported_raise(fields, error, message, tmp_path):
    with pytest.raises(error, match=message):
        load_model(edit(folder_of(tiny("ViT"), tmp_path), **fields))


def test_folders_without_a_model_raise(tmp_path):
    for hub in ("google/vit-base-patch16-224", "hf-hub:timm/vit_base_patch16_224", tmp_path / "none"):
        with pytest.raises(InputError, match=r"no such folder.+not downloaded; .+`hf download OWNER/NAME --local-dir"):
            load_model(hub)
    with pytest.raises(InputError, match=r"config\.json: cannot read this file"):
        load_model(tmp_path)
    for text, message in (("{", "cannot read this file"), ("[]", "expected a JSON object, got list")):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(InputError, match=message):
            load_model(tmp_path)
    with pytest.raises(InputError, match="a folder holds its own weights"):
        load_model(tmp_path, checkpoint=tmp_path / "model.safetensors")


def test_a_backbone_needs_a_head(images, tmp_path):
    backbone = tiny("Dinov2", "Model")
    folder = folder_of(backbone, tmp_path)
    for source in (backbone, folder):
        with pytest.raises(InputError, match=r"no classifier.+give it one: head=FILE.+circuitstore probe"):
            load_model(source, **STATED)
    head = nn.Linear(12, 4).double()
    model = load_model(folder, head=head, dtype="float64", **STATED)
    with torch.no_grad():
        expected = head(backbone(images(model)).last_hidden_state[:, 0])
    assert torch.allclose(model.logits(images(model)), expected, rtol=1e-12)
    assert model.labels is None


def test_a_folder_of_a_classifier_without_classes_is_a_backbone(tmp_path):
    folder = folder_of(tiny("Dinov2"), tmp_path)
    tensors = load_file(folder / "model.safetensors")
    save_file({n: t for n, t in tensors.items() if not n.startswith("classifier")}, folder / "model.safetensors")
    with pytest.raises(InputError, match="no classifier"):
        load_model(folder, **STATED)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_model(folder, head=nn.Linear(24, 2), **STATED).n_classes == 2
