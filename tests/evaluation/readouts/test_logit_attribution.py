"""Direct logits of every supported model: they sum to the logits, and equal gradients with detached scales."""

import copy

import numpy as np
import pytest
import torch
from circuitstore.errors import InputError, NotRepresentable
from circuitstore.evaluation import logit_attribution
from circuitstore.models import LinearReadout, capture, load_model, pool_weights
from circuitstore.models.zero_shot import ZeroShotHead
from torch import nn

from ...detached import follow
from ...readout_models import LINEAR, NOT_LINEAR, load
from ...reference import relative

pytestmark = pytest.mark.filterwarnings("ignore::circuitstore.errors.CircuitStoreWarning")
WAYS = ["component", "head", "source-token", "neuron"]


class DetachedLength(nn.Module):
    """A zero-shot head whose division by the embedding's length is detached."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, z):
        logits = self.head.scale.exp() * (z / z.norm(dim=-1, keepdim=True).detach()) @ self.head.text.T
        return logits if self.head.bias is None else logits + self.head.bias


def by_gradient(model, final, part):
    """Return the logits of a part of the stream: its product with the gradient at the stream, with detached scales."""
    module = copy.deepcopy(model.module)
    pool, module.attn_pool = module.attn_pool, None
    follow(module, "gim").attn_pool = pool
    for layers in [m for m in module.modules() if isinstance(m, nn.Sequential)]:
        for index, layer in enumerate(layers):
            if isinstance(layer, ZeroShotHead):
                layers[index] = DetachedLength(layer)
    read = final.clone().requires_grad_()
    with torch.enable_grad():
        logits = module.forward_head(module.norm(read))
        rows = [torch.autograd.grad(logits[:, c].sum(), read, retain_graph=True)[0] for c in range(model.n_classes)]
    return torch.stack([(row * part).sum(dim=(1, 2)) for row in rows], dim=1).numpy()


@pytest.mark.parametrize("name", LINEAR)
def test_components_sum_to_the_logits(name, images):
    model = load(name)
    x = images(model, 3)
    direct, logits = logit_attribution(model, x), model.logits(x).numpy()
    assert np.abs(direct.values.sum(axis=1) - logits).max() < 1e-10
    assert relative(direct.values.sum(axis=1), logits, of=direct.values) < 1e-13
    assert np.abs(direct.select(component="bias").values).max() > 1e-3


@pytest.mark.parametrize("name", LINEAR)
def test_senders_have_the_products_with_the_gradient(name, images, brute_force):
    model = load(name)
    x = images(model, 2)
    graph = model.graph("head")
    direct = logit_attribution(model, x)
    _, sent = brute_force(model.module, graph).run(model.embed(x), lambda _, value: value)
    final = capture(model, x).final
    for sender, part in zip(graph.senders, sent, strict=True):
        expected = by_gradient(model, final, part.detach())
        assert relative(direct.select(component=sender).values, expected, of=direct.values) < 1e-12


@pytest.mark.parametrize("name", LINEAR)
def test_heads_are_the_sums_of_their_source_tokens_and_mlps_of_their_neurons(name, images):
    model = load(name)
    x = images(model, 2)
    whole, heads, tokens, neurons = (logit_attribution(model, x, by=way) for way in WAYS)
    names = [[f"a{layer}.h{head}" for head in range(model.n_heads)] for layer in range(model.n_layers)]
    for layer, row in enumerate(names):
        assert np.array_equal(whole.select(component=row).values, heads.select(layer=layer).values)
        mlp = neurons.select(layer=layer).values.sum(axis=1)
        assert relative(mlp, whole.select(component=f"m{layer}").values, of=whole.values) < 1e-12
    assert relative(tokens.values.sum(axis=3), heads.values, of=whole.values) < 1e-12


@pytest.mark.parametrize("name", LINEAR)
def test_pool_weights_pool_as_the_model(name, images):
    model = load(name)
    final = capture(model, images(model, 2)).final
    weights = pool_weights(model)
    assert torch.allclose(weights.sum(dim=1), torch.ones(len(weights), dtype=torch.float64))
    frozen = LinearReadout.of(model, final)
    assert torch.allclose(frozen.logits(final) + frozen.bias, model.readout(final), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["plain", "CLIP"])
@pytest.mark.parametrize("head", [1, 3])
def test_a_source_token_adds_what_is_lost_without_its_value(name, head, images):
    """Zero the value that a head of the last layer reads from one token, with the norm frozen by hand."""
    model = load(name)
    x = images(model, 2)
    layer, width = model.n_layers - 1, model.d_head
    run = capture(model, x)
    frozen = LinearReadout.of(model, run.final)
    found = logit_attribution(model, x, by="source-token").select(layer=layer, head=head)
    rows = slice((2 * model.n_heads + head) * width, (2 * model.n_heads + head + 1) * width)
    for token in range(model.n_tokens):

        def without(_, __, out, token=token):
            out = out.clone()
            out[:, token, rows] = 0
            return out

        hook = model.blocks[layer].attn.qkv.register_forward_hook(without)
        changed = capture(model, x).heads[layer]
        hook.remove()
        lost = (run.heads[layer] - changed).unflatten(-1, (model.n_heads, width))[:, :, head]
        expected = frozen.logits(lost @ model.writings[layer][head]).numpy()
        assert relative(found.select(token=token).values, expected, of=found.values) < 1e-12


@pytest.mark.parametrize("way", WAYS)
def test_classes_are_chosen_by_name_or_index(way, digits_model, digits):
    import circuitstore as cs

    x = cs.image_pairs(digits, digits_model, "three", n=3).clean
    some = logit_attribution(digits_model, x, by=way, classes=["three", 0])
    whole = logit_attribution(digits_model, x, by=way)
    assert some.axis("class").labels == ("three", "zero")
    assert np.allclose(some.values, whole.select(**{"class": ["three", "zero"]}).values, rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="unknown label of axis 'class' 'tree'; did you mean 'three'"):
        logit_attribution(digits_model, x, classes=["tree"])
    for wrong in ("three", []):
        with pytest.raises(InputError, match="class: expected a list of labels"):
            logit_attribution(digits_model, x, classes=wrong)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_batches_do_not_change_the_sums(toy_vit, images, batch_size):
    from circuitstore.evaluation import Execution

    model = toy_vit(img_size=12, global_pool="avg", class_token=False)
    x = images(model, 3)
    for way in WAYS:
        found = logit_attribution(model, x, by=way, execution=Execution(batch_size=batch_size))
        assert relative(found.values, logit_attribution(model, x, by=way).values) < 1e-12


@pytest.mark.parametrize("name", NOT_LINEAR)
def test_map_pooling_raises_an_error_that_names_it(name, images):
    model = load(name)
    with pytest.raises(InputError, match="pools its tokens by 'map', which is not linear"):
        logit_attribution(model, images(model, 1))


@pytest.mark.parametrize("pool", ["max", "avgmax"])
def test_other_poolings_raise_an_error_that_names_them(toy_vit, images, pool):
    model = toy_vit(global_pool=pool, class_token=False)
    with pytest.raises(InputError, match=f"pools its tokens by '{pool}', which is not linear"):
        logit_attribution(model, images(model, 1))


def test_a_head_with_an_activation_raises_an_error_that_names_it(toy_module, images):
    module = toy_module()
    module.head = nn.Sequential(nn.Linear(16, 8), nn.GELU(), nn.Linear(8, 5)).double()
    model = load_model(module, dtype="float64")
    with pytest.raises(InputError, match=r"head\.1 of .+ is a GELU, which is not linear in the stream"):
        logit_attribution(model, images(model, 1))


def test_an_mlp_without_a_last_layer_has_no_neurons(toy_module, images):
    module = toy_module()
    module.blocks[1].mlp = nn.Sequential(nn.Linear(16, 8), nn.GELU(), nn.Linear(8, 16)).double()
    model = load_model(module, dtype="float64")
    x = images(model, 2)
    assert np.abs(logit_attribution(model, x).values.sum(axis=1) - model.logits(x).numpy()).max() < 1e-10
    with pytest.raises(NotRepresentable, match=r"blocks\.1\.mlp is a Sequential; neurons are defined for"):
        logit_attribution(model, x, by="neuron")


def test_an_unknown_way_is_named(toy_vit, images):
    model = toy_vit()
    with pytest.raises(InputError, match="by: expected component or head or source-token or neuron, got 'layer'"):
        logit_attribution(model, images(model, 1), by="layer")
