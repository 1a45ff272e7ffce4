"""What the demo model's pictures show under attack: the word, and nothing outside it where nothing differs."""

from __future__ import annotations

from dataclasses import replace

import circuitstore as cs
import numpy as np
import pytest
import torch
from circuitstore.evaluation import ImagePairs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def attacked(digits_model, digits) -> ImagePairs:
    """Six images that a written word turns, with their twins, and the patches that it touches."""
    pairs = cs.image_pairs(digits, digits_model, "three", 24, condition="typographic", corruption="unattacked-twin")
    turned = digits_model.logits(pairs.clean).argmax(1) == pairs.targets
    assert turned.sum() >= 6
    rows = torch.nonzero(turned).flatten()[:6]
    parts = {name: getattr(pairs, name)[rows] for name in ("clean", "labels", "targets")}
    return replace(pairs, corruption=pairs.corrupted[rows], hashes=tuple(pairs.hashes[r] for r in rows), **parts)


@pytest.fixture(scope="module")
def touched(digits_model, attacked) -> np.ndarray:
    """The tokens whose pixels differ from the twin's, per image."""
    differs = (attacked.clean != attacked.corrupted).any(dim=1)
    blocks = differs.unflatten(2, (8, 8)).unflatten(1, (8, 8)).any(dim=4).any(dim=2).flatten(1)
    return np.concatenate([np.zeros((len(blocks), 1), bool), blocks.numpy()], axis=1)


def test_the_stream_differs_inside_the_word_and_ends_at_the_class_token(digits_model, attacked, touched):
    found = cs.patch_stream(digits_model, attacked, metric="logit-diff")
    first = found.select(point="resid_pre.0").values
    assert not first[~touched].any() and (first[touched] != 0).all()
    whole = cs.patch_stream(digits_model, attacked, points=["resid_pre.0"], tokens=None, metric="logit-diff").mean()
    at_class = found.select(token=0).mean().values / whole.values[0]
    assert at_class[0] == 0 and at_class[-1] == pytest.approx(1, abs=1e-4) and (np.diff(at_class) > -0.15).all()
    positions = cs.key_positions(found.mean()).values.sum(axis=1)
    assert positions[0] > 1 and positions[-1] == 1


def test_edges_out_of_input_carry_the_word_only(digits_model, attacked, touched):
    edges = [name for name in digits_model.graph("split").edge_names if name.startswith("input->")]
    found = cs.footprint(digits_model, attacked, edges, metric="logit-diff").values
    outside = np.broadcast_to(~touched[:, None], found.shape)
    assert not found[outside].any()
    assert found[~outside].sum() > 0


def test_a_map_from_the_twin_is_inside_the_word(digits_model, attacked, touched):
    region = torch.from_numpy(touched[:, 1:].reshape(-1, 8, 8)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    area = region.double().mean().item()
    results = {}
    for name, method, params in (
        ("random", "random-map", {}),
        ("twin", "occlusion", {"baseline": "corrupted"}),
        ("black", "occlusion", {}),
        ("gradients", "integrated-gradients", {}),
    ):
        found = cs.patch_attribution(digits_model, attacked, method, metric="logit-diff", **params)
        results[name] = cs.evaluate_map(digits_model, attacked, found, region=region, metric="logit-diff", steps=16)
    assert (results["twin"].share_inside == 1).all() and results["twin"].pointing.all()
    assert results["black"].share_inside.mean() > 0.8 and results["black"].pointing.all()
    assert results["gradients"].share_inside.mean() > 0.6
    assert abs(results["random"].share_inside.mean() - area) < 0.06
    for name in ("twin", "black", "gradients"):
        assert results[name].deletion.mean() < results["random"].deletion.mean() - 0.1
        assert results[name].insertion.mean() > results["random"].insertion.mean() + 0.1
