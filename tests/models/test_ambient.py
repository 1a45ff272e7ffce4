"""Torch's settings in the calling program change no result, and are restored afterwards."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from circuitstore.circuits import Circuit
from circuitstore.discovery import discover, score_edges
from circuitstore.errors import InputError
from circuitstore.evaluation import (
    ImagePairs,
    completeness,
    evaluate,
    head_to_head,
    hypothesis_tests,
    magnitude_scores,
    minimality,
    patch_edges,
    patch_nodes,
    patch_path,
    random_curves,
    token_groups,
)
from circuitstore.images import image_pairs
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


@pytest.fixture(scope="module")
def pairs(model):
    return image_pairs("digits", model, "three", 2)


RESULTS = {
    "eap": lambda m, p: discover(m, p, "eap").scores.mean,
    "eap-ig, by heads": lambda m, p: score_edges(m, p, form="head", steps=8).per_image,
    "exact": lambda m, p: discover(m, p, "exact", form="block").scores.mean,
    "ugs": lambda m, p: score_edges(m, p, "ugs", form="block", steps=2).mean,
    "flow-routes": lambda m, p: discover(m, p, "flow-routes", form="block").scores.mean,
    "relp": lambda m, p: score_edges(m, p, "eap", form="block", gradient="relp").mean,
    "edges": lambda m, p: patch_edges(m, p, ["m1->logits"]).per_image,
    "nodes": lambda m, p: patch_nodes(m, p, nodes=["m1"]).per_image,
    "a path": lambda m, p: patch_path(m, p, ["m1", "m3", "logits"]).per_image,
    "head to head": lambda m, p: head_to_head(m, p, 0, 2).to_pandas().select_dtypes("number").to_numpy(),
    "a circuit": lambda m, p: np.array([evaluate(m, p, small(m)).metric_circuit]),
    "curves": lambda m, p: random_curves(m, p, sizes=[24], draws=1, form="block").to_pandas()["realised"].to_numpy(),
    "magnitudes": lambda m, p: magnitude_scores(m, p).mean,
    "completeness": lambda m, p: np.array([completeness(m, p, small(m), draws=1, steps=1).worst]),
    "minimality": lambda m, p: minimality(m, p, small(m), draws=1).to_pandas()["alone"].to_numpy(),
    "tests": lambda m, p: hypothesis_tests(m, p, small(m), tests=["equivalence"]).to_pandas()["p_value"].to_numpy(),
    "groups": lambda m, p: token_groups(m)["patches"].numpy(),
    "images": lambda m, p: image_pairs("digits", m, "three", 2).clean.numpy(),
    "labels": lambda m, p: ImagePairs.of(m, p.clean, p.corrupted, [3, 3]).labels.numpy(),
    "logits": lambda m, p: m.logits(p.clean).numpy(),
}


def small(model):
    return Circuit.from_edges(model.graph("block"), ["input->m0", "m0->m3", "m3->logits"])


@pytest.mark.parametrize("compute", RESULTS.values(), ids=RESULTS.keys())
def test_results_equal_those_of_a_plain_program(model, pairs, compute):
    expected = compute(model, pairs)
    for name, ambient in AMBIENT.items():
        with ambient():
            found = compute(model, pairs)
        assert np.array_equal(found, expected, equal_nan=True), name


def test_pairs_created_in_inference_mode_are_accepted(model, pairs):
    expected = discover(model, pairs, "eap").scores.mean
    with torch.inference_mode():
        assert not image_pairs("digits", model, "three", 2).clean.is_inference()  # the library's own images never are
        given = ImagePairs.of(model, pairs.clean.clone(), pairs.corrupted.clone(), pairs.labels.clone())
    assert given.clean.is_inference()
    assert np.array_equal(discover(model, given, "eap").scores.mean, expected)


def test_loading_equals_that_of_a_plain_program(toy_module, images, ambient):
    """A name with random weights, a module, and a CLIP."""
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
        scores = discover(ours, ImagePairs.of(ours, x, x.flip(0), [0, 1]), "eap", form="block").scores
        assert np.isfinite(scores.mean).all()


def test_a_module_created_in_inference_mode_is_accepted(toy_module, images):
    with torch.inference_mode():
        module = toy_module()
    model, plain = (load_model(m, dtype="float64") for m in (module, toy_module()))
    x = images(model)
    pairs = ImagePairs.of(model, x, x.flip(0), [0, 1])
    assert np.array_equal(discover(model, pairs, "eap").scores.mean, discover(plain, pairs, "eap").scores.mean)


def test_settings_are_restored(ambient):
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


def test_a_precision_that_cannot_be_overridden_raises(model):
    backend = torch.backends.cuda.matmul
    if not hasattr(backend, "fp32_precision"):
        pytest.skip("this torch has one setting for all backends")
    before = backend.fp32_precision
    backend.fp32_precision = "tf32"
    try:
        with pytest.raises(InputError, match=r"^torch\.backends \(fp32_precision\) sets"):
            model.logits(torch.zeros(1, 3, 64, 64))
    finally:
        backend.fp32_precision = before
    assert torch.get_float32_matmul_precision() == "highest"
