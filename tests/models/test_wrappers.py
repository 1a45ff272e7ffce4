"""Modules around a timm model: plain wrappers are removed, others raise an error that says what to load."""

import open_clip
import pytest
import torch
import transformers
from circuitstore.errors import NotRepresentable
from circuitstore.models import load_clip, load_model
from circuitstore.models.wrappers import unwrap
from timm.utils import ModelEmaV3
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ..families import build, build_clip

WRAPPED = {
    "DataParallel": nn.DataParallel,
    "compiled": torch.compile,
    "compiled in DataParallel": lambda m: nn.DataParallel(torch.compile(m)),
    "DataParallel, compiled": lambda m: torch.compile(nn.DataParallel(m)),
    "AveragedModel": AveragedModel,
    "timm's EMA": ModelEmaV3,
}


@pytest.mark.slow
@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED.keys())
def test_plain_wrappers_are_removed(toy_module, wrap):
    module = toy_module()
    assert load_model(wrap(module)).fingerprint == load_model(module).fingerprint


def test_distributed_data_parallel_is_removed(toy_module, tmp_path):
    module = toy_module()
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(module)
        assert unwrap(wrapped) is module
        assert load_model(wrapped).fingerprint == load_model(module).fingerprint
    finally:
        torch.distributed.destroy_process_group()


TINY = transformers.ViTConfig(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32, image_size=8, patch_size=4
)


class Tuned(nn.Module):
    """A timm model without a head, and a head, as in fine-tuning scripts."""

    def __init__(self, backbone: nn.Module, head: nn.Module | None) -> None:
        super().__init__()
        self.backbone = backbone
        if head is not None:
            self.classifier = head

    def forward(self, x):
        return self.classifier(self.backbone(x))


class TunedViT(Tuned):
    """A model of transformers without a head, and a head."""

    def forward(self, x):
        return self.classifier(self.backbone(x).last_hidden_state[:, 0])


@pytest.mark.parametrize("family", ["DINOv2", "EVA"])
@pytest.mark.parametrize("deep", [False, True])
def test_a_wrapper_with_its_own_head_raises_with_the_line_that_loads_it(images, family, deep):
    torch.manual_seed(0)
    tuned = Tuned(build(family, num_classes=0), nn.Sequential(nn.Dropout(0.5), nn.Linear(16, 3))).double().eval()
    model = nn.ModuleDict({"net": tuned}) if deep else tuned
    kind = type(tuned.backbone).__name__
    where = r"\.net\.backbone" if deep else r"\.backbone"
    with pytest.raises(NotRepresentable, match=f"but holds a timm {kind} at {where}: load that") as caught:
        load_model(model)
    line = str(caught.value).splitlines()[1].strip()
    if deep:
        assert line == "cs.load_model(model.net.backbone)"
        return
    assert line == "cs.load_model(model.backbone, head=model.classifier)"
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    assert torch.allclose(
        load_model(model.backbone, head=model.classifier, dtype="float64").logits(x), tuned(x), rtol=1e-12
    )


def test_a_wrapper_without_a_head_raises_with_the_module_to_load(toy_module):
    with pytest.raises(NotRepresentable, match=r"at \.backbone: load that:\n  cs\.load_model\(model\.backbone\)$"):
        load_model(Tuned(toy_module(), None))


def test_models_of_other_libraries_raise_with_the_way_to_load_them():
    clip = build_clip("CLIP")
    for module in (clip, clip.visual, build_clip("SigLIP with its bias").visual):
        with pytest.raises(NotRepresentable, match=r"is part of open_clip: .+cs\.load_clip\("):
            load_model(module)
    with pytest.raises(NotRepresentable, match="ViTForMaskedImageModeling is not supported; expected one of"):
        load_model(transformers.ViTForMaskedImageModeling(TINY))


def test_a_wrapper_around_a_model_of_transformers_raises_with_the_line_that_loads_it(images):
    torch.manual_seed(0)
    tuned = TunedViT(transformers.ViTModel(TINY), nn.Linear(16, 3)).double().eval()
    with pytest.raises(NotRepresentable, match=r"holds a transformers ViTModel at \.backbone: load that") as caught:
        load_model(tuned)
    assert str(caught.value).endswith("cs.load_model(model.backbone, head=model.classifier)")
    stated = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "crop": 1.0, "interpolation": "bicubic"}
    model = load_model(tuned.backbone, head=tuned.classifier, dtype="float64", **stated)
    assert torch.allclose(model.logits(images(model)), tuned(images(model)), rtol=1e-12)


def test_a_wrapped_clip_is_accepted():
    clip = build_clip("CLIP").float()
    tokenizer = open_clip.SimpleTokenizer(context_length=16)
    plain, wrapped = (load_clip(c, ["tabby", "rifle"], tokenizer=tokenizer) for c in (clip, nn.DataParallel(clip)))
    assert plain.fingerprint == wrapped.fingerprint
