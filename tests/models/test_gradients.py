"""Gradient modes: an unchanged forward, rules against detached parts, RelP's conservation, closed forms."""

import pytest
import timm
import torch
from circuitstore.errors import InputError
from circuitstore.models import GRADIENTS, load_model
from circuitstore.models.gradients import AttentionRule, GradientRules, _AttentionRules
from timm.layers.mlp import GluMlp, SwiGLU
from torch import nn

from ..detached import detached
from ..families import build

MODES = ("relp", "relp-ah", "gim")
VARIANTS = {
    "plain": {},
    "q and k norm, LayerScale": {"qk_norm": True, "init_values": 0.2},
    "RMSNorm, average pooling": {"norm_layer": "rmsnorm", "global_pool": "avg"},
    "gated MLP": {"mlp_layer": SwiGLU},
    "ReLU": {"act_layer": nn.ReLU},
    "map pooling": {"global_pool": "map", "class_token": False},
}


def stream_gradient(model, x, rules):
    """Return the logits of class 1 and their gradients at the stream that enters block 0, under the rules."""
    stream = model.embed(x).requires_grad_()
    with rules.during(model):
        logits = model.readout(model.through_blocks(stream))
        return logits, torch.autograd.grad(logits[:, 1].sum(), stream)[0]


def close(found, expected, tolerance=1e-11):
    return ((found - expected).abs().max() / expected.abs().max()).item() < tolerance


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_rules_equal_detached_parts_and_keep_the_forward(toy_vit, images, brute_force, changes, mode):
    model = toy_vit(**changes)
    x = images(model, 2, 1)
    logits, found = stream_gradient(model, x, GRADIENTS[mode])
    stream = model.embed(x).requires_grad_()
    plain = model.readout(model.through_blocks(stream))
    assert torch.equal(logits, plain)
    reference = detached(brute_force, model.module, model.graph("split"), mode)
    by_hand, _ = reference.run(stream, lambda _, value: value)
    (expected,) = torch.autograd.grad(by_hand[:, 1].sum(), stream)
    assert close(found, expected)
    assert not close(found, torch.autograd.grad(plain[:, 1].sum(), stream)[0], 0.01)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", ["EVA-02", "CLIP"])
def test_rules_apply_to_every_family(images, brute_force, family, mode):
    model = load_model(build(family), dtype="float64")
    logits, found = stream_gradient(model, images(model), GRADIENTS[mode])
    assert torch.equal(logits, stream_gradient(model, images(model), GRADIENTS["plain"])[0])
    stream = model.embed(images(model)).requires_grad_()
    reference = detached(brute_force, model.module, model.graph("split"), mode)
    expected = torch.autograd.grad(reference.run(stream, lambda _, value: value)[0][:, 1].sum(), stream)[0]
    assert close(found, expected)


@pytest.fixture(scope="module")
def stock():
    return load_model(timm.create_model("vit_tiny_patch16_224", img_size=64, depth=4))


@pytest.mark.parametrize("mode", MODES)
def test_the_forward_of_a_stock_model_keeps_every_bit(images, stock, mode):
    model = stock
    x = images(model, 1).float()
    logits, _ = stream_gradient(model, x, GRADIENTS[mode])
    assert torch.equal(logits, model.readout(model.through_blocks(model.embed(x).requires_grad_())))


