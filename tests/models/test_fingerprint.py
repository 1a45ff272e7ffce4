"""Equal computations have equal fingerprints, others different ones; modules that cannot be identified raise."""

from dataclasses import replace

import pytest
import torch
from circuitstore.errors import InputError, NotRepresentable
from circuitstore.models import Preprocess, load_model
from circuitstore.models.fingerprint import computation, contents, fingerprint
from circuitstore.models.fixed_image import fixed_image, fixed_logits, summary
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers.attention_pool import AttentionPoolLatent
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, weight_norm

PREPROCESS = Preprocess((8, 8))


def identity(module):
    return computation(contents(module), fixed_logits(module, (8, 8)))


@pytest.fixture
def loaded(toy_module):
    """Load a toy model after applying `change` to it."""

    def build(change=lambda module: None, **changes):
        module = toy_module(**changes)
        change(module)
        return load_model(module, dtype="float64")

    return build


def test_the_number_of_heads_counts(toy_module):
    four, two = toy_module(num_heads=4), toy_module(num_heads=2)
    assert all(torch.equal(a, b) for a, b in zip(four.parameters(), two.parameters(), strict=True))
    assert identity(four) != identity(two)


@pytest.mark.parametrize(
    "change",
    [
        {"size": (8, 16)},
        {"crop": 1.0},
        {"interpolation": "bilinear"},
        {"crop_mode": "squash"},
        {"mean": (0.0, 0.5, 0.5)},
        {"std": (0.1, 0.5, 0.5)},
    ],
)
def test_the_preprocessing_counts(change):
    assert fingerprint("same", PREPROCESS) != fingerprint("same", replace(PREPROCESS, **change))


def test_with_preprocess_keeps_the_model_and_changes_its_fingerprint(loaded):
    model = loaded()
    other = model.with_preprocess(mean=[0.1, 0.2, 0.3], crop=1.0)
    assert other.preprocess == replace(model.preprocess, mean=(0.1, 0.2, 0.3), crop=1.0)
    assert other.computation == model.computation and other.module is model.module
    assert other.fingerprint != model.fingerprint == other.with_preprocess(mean=(0.5,) * 3, crop=0.9).fingerprint
    assert other.info.id == other.fingerprint == replace(model, preprocess=other.preprocess).fingerprint
    with pytest.raises(InputError, match=r"std: expected three positive numbers.+got \(0\.0, 1\.0, 1\.0\)"):
        model.with_preprocess(std=(0.0, 1.0, 1.0))
    with pytest.raises(InputError, match="reads images of 8 × 8 pixels, got 16 × 16"):
        replace(model, preprocess=replace(model.preprocess, size=(16, 16)))


def act(new):
    def change(module):
        for block in module.blocks:
            block.mlp.act = new()

    return change


class Scaled(nn.Module):
    """A head whose code contains a constant that no tensor and no setting holds."""

    def __init__(self, factor):
        super().__init__()
        self.linear = nn.Linear(16, 5).double()
        nn.init.ones_(self.linear.weight)
        self._factor = factor

    def forward(self, x):
        return torch.tanh(self.linear(x) * self._factor)


DIFFERENT = {
    "act": [act(nn.GELU), act(lambda: nn.GELU(approximate="tanh")), act(nn.ReLU), act(nn.SiLU)],
    "slopes": [act(lambda: nn.LeakyReLU(0.01)), act(lambda: nn.LeakyReLU(0.5))],
    "alphas": [act(nn.ELU), act(lambda: nn.ELU(3.0))],
    "betas": [act(nn.Softplus), act(lambda: nn.Softplus(5))],
    "ranges that no logit reaches": [
        act(lambda: nn.Hardtanh(-1e3, 1e3)),
        act(lambda: nn.Hardtanh(-1e4, 1e4)),
    ],
    "eps": [lambda m: setattr(m.norm, "eps", 1e-6), lambda m: setattr(m.norm, "eps", 1.0000001e-6)],
    "scale": [lambda m, s=s: setattr(m.blocks[1].attn, "scale", s) for s in (0.5, 0.5000001)],
    "heads": [lambda m: setattr(m, "head", nn.Sequential(m.head, nn.ReLU())), lambda m: None],
    "code": [lambda m: setattr(m, "head", Scaled(1.0)), lambda m: setattr(m, "head", Scaled(1.1))],
    "padding of patches": [lambda m: None, lambda m: setattr(m.patch_embed.proj, "padding_mode", "reflect")],
}


