"""The same computation has the same fingerprint, another one another."""

from dataclasses import replace

import pytest
import torch
from circuitstore.models import Preprocess, load_model
from circuitstore.models.fingerprint import fingerprint
from torch import nn

PREPROCESS = Preprocess((8, 8))


def test_the_same_tensors_with_another_head_count_are_another_model(toy_module):
    four, two = toy_module(num_heads=4), toy_module(num_heads=2)
    assert all(torch.equal(a, b) for a, b in zip(four.parameters(), two.parameters(), strict=True))
    assert fingerprint(four, PREPROCESS) != fingerprint(two, PREPROCESS)


@pytest.mark.parametrize(
    "change",
    [
        {"size": (8, 16)},
        {"crop_pct": 1.0},
        {"interpolation": "bilinear"},
        {"crop_mode": "squash"},
        {"mean": (0.0, 0.5, 0.5)},
    ],
)
def test_another_preprocessing_is_another_model(toy_module, change):
    module = toy_module()
    assert fingerprint(module, PREPROCESS) != fingerprint(module, replace(PREPROCESS, **change))


def test_what_tensors_do_not_tell_counts(toy_module):
    def changed(**changes):
        return fingerprint(toy_module(**changes), PREPROCESS)

    plain = changed()
    assert plain == changed()
    eps = toy_module()
    eps.blocks[1].norm2.eps = 1e-3
    others = [
        changed(seed=1),
        changed(act_layer=nn.ReLU),
        changed(act_layer="gelu_tanh"),
        changed(norm_layer="rmsnorm"),
        changed(global_pool="avg", fc_norm=False),
        fingerprint(eps, PREPROCESS),
    ]
    assert len({plain, *others}) == 1 + len(others)


def test_one_changed_weight_is_another_model(toy_module):
    module = toy_module()
    before = fingerprint(module, PREPROCESS)
    with torch.no_grad():
        module.blocks[2].mlp.fc2.bias[0] += 1e-6
    assert fingerprint(module, PREPROCESS) != before


def test_device_dtype_mode_and_frozenness_do_not_count(toy_module):
    module = toy_module().float()
    expected = load_model(module).fingerprint
    dropping = {"drop_rate": 0.1, "drop_path_rate": 0.1, "patch_drop_rate": 0.1}
    assert load_model(toy_module(**dropping).float()).fingerprint == expected
    for variant in (
        toy_module().float().double(),
        toy_module().float().train(),
        toy_module().float().requires_grad_(False),
    ):
        assert load_model(variant).fingerprint == expected
    for dtype in ("float64", "bfloat16"):
        assert load_model(module, dtype=dtype).fingerprint == expected
