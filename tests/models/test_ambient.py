"""What a program around ours has set in torch changes no number, and is as it was afterwards."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from circuitstore.analysis.baselines import magnitude_scores, random_curves
from circuitstore.analysis.circuit_tests import hypothesis_tests
from circuitstore.analysis.completeness import completeness, minimality
from circuitstore.circuits import Circuit
from circuitstore.discovery import discover, evaluate, head_to_head, patch_edges, patch_nodes, patch_path, token_groups
from circuitstore.errors import InputError
from circuitstore.images import open_source
from circuitstore.models import load_clip, load_model, plain_torch

from ..families import build_clip
from .test_clip import CLASSES, TOKENIZER


@contextmanager
def default(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def precision(value):
    torch.set_float32_matmul_precision(value)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


AMBIENT = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "float64 by default": lambda: default(torch.float64),
    "float16 by default": lambda: default(torch.float16),
    "a default device": lambda: torch.device("meta"),
    "matrix products of bfloat16": lambda: precision("medium"),
}


@pytest.fixture(params=AMBIENT.values(), ids=AMBIENT.keys())
def ambient(request):
    return request.param


@pytest.fixture(scope="module")
def model():
    return load_model("digits")


def pairs(model, n=4):
    source = open_source("digits", model)
    images = [
        model.preprocess.normalise(np.stack([source.view(ref) for ref in source.candidates(source.classes[c])[:n]]))
        for c in (3, 8)
    ]
    return (*images, [3] * n)


ASKED = {
    "eap": lambda m, p: discover(m, *p, method="eap").scores.mean,
    "eap-ig, by heads": lambda m, p: discover(m, *p, form="head", steps=8).scores.per_image,
    "exact": lambda m, p: discover(m, *p, method="exact", form="block").scores.mean,
    "ugs": lambda m, p: discover(m, *p, method="ugs", form="block", steps=2).scores.mean,
    "flow-routes": lambda m, p: discover(m, *p, method="flow-routes", form="block").scores.mean,
    "relp": lambda m, p: discover(m, *p, method="eap", gradient="relp", form="block").scores.mean,
    "edges": lambda m, p: patch_edges(m, *p, ["m1->logits"]).per_image,
    "nodes": lambda m, p: patch_nodes(m, *p, nodes=["m1"]).per_image,
    "a path": lambda m, p: patch_path(m, ["m1", "m3", "logits"], *p).per_image,
    "head to head": lambda m, p: head_to_head(m, 0, 2, *p).to_pandas().select_dtypes("number").to_numpy(),
    "a circuit": lambda m, p: np.array([evaluate(m, small(m), *p).metric_circuit]),
    "curves": lambda m, p: random_curves(m, *p, sizes=[24], draws=1, form="block").to_pandas()["realised"].to_numpy(),
    "magnitudes": lambda m, p: magnitude_scores(m, *p[:2]).mean,
    "completeness": lambda m, p: np.array([completeness(m, small(m), *p, draws=1, steps=1).worst]),
    "minimality": lambda m, p: minimality(m, small(m), *p, draws=1).to_pandas()["alone"].to_numpy(),
    "tests": lambda m, p: hypothesis_tests(m, small(m), *p, tests=["equivalence"]).to_pandas()["p_value"].to_numpy(),
    "groups": lambda m, p: token_groups(m)["patches"].numpy(),
    "images": lambda m, p: pairs(m)[0].numpy(),
    "logits": lambda m, p: m.logits(p[0]).numpy(),
}


def small(model):
    return Circuit.from_edges(model.graph("block"), ["input->m0", "m0->m3", "m3->logits"])


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED.keys())
def test_every_answer_is_that_of_a_plain_program(model, asked):
    given = pairs(model, 2)
    expected = asked(model, given)
    for name, ambient in AMBIENT.items():
        with ambient():
            found = asked(model, given)
        assert np.array_equal(found, expected, equal_nan=True), name


def test_pairs_that_were_made_in_inference_mode_are_taken(model):
    expected = discover(model, *pairs(model), method="eap").scores.mean
    with torch.inference_mode():
        given = pairs(model)
        assert given[0].is_inference() is False  # the library's own images never are
        given = (given[0].clone(), given[1].clone(), given[2])
    assert given[0].is_inference()
    assert np.array_equal(discover(model, *given, method="eap").scores.mean, expected)


def test_a_model_is_loaded_as_in_a_plain_program(toy_module, images, ambient):
    """By name, whose weights are drawn; a module; and a CLIP."""
    clip, module = build_clip("CLIP"), toy_module().float()

    def loaded():
        return [
            load_model("test_vit", seed=3),
            load_model("digits"),
            load_model(module),
            load_clip(clip, CLASSES, tokenizer=TOKENIZER),
        ]

    expected = loaded()
    with ambient():
        found = loaded()
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.fingerprint == theirs.fingerprint
        x = images(theirs, 2).float()
        assert torch.equal(ours.logits(x), theirs.logits(x))
        assert not any(p.is_inference() for p in ours.module.parameters())
        scores = discover(ours, x, x.flip(0), [0, 1], method="eap", form="block").scores
        assert np.isfinite(scores.mean).all()


def test_a_module_that_was_made_in_inference_mode_is_taken(toy_module, images):
    with torch.inference_mode():
        module = toy_module()
    model = load_model(module, dtype="float64")
    x = images(model)
    expected = discover(load_model(toy_module(), dtype="float64"), x, x.flip(0), [0, 1], method="eap").scores.mean
    assert np.array_equal(discover(model, x, x.flip(0), [0, 1], method="eap").scores.mean, expected)


def test_all_is_as_it_was_afterwards(ambient):
    def state():
        return (
            torch.is_inference_mode_enabled(),
            torch.is_grad_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.get_default_dtype(),
            torch.empty(0).device,
            torch.get_float32_matmul_precision(),
        )

    with ambient():
        before = state()
        with plain_torch():
            assert state() == (False, state()[1], False, torch.float32, torch.device("cpu"), "highest")
        assert state() == before
        with pytest.raises(InputError), plain_torch():
            raise InputError("inside")
        assert state() == before


def test_a_precision_that_cannot_be_put_aside_is_named(model):
    backend = torch.backends.cuda.matmul
    if not hasattr(backend, "fp32_precision"):
        pytest.skip("this torch has one setting for all backends")
    before = backend.fp32_precision
    backend.fp32_precision = "tf32"
    try:
        with pytest.raises(InputError, match=r"set by torch\.backends \(fp32_precision\)"):
            model.logits(torch.zeros(1, 3, 32, 32))
    finally:
        backend.fp32_precision = before
    assert torch.get_float32_matmul_precision() == "highest"
