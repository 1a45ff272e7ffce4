"""Heads: files of a linear classifier, layers, and what does not fit."""

import json

import pytest
import torch
from circuitstore.errors import InputError
from circuitstore.models import LinearHead, load_model
from safetensors.torch import save_file
from torch import nn

LABELS = ("tabby, tabby cat", "Löwe")


def a_head(width: int = 16, labels: tuple[str, ...] | None = LABELS) -> LinearHead:
    generator = torch.Generator().manual_seed(0)
    return LinearHead(torch.randn(2, width, generator=generator), torch.randn(2, generator=generator), labels)


@pytest.mark.parametrize("labels", [LABELS, None])
def test_a_head_is_read_as_it_was_saved(labels, tmp_path):
    head = a_head(labels=labels)
    head.save(tmp_path / "head.safetensors")
    again = LinearHead.read(tmp_path / "head.safetensors")
    assert torch.equal(again.weight, head.weight) and torch.equal(again.bias, head.bias) and again.labels == labels
    assert [path.name for path in tmp_path.iterdir()] == ["head.safetensors"]


@pytest.mark.parametrize("num_classes", [0, 5])
def test_a_head_replaces_the_models_own(num_classes, toy_module, images, tmp_path):
    module, head = toy_module(num_classes=num_classes), a_head()
    head.save(tmp_path / "pets.safetensors")
    model = load_model(module, head=tmp_path / "pets.safetensors", dtype="float64", name=None)
    with torch.no_grad():
        pooled = module.forward_head(module.forward_features(images(model)), pre_logits=True)
        expected = pooled @ head.weight.double().T + head.bias.double()
    assert torch.allclose(model.logits(images(model)), expected, rtol=1e-12)
    assert model.labels == LABELS and model.name.endswith("/pets")
    assert model.fingerprint == load_model(module, head=head.to_module(), labels=list(LABELS)).fingerprint
    assert load_model(module, head=tmp_path / "pets.safetensors", labels=["a", "b"]).labels == ("a", "b")
    assert load_model(module, head=head.to_module()).labels is None
    assert len(list(module.head.parameters())) == (2 if num_classes else 0)  # the caller's module stays unchanged


def test_names_give_a_head_of_zeros(toy_module, images):
    model = load_model(toy_module(num_classes=0), head=LABELS, dtype="float64")
    assert model.labels == LABELS and not model.logits(images(model)).any()


def test_heads_of_other_programs_are_read(toy_module, tmp_path):
    weight = torch.ones(3, 16)
    torch.save({"linear.weight": weight}, tmp_path / "linear.pth")
    torch.save({"state_dict": {"module.fc.weight": weight, "module.fc.bias": torch.ones(3)}}, tmp_path / "fc.pth")
    for file, bias in (("linear.pth", 0), ("fc.pth", 1)):
        head = LinearHead.read(tmp_path / file)
        assert torch.equal(head.weight, weight) and torch.equal(head.bias, torch.full((3,), float(bias)))
        assert load_model(toy_module(), head=str(tmp_path / file)).n_classes == 3


@pytest.mark.parametrize(
    "tensors",
    [
        {"weight": torch.zeros(3, 16), "bias": torch.zeros(2)},
        {"weight": torch.zeros(16), "bias": torch.zeros(16)},
        {"bias": torch.zeros(3)},
        {"a.weight": torch.zeros(3, 16), "b.weight": torch.zeros(3, 3)},
        {"weight": torch.zeros(3, 16), "bias": torch.zeros(3), "scale": torch.zeros(3)},
    ],
)
def test_files_that_are_no_head_raise(tensors, tmp_path, toy_module):
    save_file(tensors, tmp_path / "head.safetensors")
    with pytest.raises(InputError, match=r"head\.safetensors: expected `weight` \[class, width\] and `bias`"):
        load_model(toy_module(), head=tmp_path / "head.safetensors")


def test_heads_that_do_not_fit_raise(toy_module, tmp_path):
    with pytest.raises(InputError, match=r"head: no file at .+none\.safetensors"):
        load_model(toy_module(), head=tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"head: .+broken\.safetensors is not a readable file of tensors"):
        load_model(toy_module(), head=tmp_path / "broken.safetensors")
    a_head(width=12).save(tmp_path / "narrow.safetensors")
    with pytest.raises(InputError, match=r"it reads 12 values, but .+ pools its tokens to 16; was it trained for"):
        load_model(toy_module(), head=tmp_path / "narrow.safetensors")
    for text in ("tabby", json.dumps(["tabby"]), json.dumps({"0": "tabby"}), json.dumps([1, 2])):
        save_file({"weight": torch.zeros(2, 16)}, tmp_path / "odd.safetensors", {"labels": text})
        with pytest.raises(InputError, match="expected a JSON list of 2 names as its labels"):
            load_model(toy_module(), head=tmp_path / "odd.safetensors")
    with pytest.raises(InputError, match=r"head: expected a file, a layer or names of classes, got \(\)"):
        load_model(toy_module(), head=())
    with pytest.raises(InputError, match=r"one that reads 12; use nn\.Linear\(16, 3\)"):
        load_model(toy_module(), head=nn.Linear(12, 3))
