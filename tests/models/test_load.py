"""Loading models: names, modules, the demo; checks, notices, and the caller's unchanged module."""

import pytest
import torch
from circuitstore.discovery import score_edges
from circuitstore.errors import CircuitStoreWarning, InputError, NotRepresentable
from circuitstore.evaluation import ImagePairs, evaluate
from circuitstore.models import Preprocess, load_model
from safetensors.torch import save_file


def test_the_callers_module_stays_unchanged(toy_module):
    module = toy_module().float().train()
    model = load_model(module, dtype="float64")
    assert module.training and all(p.requires_grad and p.dtype == torch.float32 for p in module.parameters())
    assert not model.module.training and not any(p.requires_grad for p in model.module.parameters())


def test_logits_equal_the_plain_models(toy_module, images):
    module = toy_module()
    model = load_model(module, dtype="float64", labels=list("abcde"))
    x = images(model, 3)
    with torch.no_grad():
        assert torch.equal(model.logits(x), module(x))
    assert not model.logits(x).requires_grad
    assert (model.n_layers, model.n_heads, model.d_model, model.n_classes) == (3, 4, 16, 5)
    assert model.image_size == (8, 8) and model.labels == tuple("abcde")
    assert model.info.id == model.fingerprint


def test_random_weights_are_seeded_and_the_callers_generator_is_untouched():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again = (load_model("timm:test_vit", seed=1) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert first.fingerprint == again.fingerprint != load_model("test_vit", seed=2).fingerprint
    assert first.name == "test_vit"


def test_random_weights_warn_without_a_seed():
    with pytest.warns(CircuitStoreWarning, match=r"^test_vit: its weights are random, .+ state a seed") as caught:
        model = load_model("test_vit")
    assert model.random and model.weights == "random, seed 0" and "random weights" in repr(model)
    assert model.notices == (str(caught[0].message),)
    stated = load_model("test_vit", seed=0)
    assert stated.random and stated.notices == () and stated.fingerprint == model.fingerprint
    digits = load_model("digits")
    assert not digits.random and "random" not in repr(digits) and digits.notices == ()


def test_the_name_is_not_part_of_the_identity():
    plain, named = load_model("test_vit", seed=1), load_model("test_vit", seed=1, name="before tuning")
    assert named.name == named.info.name == "before tuning" and plain.name == "test_vit"
    assert named.fingerprint == plain.fingerprint
    for name in ("", " x", "a\nb"):
        with pytest.raises(InputError, match="name: expected printable text"):
            load_model("test_vit", name=name)


def test_preprocessing_can_be_stated():
    stated = {"mean": (0.1, 0.2, 0.3), "std": [0.4, 0.5, 0.6], "crop": 0.5, "interpolation": "nearest"}
    model = load_model("test_vit", seed=1, crop_mode="border", **stated)
    assert model.preprocess == Preprocess((160, 160), crop_mode="border", **stated)
    assert model.fingerprint != load_model("test_vit", seed=1).fingerprint
    for wrong, message in (
        ({"mean": (0.1, 0.2)}, "mean: expected three numbers"),
        ({"std": (0.1, 0.2, -0.3)}, "std: expected three positive numbers"),
        ({"crop": 0.0}, r"crop: expected a share in \(0, 1\], got 0\.0"),
        ({"crop": 1.5}, r"crop: expected a share"),
        ({"crop_mode": "middle"}, "crop_mode: expected one of center, squash, border"),
        ({"interpolation": "cubic"}, "interpolation: expected one of .+bicubic.+ got 'cubic'"),
    ):
        with pytest.raises(InputError, match=message):
            load_model("test_vit", **wrong)


def test_a_module_without_preprocessing_warns(toy_module):
    module = toy_module()
    del module.pretrained_cfg
    with pytest.warns(CircuitStoreWarning, match=r"module as given does not say .+ timm's default is assumed: mean"):
        load_model(module)
    stated = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "crop": 0.9, "interpolation": "bicubic"}
    assert load_model(module, **stated).notices == ()
    module.pretrained_cfg = {"mean": (0.1,) * 3}
    with pytest.warns(CircuitStoreWarning, match=r"is assumed: std \(.+\), crop 0\.875, interpolation bicubic;"):
        assert load_model(module).preprocess.mean == (0.1, 0.1, 0.1)


