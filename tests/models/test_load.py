"""Where models come from: names, checkpoints, modules, the demo; what is checked, and what stays as it was."""

import pytest
import timm
import torch
from circuitstore.discovery import evaluate, score_edges
from circuitstore.errors import InputError, NotRepresentable
from circuitstore.models import load_model
from safetensors.torch import save_file


def test_a_module_is_copied_and_left_as_it_is(toy_module):
    module = toy_module().float().train()
    model = load_model(module, dtype="float64")
    assert module.training and all(p.requires_grad and p.dtype == torch.float32 for p in module.parameters())
    assert not model.module.training and not any(p.requires_grad for p in model.module.parameters())


def test_logits_are_the_plain_model_s(toy_module, images):
    module = toy_module()
    model = load_model(module, dtype="float64", labels=list("abcde"))
    x = images(model, 3)
    with torch.no_grad():
        assert torch.equal(model.logits(x), module(x))
    assert not model.logits(x).requires_grad
    assert (model.n_layers, model.n_heads, model.d_model, model.n_classes) == (3, 4, 16, 5)
    assert model.image_size == (8, 8) and model.labels == tuple("abcde")
    assert model.info.id == model.fingerprint


def test_random_weights_are_seeded_and_the_caller_s_generator_is_untouched():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again = (load_model("timm:test_vit", seed=1) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert first.fingerprint == again.fingerprint != load_model("test_vit", seed=2).fingerprint
    assert first.name == "test_vit"


@pytest.mark.parametrize("kind", ["safetensors", "torch", "nested"])
def test_a_local_checkpoint_brings_its_weights_and_class_count(tmp_path, kind):
    tensors = timm.create_model("test_vit", num_classes=7).state_dict()
    path = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pth")
    match kind:
        case "safetensors":
            save_file(tensors, path)
        case "torch":
            torch.save(tensors, path)
        case "nested":
            torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in tensors.items()}}, path)
    model = load_model("test_vit", checkpoint=path)
    assert model.n_classes == 7
    assert torch.equal(model.module.head.weight, tensors["head.weight"])


class Harmful:
    """Would run code when unpickled."""

    def __reduce__(self):
        return (print, ("harm",))


def test_a_checkpoint_that_is_no_table_of_tensors_is_refused(tmp_path, capsys):
    path = tmp_path / "weights.pth"
    torch.save({"model": Harmful()}, path)
    with pytest.raises(InputError, match="can run code"):
        load_model("test_vit", checkpoint=path)
    assert "harm" not in capsys.readouterr().out
    for content in (b"", b"no weights at all"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"weights\.pth"):
            load_model("test_vit", checkpoint=path)
        path.with_suffix(".safetensors").write_bytes(content)
        with pytest.raises(InputError, match=r"weights\.safetensors"):
            load_model("test_vit", checkpoint=path.with_suffix(".safetensors"))
    with pytest.raises(InputError, match="no file at"):
        load_model("test_vit", checkpoint=tmp_path / "missing.pth")


def test_a_checkpoint_that_does_not_fit_names_the_tensors(tmp_path):
    tensors = timm.create_model("test_vit").state_dict()
    del tensors["norm.bias"]
    tensors["extra"] = torch.zeros(1)
    tensors["blocks.0.norm1.weight"] = torch.ones(3)
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(
        InputError, match=r"missing: norm\.bias; not in the model: extra; blocks\.0\.norm1\.weight is \(3,\)"
    ):
        load_model("test_vit", checkpoint=tmp_path / "w.safetensors")


def test_what_does_not_go_together_is_refused(toy_module, tmp_path):
    with pytest.raises(InputError, match="exclude each other"):
        load_model("test_vit", pretrained=True, checkpoint=tmp_path)
    for source in ("digits", toy_module()):
        with pytest.raises(InputError, match="only a timm name"):
            load_model(source, checkpoint=tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="did you mean 'vit_small_patch16_224'"):
        load_model("vit_smal_patch16_224")
    with pytest.raises(InputError, match="did you mean 'float32'"):
        load_model("digits", dtype="float3")
    with pytest.raises(InputError, match="expected cpu, cuda"):
        load_model("digits", device="gpu")
    with pytest.raises(InputError, match="expected 10 names"):
        load_model("digits", labels=["one"])


