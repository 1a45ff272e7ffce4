"""Neurons are read where fc2 reads them; a run with the same values is the model, and one with others is that MLP."""

import pytest
import torch
import torch.nn.functional as F
from circuitstore.errors import InputError, NotRepresentable
from circuitstore.models import load_model, n_neurons, neuron_run, neuron_tokens
from timm.layers.mlp import GatedMlp, GluMlp, SwiGLU
from torch import nn

from ..families import FAMILIES, build

OPTIONS = {
    "plain": {},
    "norm in the MLP": {"scale_mlp_norm": True},
    "SwiGLU with a norm": {"mlp_layer": SwiGLU, "scale_mlp_norm": True},
    "gate last": {"mlp_layer": GluMlp},
    "LayerScale, registers": {"init_values": 0.3, "reg_tokens": 2},
    "average of all tokens": {"global_pool": "avg", "class_token": False},
}


def written_out(block, values):
    """The values that fc2 reads, in plain torch; timm uses GELU in every kind of MLP."""
    mlp, read = block.mlp, block.norm2(values)
    if isinstance(mlp, SwiGLU):
        return mlp.norm(F.gelu(mlp.fc1_g(read)) * mlp.fc1_x(read))
    if isinstance(mlp, GluMlp):
        first, second = mlp.fc1(read).chunk(2, dim=-1)
        return mlp.norm(first * F.gelu(second))
    return mlp.norm(F.gelu(mlp.fc1(read)))


@pytest.mark.parametrize("tokens", ["class", "patches", "all"])
@pytest.mark.parametrize("option", OPTIONS)
def test_neurons_are_what_fc2_reads(toy_vit, images, option, tokens):
    model = toy_vit(**OPTIONS[option])
    if tokens == "class" and option == "average of all tokens":
        tokens = "all"
    stream, places = model.embed(images(model, 3)), neuron_tokens(model, tokens)
    run = neuron_run(model, stream, tokens)
    assert torch.equal(run.logits, model.logits(images(model, 3)))
    for block, neurons in zip(model.blocks, run.neurons, strict=True):
        middle = stream + block.ls1(block.attn(block.norm1(stream)))
        expected = written_out(block, middle)
        torch.testing.assert_close(neurons, expected[:, places], rtol=1e-12, atol=1e-12)
        stream = middle + block.ls2(block.mlp.fc2(expected))
    assert n_neurons(model) == run.neurons[0].shape[-1]


@pytest.mark.parametrize("tokens", ["class", "patches", "all"])
def test_the_same_values_give_the_same_run_bitwise(toy_vit, images, tokens):
    model = toy_vit(reg_tokens=1)
    stream = model.embed(images(model, 1))
    plain, same = neuron_run(model, stream, tokens), neuron_run(model, stream, tokens, lambda _, values: 1 * values)
    assert torch.equal(plain.logits, same.logits)
    assert all(torch.equal(*pair) for pair in zip(plain.neurons, same.neurons, strict=True))


def test_a_change_reaches_the_chosen_tokens_only(toy_vit, images):
    model = toy_vit(reg_tokens=1, depth=1)
    stream = model.embed(images(model, 2))
    for tokens, places in (("class", [0]), ("patches", [2, 3, 4, 5]), ("all", range(6))):
        seen = []
        hook = model.blocks[0].mlp.fc2.register_forward_hook(lambda _, args, __, into=seen: into.append(args[0]))
        neuron_run(model, stream, tokens)
        neuron_run(model, stream, tokens, lambda _, values: 0 * values)
        hook.remove()
        changed = (seen[0] != seen[1]).any(dim=-1).any(dim=0)
        assert changed.nonzero().flatten().tolist() == list(places)


def test_gradients_flow_to_the_neurons(toy_vit, images):
    """Central differences in single neurons."""
    model = toy_vit()
    stream = model.embed(images(model, 2))
    with torch.enable_grad():
        run = neuron_run(model, stream, "class", lambda _, values: values.detach().requires_grad_())
        slopes = torch.autograd.grad(run.logits[:, 1].sum(), run.neurons)
    for layer, neuron in ((0, 5), (1, 17), (2, 63)):
        found = []
        for step in (1e-5, -1e-5):

            def moved(at, values, step=step, layer=layer, neuron=neuron):
                if at < layer:
                    return values
                if at > layer:
                    return run.neurons[at].detach()
                return values + step * F.one_hot(torch.tensor(neuron), values.shape[-1])

            found.append(neuron_run(model, stream, "class", moved).logits[:, 1])
        assert torch.allclose((found[0] - found[1]) / 2e-5, slopes[layer][:, 0, neuron], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("family", [*FAMILIES, "CLIP"])
def test_every_family_has_neurons(images, family):
    model = load_model(build(family), dtype="float64")
    batch = images(model, 1)
    assert torch.equal(neuron_run(model, model.embed(batch), "all").logits, model.logits(batch))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"class_token": False, "global_pool": "avg"}, "it has no class token"),
        ({"class_token": False, "global_pool": "map"}, "it has no class token"),
        ({"global_pool": "avg"}, r"does not read it \(global_pool='avg'\)"),
        ({"global_pool": "map"}, r"does not read it \(global_pool='map'\)"),
    ],
)
def test_the_class_token_is_refused_where_the_classifier_does_not_read_it(toy_vit, changes, reason):
    with pytest.raises(InputError, match=reason + ".*use tokens='all' or tokens='patches'"):
        neuron_tokens(toy_vit(**changes), "class")


def test_other_names_are_refused(toy_vit):
    with pytest.raises(InputError, match="tokens: unknown name 'clas'; did you mean 'class'"):
        neuron_tokens(toy_vit(), "clas")


def test_mlps_without_neurons_are_refused(toy_vit):
    with pytest.raises(NotRepresentable, match=r"blocks\.0\.mlp is a GatedMlp"):
        n_neurons(toy_vit(mlp_layer=GatedMlp))


def test_mlps_of_several_widths_are_refused(toy_module):
    module = toy_module()
    mlp = module.blocks[1].mlp
    mlp.fc1, mlp.fc2 = nn.Linear(16, 48).double(), nn.Linear(48, 16).double()
    with pytest.raises(NotRepresentable, match=r"different numbers of neurons \(48, 64\)"):
        n_neurons(load_model(module, dtype="float64"))