@pytest.mark.parametrize("changes", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_settings_and_code_count(loaded, changes):
    torch.manual_seed(0)
    found = {loaded(change).fingerprint for change in changes}
    assert len(found) == len(changes)
    torch.manual_seed(0)
    assert {loaded(change).fingerprint for change in changes} == found


def test_pooling_norms_and_weights_count(toy_module):
    plain = identity(toy_module())
    others = [
        identity(toy_module(seed=1)),
        identity(toy_module(norm_layer="rmsnorm")),
        identity(toy_module(global_pool="avg", fc_norm=False)),
        identity(toy_module(global_pool="avgmax", fc_norm=False)),
    ]
    assert plain == identity(toy_module())
    assert len({plain, *others}) == 1 + len(others)


def test_the_pool_of_an_attention_pool_counts(toy_module):
    def pooled(pool):
        module = toy_module(global_pool="map", class_token=False)
        assert isinstance(module.attn_pool, AttentionPoolLatent)
        module.attn_pool.pool = pool
        return identity(module)

    assert pooled("token") != pooled("avg")


def test_every_weight_counts(toy_module):
    module = toy_module()
    before = identity(module)
    with torch.no_grad():
        module.blocks[2].mlp.fc2.bias[0] += 1e-6
    assert identity(module) != before


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


def test_names_and_labels_do_not_count(toy_module):
    plain, named = load_model(toy_module()), load_model(toy_module(), name="mine", labels=list("abcde"))
    assert named.name == "mine" and named.fingerprint == plain.fingerprint


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 1000), st.integers(0, 999), st.floats(-5, 5))
def test_the_summary_is_stable_under_rounding_and_changes_with_the_logits(n, seed, scale):
    logits = torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 10**scale
    noise = torch.randn(n, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    rounded = logits * (1 + 1e-15 * noise)
    assert (
        max(abs(a - b) for a, b in zip(summary(logits), summary(rounded), strict=True)) <= 1
    )  # a tie may be rounded either way
    assert summary(logits) != summary(logits * 1.01)
    assert summary(logits) != summary(-logits)


def test_logits_of_zero_have_a_summary():
    assert summary(torch.zeros(3, dtype=torch.float64)) == summary(torch.zeros(3, dtype=torch.float64))


def test_the_fixed_image_against_values_by_hand():
    """2 · frac(i · 0.618…) − 1, from i = 1."""
    image = fixed_image((1, 2)).flatten().tolist()
    assert image == pytest.approx([0.23606797749979, -0.5278640450004204, 0.7082039324993694, -0.0557280900008408,
                                   -0.8196601125010510, 0.4164078649987388], abs=1e-15)  # fmt: skip


class Single(nn.Module):
    """A head that needs float32, like some that are written for autocast."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(16, 5)

    def forward(self, x):
        return self.linear(x.float())


def test_a_head_that_needs_float32_has_an_identity(toy_module):
    torch.manual_seed(0)
    module = toy_module().float()
    module.head = Single()
    assert load_model(module).fingerprint == load_model(module).fingerprint


class Dropping(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x, 0.5, training=True)


def answers(module):
    module.head = nn.Sequential(module.head, Dropping())


def hook(module):
    module.blocks[0].mlp.register_forward_hook(lambda _, __, out: out * 0)


def replaced(module):
    module.blocks[1].mlp.forward = lambda x: x


class Packed(torch.Tensor):
    """A wrapped weight, as in libraries for quantisation."""


def packed(module):
    module.head.weight = nn.Parameter(module.head.weight.detach().as_subclass(Packed), requires_grad=False)


def quantised(module):
    with pytest.warns(UserWarning, match="quantized"):
        packed = torch.quantize_per_tensor(module.head.weight.float(), 0.1, 0, torch.qint8)
    module.head.weight = nn.Parameter(packed, requires_grad=False)


INVALID = {
    r"blocks\.0\.mlp has a hook \(hook\..+remove it": hook,
    r"blocks\.0\.mlp\.fc1 has a hook": lambda m: m.blocks[0].mlp.fc1.register_forward_pre_hook(
        lambda _, i: (2 * i[0],)
    ),
    r"norm has a hook": lambda m: m.norm.register_full_backward_hook(lambda _, g, __: g),
    r"patch_embed has a hook": lambda m: m.patch_embed.register_full_backward_pre_hook(lambda _, g: g),
    r"head has a hook \(L1Unstructured\)": lambda m: prune.l1_unstructured(m.head, "weight", 0.5),
    r"blocks\.1\.mlp\.forward was replaced": replaced,
    r"forward_features was replaced": lambda m: setattr(m, "forward_features", m.forward_features),
    r"head has parametrised weights": lambda m: parametrizations.weight_norm(m.head),
    r"blocks\.0\.mlp\.fc1 has parametrised weights": lambda m: parametrize.register_parametrization(
        m.blocks[0].mlp.fc1, "weight", nn.Identity()
    ),
    r"head\.weight is quantised": quantised,
    r"head\.weight is a Packed": packed,
    r"on the meta device": lambda m: m.head.to("meta"),
    r"draws random numbers in evaluation mode": answers,
}


@pytest.mark.parametrize("message", INVALID)
def test_modules_that_do_not_compute_what_their_class_defines_raise(loaded, message):
    with pytest.raises((NotRepresentable, InputError), match=message):
        loaded(INVALID[message])


def test_the_old_weight_norm_raises(loaded):
    def change(module):
        with pytest.warns(FutureWarning):
            weight_norm(module.head)

    with pytest.raises(NotRepresentable, match=r"head has a hook \(WeightNorm\).+remove_weight_norm"):
        loaded(change)


def test_an_in_place_activation_equals_the_plain_one(loaded, images):
    """After an in-place step, a gradient rule would read the output instead of the input."""
    plain, writing = (loaded(act(lambda: nn.ReLU(inplace=flag))) for flag in (False, True))  # noqa: B023
    assert plain.fingerprint == writing.fingerprint
    assert not any(getattr(part, "inplace", False) for part in writing.module.modules())
    assert torch.equal(plain.logits(images(plain)), writing.logits(images(plain)))