def test_gradients_are_plain_after_the_block(toy_vit, images):
    model = toy_vit()
    x = images(model)
    _, before = stream_gradient(model, x, GRADIENTS["plain"])
    for mode in MODES:
        stream_gradient(model, x, GRADIENTS[mode])
    assert torch.equal(stream_gradient(model, x, GRADIENTS["plain"])[1], before)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"global_pool": "avg"},
        {"global_pool": "map", "class_token": False},
        {"mlp_layer": SwiGLU},
        {"mlp_layer": GluMlp},
    ],
)
def test_relp_with_constant_probabilities_conserves_at_every_cut(toy_module, images, changes):
    """Without biases, ⟨stream, gradient⟩ equals the metric before every block, also for the non-linear network."""
    module = toy_module(**changes)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.startswith(("blocks", "norm", "fc_norm", "head", "attn_pool")) and name.endswith("bias"):
                parameter.zero_()
    model = load_model(module, dtype="float64")
    stream, cuts = model.embed(images(model)).requires_grad_(), []
    with GRADIENTS["relp-ah"].during(model):
        cuts.append(stream)
        for block in model.blocks:
            cuts.append(block(cuts[-1]))
        metric = model.readout(cuts[-1])[:, 1]
    for cut, gradient in zip(cuts, torch.autograd.grad(metric.sum(), cuts), strict=True):
        assert close((cut * gradient).flatten(1).sum(1), metric, 1e-12)


@pytest.mark.parametrize("changes", [{}, {"global_pool": "map", "class_token": False}])
def test_gim_with_temperature_1_and_factors_1_is_the_plain_gradient(toy_vit, images, changes):
    model = toy_vit(**changes)
    x = images(model)
    found = stream_gradient(model, x, GradientRules(attention=AttentionRule()))[1]
    assert close(found, stream_gradient(model, x, GRADIENTS["plain"])[1])


def test_the_softmax_of_gim_by_hand():
    """Two tokens, widths of one: scores 0 and ln 81, probabilities 1/82 and 81/82; at T = 2 they are .1 and .9."""
    q, k, v = (
        torch.tensor(x, dtype=torch.float64).reshape(1, 1, -1, 1).requires_grad_()
        for x in ([1.0], [0.0, 81.0], [2.0, 5.0])
    )
    with torch.no_grad():
        k.copy_(k.clamp_min(1).log())
    with _AttentionRules(AttentionRule(2.0, 0.25, 0.5)):
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    to_q, to_k, to_v = torch.autograd.grad(out.sum(), (q, k, v))
    # to the pattern (2, 5), ⟨g, s_T⟩ = 4.7: to the scores .1 · (2 − 4.7) and .9 · (5 − 4.7)
    assert to_k.flatten().tolist() == pytest.approx([-0.27 * 0.25, 0.27 * 0.25])
    assert to_q.item() == pytest.approx(0.27 * 0.25 * torch.tensor(81.0).log().item())
    assert to_v.flatten().tolist() == pytest.approx([0.5 / 82, 0.5 * 81 / 82])


def test_relp_uses_the_derivative_at_an_input_of_zero(toy_module, images):
    module = toy_module()
    with torch.no_grad():
        for block in module.blocks:
            block.mlp.fc1.weight.zero_()
            block.mlp.fc1.bias.zero_()
    model = load_model(module, dtype="float64")
    _, found = stream_gradient(model, images(model), GradientRules(activations=True))
    assert close(found, stream_gradient(model, images(model), GRADIENTS["plain"])[1], 1e-14)


def test_parts_that_a_rule_cannot_replace_raise(toy_module, images):
    sigmoid = load_model(toy_module(act_layer=nn.Sigmoid), dtype="float64")
    before = stream_gradient(sigmoid, images(sigmoid), GRADIENTS["plain"])[1]
    with pytest.raises(InputError, match=r"blocks\.0\.mlp\.act \(Sigmoid\) is 0\.5 at 0"):
        stream_gradient(sigmoid, images(sigmoid), GRADIENTS["relp"])
    assert torch.equal(stream_gradient(sigmoid, images(sigmoid), GRADIENTS["plain"])[1], before)
    stream_gradient(sigmoid, images(sigmoid), GRADIENTS["gim"])
    unfused = load_model(toy_module(), dtype="float64")
    unfused.module.blocks[1].attn.fused_attn = False  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(InputError, match=r"blocks\.1\.attn does not use fused attention"):
        stream_gradient(unfused, images(unfused), GRADIENTS["gim"])
    stream_gradient(unfused, images(unfused), GRADIENTS["relp"])
