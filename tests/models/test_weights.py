# pyright: reportAttributeAccessIssue=false
"""Checkpoints of training scripts: weights are found, or the error says how to write a file that loads."""

import argparse
import datetime
import io
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from circuitstore.errors import CircuitStoreWarning, InputError
from circuitstore.models import load_model
from circuitstore.models.weights import read_weights
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

STATED = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "crop": 0.9, "interpolation": "bicubic"}
TRAINED = timm.create_model("test_vit", num_classes=7)
TENSORS = TRAINED.state_dict()
OTHER = timm.create_model("test_vit", num_classes=7).state_dict()


def prefixed(prefix: str, tensors: dict = TENSORS) -> dict:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def load(path: Path, content: object, **options):
    torch.save(content, path)
    return load_model("test_vit", checkpoint=path, **STATED | options)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "tuned.pth"


OPTIMISER = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}
PLAIN = {
    "bare": TENSORS,
    "state_dict": {"epoch": 3, "arch": "test_vit", "state_dict": TENSORS, "optimizer": OPTIMISER},
    "model": {"model": TENSORS, "optimizer": OPTIMISER, "scaler": {"scale": 65536.0}},
    "model_state_dict": {"model_state_dict": TENSORS, "loss": 0.1},
    "net": {"net": TENSORS, "acc": 91.5, "epoch": 7},
    "a key of one's own": {"results": {"best": {"weights_of_run_7": TENSORS}}},
    "DDP": prefixed("module."),
    "compiled": prefixed("_orig_mod."),
    "compiled, then DDP, nested": {"state_dict": prefixed("module._orig_mod.")},
    "backbone": prefixed("backbone."),
    "Lightning": {
        "state_dict": prefixed("model."),
        "pytorch-lightning_version": "2.5.0",
        "hyper_parameters": {"lr": 0.1, "name": "test_vit"},
        "optimizer_states": [OPTIMISER],
        "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": torch.tensor(0.5)}},
    },
    "arguments": {"state_dict": TENSORS, "args": argparse.Namespace(model="test_vit", lr=0.1, layers=[1, 2])},
    "NumPy's numbers": {"state_dict": TENSORS, "metric": np.float64(71.2), "epoch": np.int64(3), "f": np.float32(1)},
    "AveragedModel": AveragedModel(nn.Sequential()).state_dict() | prefixed("module."),
}


@pytest.mark.parametrize("content", PLAIN.values(), ids=PLAIN.keys())
def test_the_weights_are_found(path, content):
    model = load(path, content)
    assert model.name == "test_vit/tuned" and model.weights == "tuned.pth" and not model.notices
    own = model.module.state_dict()
    assert own.keys() == TENSORS.keys() and all(torch.equal(own[name], TENSORS[name]) for name in own)


def test_safetensors_with_a_prefix(tmp_path):
    save_file(prefixed("model."), tmp_path / "w.safetensors")
    model = load_model("test_vit", checkpoint=str(tmp_path / "w.safetensors"), name="mine", **STATED)
    assert torch.equal(model.module.head.weight, TENSORS["head.weight"]) and model.name == "mine"


AVERAGES = {
    "timm": {"state_dict": OTHER, "state_dict_ema": TENSORS},
    "nested": {"model": OTHER, "ema": {"model": TENSORS}},
    "one table": prefixed("model.", OTHER) | prefixed("ema_model.module."),
    "with the model's names": OTHER | prefixed("ema."),
}


@pytest.mark.parametrize("content", AVERAGES.values(), ids=AVERAGES.keys())
def test_averaged_weights_take_precedence_with_a_notice(path, content):
    with pytest.warns(CircuitStoreWarning, match=r"tuned\.pth holds averaged and plain weights; loaded .*ema"):
        model = load(path, content)
    assert torch.equal(model.module.head.weight, TENSORS["head.weight"])
    with pytest.warns(CircuitStoreWarning, match="averaged and plain"):
        notice = load(path, content).notices[0]
    run(notice)
    again = load_model("test_vit", checkpoint=path.with_name("tuned-weights.pth"), **STATED)
    assert torch.equal(again.module.head.weight, OTHER["head.weight"])


def run(message: str) -> None:
    """Run the lines of Python in a message."""
    lines = [line.strip() for line in str(message).splitlines()[1:] if line.startswith("  ")]
    assert len(lines) == 2
    exec("\n".join(lines), {"torch": torch})