def test_any_image_size_of_a_timm_name(tmp_path):
    tensors = timm.create_model("test_vit", num_classes=7, dynamic_img_size=False).state_dict()
    save_file(tensors, tmp_path / "w.safetensors")
    model = load_model("test_vit", checkpoint=tmp_path / "w.safetensors", image_size=(48, 96))
    assert model.image_size == (48, 96) and model.embed(torch.zeros(1, 3, 48, 96)).shape[1] == 1 + 3 * 6
    with pytest.raises(InputError, match="only a timm name"):
        load_model("digits", image_size=64)
    with pytest.raises(InputError, match="resnet18: timm does not make it for images of 64 pixels"):
        load_model("resnet18", image_size=64)


def test_a_head_that_was_put_on_a_model_without_one_makes_its_classes(toy_module, images):
    module = toy_module(num_classes=0)
    module.head = torch.nn.Linear(16, 3).double()
    model = load_model(module, dtype="float64")
    assert model.n_classes == 3 and model.logits(images(model)).shape == (2, 3)


def test_a_misspelt_name_is_answered_with_models_that_load():
    with pytest.raises(InputError, match="unknown model 'deit3_smal_patch16_224'") as told:
        load_model("deit3_smal_patch16_224")
    assert "did you mean 'deit3_small_patch16_224'" in str(told.value)
    for name in ("conit_tiny", "crossvi_15_240", "davit_tin"):  # other families, none of which is a VisionTransformer
        with pytest.raises(InputError) as told:
            load_model(name)
        assert not any(family in str(told.value).split(";")[1] for family in ("convit", "crossvit", "davit"))


def test_finite_weights_that_overflow_are_named(toy_module):
    module = toy_module()
    with torch.no_grad():
        module.head.weight.fill_(1e38)
    with pytest.raises(InputError, match=r"logits are (NaN|infinite): the weights .* overflow in float32"):
        load_model(module)
    assert load_model(module, dtype="float64").n_classes == 5


def test_the_demo_model_is_complete():
    model = load_model("digits")
    assert (model.n_layers, model.n_heads, model.d_model, model.n_classes) == (4, 4, 64, 10)
    assert model.image_size == (32, 32) and len(model.labels) == 10
    assert model.fingerprint == load_model("digits", dtype="bfloat16").fingerprint


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is present")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="no CUDA device"):
        load_model("digits", device="cuda")
    assert load_model("digits", device="auto").device.type == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_cpu_s_scores(toy_module, images):
    here, there = (load_model(toy_module(), device=d, dtype="float64") for d in ("cpu", "cuda"))
    x, y = images(here, 3, 1), images(here, 3, 2)
    for form in ("split", "block"):
        a, b = (score_edges(m, x, y, [0, 1, 2], method="eap", form=form) for m in (here, there))
        assert abs(a.per_image - b.per_image).max() < 1e-10 * abs(a.per_image).max()
        found, expected = (evaluate(m, a.top(0.3), x, y, [0, 1, 2]).metric_circuit for m in (there, here))
        assert found == pytest.approx(expected, rel=0, abs=1e-10 * here.logits(x).abs().max().item())


def test_a_dtype_of_16_bits_computes_about_the_same(toy_module, images):
    module = toy_module()
    exact, half = load_model(module, dtype="float64"), load_model(module, dtype="bfloat16")
    x = images(exact, 4)
    assert half.dtype == torch.bfloat16 and half.exact_dtype == torch.float32
    assert (half.logits(x).double() - exact.logits(x)).abs().max() < 0.1 * exact.logits(x).abs().max()


def test_not_a_vision_transformer():
    with pytest.raises(NotRepresentable, match=r"^ResNet"):
        load_model("resnet18")
