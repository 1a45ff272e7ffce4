"""Every supported family returns its own library's logits, in plain and patched runs and in other types."""

import numpy as np
import pytest
import torch
from circuitstore.errors import NotRepresentable
from circuitstore.models import PatchedRuns, capture, load_model
from timm.models.beit import Beit
from timm.models.eva import Eva

from ..families import FAMILIES, SMALL, build
from .test_patched_runs import assert_close


@pytest.mark.parametrize("name", [*FAMILIES, "CLIP"])
def test_logits_equal_those_of_the_unhooked_model(name, images, brute_force):
    module = build(name)
    model = load_model(module, dtype="float64")
    x, y = images(model, 2, 1), images(model, 2, 2)
    with torch.no_grad():
        plain = module(x)
    assert_close(model.logits(x), plain, 1e-14)
    graph, clean, corrupted = model.graph("split"), model.embed(x), capture(model, y)
    runs, brute = PatchedRuns(model, clean, corrupted), brute_force(model.module, graph)
    assert_close(runs.logits(graph, np.ones(graph.n_edges, bool)), plain)
    for density in (0.1, 0.5, 0.9):
        mask = np.random.default_rng(0).random(graph.n_edges) < density
        assert_close(runs.logits(graph, mask), brute.masked(clean, corrupted.stream, mask))


def test_the_callers_module_stays_unchanged(images):
    module = build("EVA-02").train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    model = load_model(module)
    assert module.training and all(p.requires_grad for p in module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    with torch.no_grad():
        assert_close(model.logits(images(model)).double(), module.eval()(images(model)), 1e-5)


def test_bfloat16_is_close(images):
    module = build("rotary, learnt and per head")
    exact, half = load_model(module, dtype="float64"), load_model(module, dtype="bfloat16")
    x, graph = images(exact, 4), exact.graph("split")
    expected = exact.logits(x)
    assert exact.fingerprint == half.fingerprint
    assert_close(half.logits(x).double(), expected, 0.1)
    opened = PatchedRuns(half, half.embed(x), capture(half, x.flip(0))).logits(graph, np.ones(graph.n_edges, bool))
    assert_close(opened.double(), expected, 0.1)
    assert load_model(module.to(torch.bfloat16)).dtype == torch.float32


def test_rotation_settings_are_part_of_the_identity():
    """The tensors are the same, as sines and cosines are not among them."""
    changes = [{}, {"rope_temperature": 100.0}, {"rope_grid_offset": 0.5}, {"rope_rotate_half": True}, {"img_size": 16}]
    rotary = {"factory": Eva, "use_rot_pos_emb": True, "use_abs_pos_emb": False, "ref_feat_shape": 3}
    modules = [build("EVA-02", **rotary | change) for change in changes]
    assert len({load_model(module).fingerprint for module in modules}) == len(changes)
    states = [module.state_dict() for module in modules]
    assert all(torch.equal(state[name], value) for state in states for name, value in states[0].items())


INVALID = {
    "post-norm": {"use_post_norm": True},
    "scale_attn_norm": {"scale_attn_inner": True},
    "logits per token": {"global_pool": ""},
}


@pytest.mark.parametrize("message", INVALID)
def test_eva_models_whose_heads_do_not_add_up_raise(message):
    with pytest.raises(NotRepresentable, match=message):
        load_model(Eva(**SMALL | INVALID[message]))


def test_relative_position_biases_raise():
    with pytest.raises(NotRepresentable, match=r"^Beit cannot be represented .+ \(relative position biases"):
        load_model(Beit(**SMALL, use_rel_pos_bias=True))