def test_several_sets_of_weights_raise_with_lines_that_choose_one(path):
    with pytest.raises(InputError, match=r"several sets of weights: teacher\.backbone, student\.backbone") as caught:
        load(path, {"teacher": prefixed("backbone."), "student": prefixed("backbone.", OTHER)})
    run(caught.value)
    chosen = load_model("test_vit", checkpoint=path.with_name("tuned-weights.pth"), **STATED)
    assert torch.equal(chosen.module.head.weight, TENSORS["head.weight"])


def test_objects_that_are_not_loaded_raise_with_lines_that_omit_them(path):
    content = {"state_dict": TENSORS, "spent": datetime.timedelta(1)}
    with pytest.raises(InputError, match=r"holds datetime\.timedelta, which is not loaded.+can run code") as caught:
        load(path, content)
    run(caught.value)
    model = load_model("test_vit", checkpoint=path.with_name("tuned-weights.pth"), **STATED)
    assert torch.equal(model.module.head.weight, TENSORS["head.weight"])


class Harmful:
    """An object that runs code when unpickled."""

    def __reduce__(self):
        return (print, ("harm",))


def test_code_in_a_file_is_not_run(path, capsys):
    for content in ({"model": Harmful()}, {"state_dict": TENSORS, "args": argparse.Namespace(x=Harmful())}):
        with pytest.raises(InputError, match=r"print, which is not loaded"):
            load(path, content)
    assert "harm" not in capsys.readouterr().out