def test_invalid_arguments_raise(toy_module, tmp_path):
    with pytest.raises(InputError, match=r"a tag is part of the name, test_vit\.r160_in1k"):
        load_model("test_vit", pretrained="r160_in1k")
    with pytest.raises(InputError, match="exclude each other"):
        load_model("test_vit", pretrained=True, checkpoint=tmp_path)
    for source in (toy_module(), tmp_path):
        for weights in ({"checkpoint": tmp_path / "w.safetensors"}, {"pretrained": True}):
            with pytest.raises(InputError, match="pretrained and checkpoint can only be given with a name"):
                load_model(source, **weights)
    with pytest.raises(InputError, match="digits: has no published weights"):
        load_model("digits", pretrained=True)
    with pytest.raises(InputError, match="did you mean 'vit_small_patch16_224'"):
        load_model("vit_smal_patch16_224")
    with pytest.raises(InputError, match="did you mean 'float32'"):
        load_model("digits", dtype="float3")
    for wrong, near in (("imagesize", "image_size"), ("label", "labels"), ("croptmode", "crop_mode")):
        with pytest.raises(InputError, match=f"unknown keyword '{wrong}'; did you mean '{near}'"):
            load_model("test_vit", **{wrong: None})
    with pytest.raises(InputError, match="expected cpu, cuda"):
        load_model("digits", device="gpu")
    for device in ("mps", "meta"):
        with pytest.raises(InputError, match=f"expected cpu, cuda, .+; {device} is not supported, use cpu"):
            load_model("digits", device=device)
    with pytest.raises(InputError, match="expected 10 names"):
        load_model("digits", labels=["one"])
    with pytest.raises(InputError, match="labels: expected a list of names, one per class, got 'abcdefghij'"):
        load_model("digits", labels="abcdefghij")
    for seed in (-1, 2**63):
        with pytest.raises(InputError, match="seed: expected a whole number"):
            load_model("test_vit", seed=seed)


def test_any_image_size_of_a_timm_name():
    model = load_model("test_vit", seed=1, image_size=(48, 96))
    assert model.image_size == (48, 96) and model.embed(torch.zeros(1, 3, 48, 96)).shape[1] == 1 + 3 * 6
    with pytest.raises(InputError, match="can only be given with a timm name"):
        load_model("digits", image_size=64)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_tiny_patch16_224.nope", r"vit_tiny_patch16_224: unknown tag 'nope'.+augreg_in21k"),
        ("timm:deit_tiny_patch16_224.in21k", "unknown tag 'in21k'; did you mean 'fb_in1k'"),
        ("hf-hub:timm/vit_base_patch16_224.augreg_in21k", "Models of the Hugging Face hub are not downloaded"),
        ("google/vit-base-patch16-224", "Models of the Hugging Face hub are not downloaded"),
        ("", "unknown model ''"),
    ],
)
def test_names_unknown_to_timm_raise(name, message):
    with pytest.raises(InputError, match=message):
        load_model(name)


