"""Properties of every method: without contrast all scores are zero, and permuted heads permute the scores."""

import numpy as np
import pytest
import torch
from circuitstore.discovery import METHODS, discover
from circuitstore.errors import CircuitStoreWarning, InputError
from circuitstore.evaluation import ImagePairs
from circuitstore.models import load_model

from ..reference import LABELS, blind, logits_of, relative, unseen

pytestmark = pytest.mark.filterwarnings("ignore::circuitstore.errors.CircuitStoreWarning")

FORMS = [(key, form) for key, method in METHODS.items() for form in method.forms]
SEEDED = ("ugs", "edge-pruning")
"""Whose noise is drawn edge by edge."""
RANKINGS = (*SEEDED, "iterative-pruning", "iterative-expansion")
"""Whose answer is an order of the edges, whatever they carry."""
NO_CONTRAST = ("flow-routes",)
"""Which do not look at the corrupted images."""


def ask(model, pairs, method, form, **params):
    """Run with few steps, and with a threshold that no edge reaches."""
    given = METHODS[method].params
    few = {"steps": 2, "fraction": 0.4, "threshold": -1.0, "absolute": True}
    few = {name: value for name, value in few.items() if name in given}
    return discover(model, pairs, METHODS.resolve(method, few | params), form=form)


@pytest.mark.parametrize("method", [key for key in METHODS if key not in (*NO_CONTRAST, *RANKINGS)])
def test_without_contrast_all_scores_are_zero(toy_module, images, method):
    """Methods that select keep no edge."""
    model = load_model(blind(toy_module(depth=2)), dtype="float64")
    x, form = images(model, 2), METHODS[method].forms[0]
    pairs = ImagePairs.of(model, x, unseen(x), LABELS)
    found = ask(model, pairs, method, form, **{"threshold": 1e-9} if METHODS[method].selects else {})
    assert relative(found.scores.per_image, 0, of=logits_of(model, x)) < 1e-12
    if METHODS[method].selects:
        assert not found.members.any()


@pytest.mark.parametrize("method", [key for key in METHODS if key not in (*NO_CONTRAST, *RANKINGS)])
def test_an_equal_pair_among_others_scores_zero(toy_vit, images, method):
    model = toy_vit(depth=2)
    x, y = images(model, 2, 1), images(model, 2, 2)
    y[0] = x[0]
    with pytest.warns(CircuitStoreWarning, match=r"1 of 2 images equal their clean images: 0 \(counted from 0\)"):
        pairs = ImagePairs.of(model, x, y, LABELS)
    found = ask(model, pairs, method, METHODS[method].forms[0])
    scores = found.scores.per_image
    assert relative(scores[0], 0, of=[*logits_of(model, x, y).ravel(), *scores[1]]) < 1e-12


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("method", RANKINGS)
def test_without_contrast_rankings_raise(toy_module, images, method, dtype):
    """For methods whose answer is an order of the edges."""
    model = load_model(blind(toy_module(depth=2)), dtype=dtype)
    x = images(model, 2)
    pairs = ImagePairs.of(model, x, unseen(x), LABELS)
    with pytest.raises(InputError, match="'logit' is the same on clean and corrupted images, so no edge matters"):
        ask(model, pairs, method, "attention")


ORDER = torch.tensor([2, 0, 3, 1])


@pytest.fixture(scope="module")
def permuted(toy_module):
    """A model, and the same model with the heads of its second layer in another order.

    It has no class token: its contribution to the query of the last layer would be 0 on all images, and ties have no
    order.
    """
    module = toy_module(1, depth=2, class_token=False, global_pool="avg")
    model, attn = load_model(module, dtype="float64"), module.blocks[1].attn
    with torch.no_grad():
        for tensor in (attn.qkv.weight, attn.qkv.bias):
            tensor.copy_(tensor.unflatten(0, (3, 4, 4))[:, ORDER].flatten(0, 2))
        attn.proj.weight.copy_(attn.proj.weight.unflatten(1, (4, 4))[:, ORDER].flatten(1))
    return model, load_model(module, dtype="float64")


def old_places(graph):
    """Return, for each edge of the permuted model, its index in the other model."""
    old_name = {f"a1.h{new}": f"a1.h{int(old)}" for new, old in enumerate(ORDER)}
    edges = [graph.edge(i) for i in range(graph.n_edges)]
    index = {(e.sender, e.receiver, e.port): i for i, e in enumerate(edges)}
    renamed = lambda e: (old_name.get(e.sender, e.sender), old_name.get(e.receiver, e.receiver), e.port)  # noqa: E731
    return np.array([index[renamed(e)] for e in edges])


@pytest.mark.slow
@pytest.mark.parametrize(("method", "form"), [(m, form) for m, form in FORMS if m not in SEEDED])
def test_permuted_heads_permute_the_scores(permuted, images, method, form):
    """Methods that decide edges one by one remove none here, since otherwise the order of the heads matters."""
    x, y = images(permuted[0], 2, 1), images(permuted[0], 2, 2)
    pairs = ImagePairs.of(permuted[0], x, y, LABELS)
    before, after = (ask(model, pairs, method, form).scores for model in permuted)
    for name in ("signed", "additive", "shares"):
        assert getattr(before, name) == getattr(METHODS[method], name)
    same = old_places(before.graph)
    assert (same != np.arange(len(same))).any() == (form != "block")
    subtracted = [*logits_of(permuted[0], x, y).ravel(), *before.mean] if before.signed else before.mean
    assert relative(after.mean, before.mean[same], of=subtracted) < 1e-11
    assert np.ptp(before.mean) > 0