@pytest.mark.slow
def test_arguments_of_timms_training_script_are_used(path):
    arguments = argparse.Namespace(
        model="test_vit", input_size=None, img_size=96, crop_pct=0.8, mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6],
        interpolation="bilinear",
    )  # fmt: skip
    tensors = timm.create_model("test_vit", num_classes=7, img_size=96).state_dict()
    torch.save({"state_dict": tensors, "args": arguments}, path)
    model = load_model("test_vit", checkpoint=path)
    assert model.notices == () and model.image_size == (96, 96)
    assert (model.preprocess.crop, model.preprocess.interpolation) == (0.8, "bilinear")
    assert (model.preprocess.mean, model.preprocess.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert load_model("test_vit", checkpoint=path, crop=1.0).preprocess.crop == 1.0
    arguments.mean, arguments.img_size = None, None
    for input_size in ([3, 96, 96], 96, "odd"):  # as timm writes it, as others do, and invalid
        arguments.input_size = input_size
        torch.save({"state_dict": tensors, "args": arguments}, path)
        with pytest.warns(CircuitStoreWarning) as warned:
            assert load_model("test_vit", checkpoint=path).image_size == (96, 96)
        notices = [str(w.message) for w in warned]
        assert "tuned.pth does not say" in notices[-1]
        assert "is assumed: mean (0.5, 0.5, 0.5); state mean if" in notices[-1]
        assert len(notices) == (2 if input_size == "odd" else 1)


def test_assumed_preprocessing_is_a_notice(path):
    torch.save(TENSORS, path)
    notice = "tuned.pth does not say how images are prepared, so timm's configuration of test_vit is assumed"
    with pytest.warns(CircuitStoreWarning, match=notice) as caught:
        model = load_model("test_vit", checkpoint=path, mean=(0.1, 0.2, 0.3))
    assert model.notices == (str(caught[0].message),)
    assert "mean" not in model.notices[0] and "std (0.5, 0.5, 0.5), crop 0.95, interpolation bicubic" in said_of(model)
    assert model.preprocess.mean == (0.1, 0.2, 0.3)
    stated = load_model("test_vit", checkpoint=path, **STATED, crop_mode="squash")
    assert stated.notices == () and stated.preprocess.crop_mode == "squash"
    assert stated.fingerprint != load_model("test_vit", checkpoint=path, **STATED).fingerprint


def said_of(model) -> str:
    return " ".join(model.notices)


def test_tensors_of_float64_keep_their_precision(path, images):
    module = timm.create_model("test_vit", num_classes=7).double().eval()
    with torch.no_grad():
        module.head.weight += 1e-12
    model = load(path, module.state_dict(), dtype="float64")
    assert torch.equal(model.module.head.weight, module.head.weight)


def test_a_published_layout_is_converted(path):
    """As open_clip saves a timm tower: the projection is the head, and the text tower is ignored."""
    tensors = timm.create_model("test_vit").state_dict()
    tower = prefixed("visual.trunk.", {k: v for k, v in tensors.items() if not k.startswith("head.")})
    others = {"visual.head.proj.weight": torch.randn(1000, 64), "text.cls_emb": torch.zeros(3)}
    model = load(path, tower | others)
    assert torch.equal(model.module.head.weight, others["visual.head.proj.weight"])
    assert torch.equal(model.module.norm.weight, tensors["norm.weight"])


def test_a_published_layout_is_not_resampled_to_another_patch(path):
    """As DINOv2 is published, with a mask token that timm drops."""
    published = TENSORS | {"mask_token": torch.zeros(1, 64)}
    assert torch.equal(load(path, published).module.pos_embed, TENSORS["pos_embed"])
    with pytest.raises(InputError, match=r"patch_embed\.proj\.weight is \(64, 3, 14, 14\)"):
        load(path, published | {"patch_embed.proj.weight": torch.zeros(64, 3, 14, 14)})


def test_weights_that_do_not_fit_raise(path):
    missing = {name: tensor for name, tensor in TENSORS.items() if name != "norm.bias"}
    wrong = missing | {"extra": torch.zeros(1), "blocks.0.norm1.weight": torch.ones(3)}
    with pytest.raises(
        InputError, match=r"missing: norm\.bias; not in the model: extra; blocks\.0\.norm1\.weight is \(3,\)"
    ):
        load(path, wrong)
    with pytest.raises(InputError, match=r"not in the model: criterion\.weight"):
        load(path, {"state_dict": prefixed("model.") | {"criterion.weight": torch.ones(7)}})
    patches = TENSORS | {"patch_embed.proj.weight": torch.zeros(64, 3, 14, 14)}  # timm would resample them
    with pytest.raises(InputError, match=r"patch_embed\.proj\.weight is \(64, 3, 14, 14\), expected \(64, 3, 16, 16\)"):
        load(path, patches)
    headless = {name: tensor for name, tensor in TENSORS.items() if not name.startswith("head.")}
    composite = headless | {"head.0.weight": torch.ones(5, 64), "head.0.bias": torch.ones(5)}
    with pytest.raises(InputError, match=r"missing: head\.bias, head\.weight; not in the model: head\.0\.bias"):
        load(path, composite)


ODD = {
    "fits neither": lambda t: t | {"pos_embed": torch.zeros(1, 0, 64)},
    "pos_embed is": lambda t: t | {"pos_embed": torch.zeros(5)},
    "holds fewer values": lambda t: t | {"head.weight": torch.zeros(1).expand(10**9, 64)},
    "saved on the meta device": lambda t: {name: tensor.to("meta") for name, tensor in t.items()},
    "sparse": lambda t: t | {"head.weight": t["head.weight"].to_sparse()},
    "complex64": lambda t: t | {"head.weight": t["head.weight"].to(torch.complex64)},
    "no table of tensors": lambda t: dict(enumerate(t.values())),
    "head.weight is ()": lambda t: t | {"head.weight": torch.tensor(1.0)},
}


@pytest.mark.parametrize("reason", ODD)
def test_invalid_tensors_raise(path, reason):
    with pytest.raises(InputError) as caught:
        load(path, ODD[reason](dict(TENSORS)))
    assert reason in str(caught.value).replace("fit neither", "fits neither")


def test_a_missing_file_raises(tmp_path):
    for place in (tmp_path / "missing.pth", tmp_path, "x" * 5000):
        with pytest.raises(InputError, match="checkpoint: no file at"):
            load_model("test_vit", checkpoint=place)


def saved(content: object) -> bytes:
    sink = io.BytesIO()
    torch.save(content, sink)
    return sink.getvalue()


GOOD = saved({"state_dict": {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}, "epoch": 3})


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_file_raises_a_clear_error(tmp_path_factory, data):
    damaged = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged", numbered=True) / "w.pth"
    path.write_bytes(bytes(damaged[: data.draw(st.integers(1, len(damaged)))]))
    check_error(path)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["w.pth", "w.safetensors"]))
def test_any_bytes_raise_a_clear_error(tmp_path_factory, content, name):
    path = tmp_path_factory.mktemp("bytes", numbered=True) / name
    path.write_bytes(content)
    check_error(path)


def check_error(path: Path) -> None:
    try:
        assert set(read_weights(path, {"a.weight", "a.bias"}).tensors) <= {"a.weight", "a.bias"} | {"?"}
    except InputError as error:
        assert str(path) in str(error)