class Mlp(torch.nn.Module):
    """A custom head."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(width, 8), torch.nn.Linear(8, classes)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


HEADS = {
    "linear": lambda: torch.nn.Linear(16, 3),
    "dropout before it": lambda: torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(16, 3)),
    "norm before it": lambda: torch.nn.Sequential(torch.nn.LayerNorm(16), torch.nn.Linear(16, 3)),
    "an MLP": lambda: Mlp(16, 3),
}


@pytest.mark.parametrize("before", [0, 5, 1000])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_the_head_determines_the_number_of_classes(toy_module, images, head, before):
    module = toy_module(num_classes=before)
    module.head = head().double()
    model = load_model(module, dtype="float64", labels=list("abc"))
    x = images(model)
    assert model.n_classes == model.info.n_classes == 3 and model.logits(x).shape == (2, 3)
    with pytest.raises(InputError, match="has classes 0 to 2, got 4"):
        ImagePairs.of(model, x, x.flip(0), [0, 4])


def test_heads_without_logits_raise(toy_module):
    module = toy_module(num_classes=0)
    with pytest.raises(InputError, match=r"no classifier"):
        load_model(module)
    module.head = torch.nn.Linear(10, 3).double()
    with pytest.raises(InputError, match=r"reads the 16 values .+ one that reads 10; use nn\.Linear\(16, 3\)"):
        load_model(module)
    module.head = torch.nn.Sequential(torch.nn.Linear(10, 3)).double()
    with pytest.raises(InputError, match=r"does not run on an image \[3, 8, 8\] \(RuntimeError: .+does its head fit"):
        load_model(module)
    module.head = torch.nn.Sequential(torch.nn.Linear(16, 3), torch.nn.Unflatten(1, (3, 1))).double()
    with pytest.raises(InputError, match=r"head: expected logits \[image, class\] for one image, got \(1, 3, 1\)"):
        load_model(module)


def test_a_folder_without_a_slash_is_no_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vit-pets").mkdir()
    with pytest.raises(InputError, match=r"to load the folder, write Path\('vit-pets'\) or '\./vit-pets'"):
        load_model("vit-pets")


def test_suggestions_for_a_misspelt_name_are_supported_models():
    with pytest.raises(InputError, match="unknown model 'deit3_smal_patch16_224'") as caught:
        load_model("deit3_smal_patch16_224")
    assert "did you mean 'deit3_small_patch16_224'" in str(caught.value)
    for name in ("conit_tiny", "crossvi_15_240", "davit_tin"):  # other families, none of which is a VisionTransformer
        with pytest.raises(InputError) as caught:
            load_model(name)
        assert not any(family in str(caught.value).split(";")[1] for family in ("convit", "crossvit", "davit"))


def test_finite_weights_that_overflow_raise(toy_module):
    module = toy_module()
    with torch.no_grad():
        module.head.weight.fill_(1e38)
    with pytest.raises(InputError, match=r"logits are (NaN|infinite): the weights .* overflow in float32"):
        load_model(module)
    assert load_model(module, dtype="float64").n_classes == 5


def test_the_demo_model_is_complete():
    model = load_model("digits")
    assert (model.n_layers, model.n_heads, model.d_model, model.n_classes) == (4, 4, 64, 10)
    assert model.image_size == (64, 64) and len(model.labels) == 10
    assert model.fingerprint == load_model("digits", dtype="bfloat16").fingerprint


def test_other_weights_for_the_demo_model(tmp_path):
    """Halving the weights and the bias of the head halves the logits."""
    shipped = load_model("digits")
    tensors = shipped.module.state_dict()
    for name in ("head.weight", "head.bias"):
        tensors[name] = tensors[name] / 2
    save_file(tensors, tmp_path / "halved.safetensors")
    halved = load_model("digits", checkpoint=tmp_path / "halved.safetensors")
    assert (halved.name, halved.weights, halved.labels) == ("digits/halved", "halved.safetensors", shipped.labels)
    assert halved.notices == () and halved.preprocess == shipped.preprocess
    x = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(halved.logits(x) * 2, shipped.logits(x))
    del tensors["head.bias"]
    save_file(tensors, tmp_path / "incomplete.safetensors")
    with pytest.raises(InputError, match=r"incomplete.safetensors does not fit the model: missing: head.bias"):
        load_model("digits", checkpoint=tmp_path / "incomplete.safetensors")
    with pytest.raises(InputError, match=r"none\.safetensors"):
        load_model("digits", checkpoint=tmp_path / "none.safetensors")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is present")
def test_a_missing_device_raises():
    with pytest.raises(InputError, match="no CUDA device"):
        load_model("digits", device="cuda")
    assert load_model("digits", device="auto").device.type == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_scores_on_a_gpu_equal_those_on_the_cpu(toy_module, images):
    here, there = (load_model(toy_module(), device=d, dtype="float64") for d in ("cpu", "cuda"))
    pairs = ImagePairs.of(here, images(here, 3, 1), images(here, 3, 2), [0, 1, 2])
    for form in ("split", "block"):
        a, b = (score_edges(m, pairs, "eap", form=form) for m in (here, there))
        assert abs(a.per_image - b.per_image).max() < 1e-10 * abs(a.per_image).max()
        found, expected = (evaluate(m, pairs, a.top(0.3)).metric_circuit for m in (there, here))
        assert found == pytest.approx(expected, rel=0, abs=1e-10 * here.logits(pairs.clean).abs().max().item())


def test_bfloat16_is_close(toy_module, images):
    module = toy_module()
    exact, half = load_model(module, dtype="float64"), load_model(module, dtype="bfloat16")
    x = images(exact, 4)
    assert half.dtype == torch.bfloat16 and half.exact_dtype == torch.float32
    assert (half.logits(x).double() - exact.logits(x)).abs().max() < 0.1 * exact.logits(x).abs().max()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_missing_cuda_device_number_raises():
    with pytest.raises(InputError, match=r"torch finds .+ CUDA devices"):
        load_model("digits", device=f"cuda:{torch.cuda.device_count()}")


def test_pixels_that_are_not_normalised_raise():
    model = load_model("digits")
    for wrong in (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), torch.zeros(1, 3, 16, 16), torch.zeros(1, 1, 64, 64)):
        for run in (model.logits, model.embed):
            with pytest.raises(InputError, match=r"expected normalised pixels .+\[image, 3, 64, 64\].+normalise"):
                run(wrong)


def test_a_convolutional_network_raises():
    with pytest.raises(NotRepresentable, match=r"^ResNet"):
        load_model("resnet18")
