"""Inputs of discovery: methods, metrics, parameters, images and classes; errors come with a hint."""

from importlib import import_module
from inspect import unwrap
from pkgutil import iter_modules

import numpy as np
import pytest
from circuitstore.circuits import MethodUse, Metric
from circuitstore.discovery import METHODS, Method, discover, methods, score_edges
from circuitstore.errors import InputError
from circuitstore.evaluation import (
    METRICS,
    Execution,
    ImagePairs,
    measure,
    patch_edges,
    patch_nodes,
)
from circuitstore.evaluation import journal as journals
from circuitstore.models import load_model


def test_defaults_are_filled_in_and_versions_kept():
    assert METHODS.resolve("eap-ig") == MethodUse.of("eap-ig", {"steps": 5, "rule": "midpoint", "gradient": "plain"}, 1)
    assert METHODS.resolve("eap-ig", {"rule": "left"}).text == "eap-ig(gradient=plain, rule=left, steps=5)"
    assert METHODS.resolve("eap") == MethodUse.of("eap", {"gradient": "plain"})
    assert METRICS.resolve("logit") == Metric.of("logit")


def test_each_method_has_a_file_of_its_own():
    for key, method in METHODS.items():
        module = import_module(f"circuitstore.discovery.methods.{key.replace('-', '_')}")
        assert [value for value in vars(module).values() if isinstance(value, Method)] == [method]
    files = {file.name for file in iter_modules(methods.__path__)}
    assert files == {key.replace("-", "_") for key in METHODS}


@pytest.mark.parametrize(
    ("key", "params", "said"),
    [
        ("eap-gi", {}, "did you mean 'eap-ig'"),
        ("eap", {"steps": 5}, "method 'eap': unknown parameter 'steps'"),
        ("eap-ig", {"step": 5}, "did you mean 'steps'"),
        ("eap-ig", {"steps": 0}, "whole number of at least 1"),
        ("eap-ig", {"steps": 2.5}, "whole number of at least 1"),
        ("eap-ig", {"steps": True}, "whole number of at least 1"),
        ("acdc", {"threshold": float("nan")}, "a finite number, in units of the metric, got nan"),
        ("vi-cd", {"threshold": float("inf")}, "a finite number, in units of the metric, got inf"),
        ("ugs", {"rate": float("nan")}, "a number above 0"),
        ("eap-ig", {"rule": "simpson"}, "midpoint or left or right, got 'simpson'"),
    ],
)
def test_unknown_methods_and_parameters_raise(key, params, said):
    with pytest.raises(InputError, match=said):
        METHODS.resolve(key, params)


def test_unknown_metrics_and_parameters_raise():
    with pytest.raises(InputError, match="did you mean 'logit-diff'"):
        METRICS.resolve("logit_diff")
    with pytest.raises(InputError, match="metric 'logit': unknown parameter 'base'"):
        METRICS.resolve("logit", {"base": 2})


@pytest.fixture(scope="module")
def pair(toy_vit, images):
    """A function that creates pairs of a toy model's images, valid by default."""
    model = toy_vit()
    good = {"clean": images(model, 3, 1), "corrupted": images(model, 3, 2), "labels": [0, 1, 2]}
    return lambda **changes: ImagePairs.of(model, **(good | changes))


def test_the_error_names_images_that_are_not_finite(pair):
    for name, value in (("clean", float("nan")), ("corrupted", float("inf"))):
        bad = getattr(pair(), name).clone()
        bad[1, 0, 0, 0] = value
        with pytest.raises(InputError, match=f"{name}: NaN or infinite pixels in image 1"):
            pair(**{name: bad})


def test_images_and_classes_that_do_not_fit_raise(pair):
    x = pair().clean
    with pytest.raises(InputError, match=r"clean: expected a tensor \[image, 3, 8, 8\]"):
        pair(clean=x[..., :4])
    with pytest.raises(InputError, match=r"clean: expected a tensor \[image, 3, 8, 8\]"):
        pair(clean=x[:, :1])
    with pytest.raises(InputError, match="corrupted: expected at least one image"):
        pair(corrupted=x[:0])
    with pytest.raises(InputError, match=r"one image per clean image \(3\), got 2"):
        pair(corrupted=x[:2])
    with pytest.raises(InputError, match="every image equals its clean image"):
        pair(corrupted=x)
    with pytest.raises(InputError, match="labels: expected 3 class indices"):
        pair(labels=[0, 1])
    with pytest.raises(InputError, match="labels: expected 3 class indices"):
        pair(labels=np.array([0.0, 1.0, 2.0]))
    with pytest.raises(InputError, match="has classes 0 to 4, got 5"):
        pair(labels=[0, 1, 5])
    with pytest.raises(InputError, match="targets: expected 3"):
        pair(targets=[1])
    with pytest.raises(InputError, match=r"targets: .* has classes 0 to 4, got -1"):
        pair(targets=[3, -1, 3])
    with pytest.raises(InputError, match=r"hashes: expected one per image \(3\), got 1"):
        pair(hashes=["0" * 64])


def test_targets_that_are_missing_or_equal_to_the_true_classes_raise(toy_vit, pair):
    model = toy_vit()
    with pytest.raises(InputError, match="needs a target class per image"):
        measure(model, pair(), "logit-diff")
    true = pair(targets=[3, 1, 2])
    with pytest.raises(InputError, match=r"'logit-diff' .* the same for image 1, 2 \(counted from 0\)"):
        measure(model, true, "logit-diff")
    measure(model, true, "logit")
    with pytest.raises(InputError, match="did you mean 'logit-diff'"):
        measure(model, true, "logit_diff")


def test_pairs_of_another_kind_of_model_raise(toy_vit, pair):
    with pytest.raises(InputError, match=r"clean: expected a tensor \[image, 3, 16, 16\]"):
        measure(toy_vit(img_size=16), pair(), "logit")
    few = toy_vit(num_classes=2)
    with pytest.raises(InputError, match=r"labels: .* has classes 0 to 1, got 2"):
        measure(few, pair(), "logit")
    with pytest.raises(InputError, match=r"targets: .* has classes 0 to 1, got 4"):
        measure(few, pair(labels=[0, 1, 0], targets=[1, 0, 4]), "logit")
    measure(few, pair(labels=[0, 1, 0]), "logit")


def test_tensors_instead_of_pairs_raise_with_a_hint(toy_vit, pair):
    # unwrapped: without the type checks of the tests, as users call it
    with pytest.raises(InputError, match=r"expected ImagePairs, got Tensor; create them .* cs\.ImagePairs\.of\(model"):
        unwrap(measure)(toy_vit(), pair().clean, "logit")


@pytest.mark.parametrize("size", [0, 2.7, "4", True])
def test_a_batch_size_that_is_not_a_positive_whole_number_raises(toy_vit, pair, size):
    execution = Execution()
    object.__setattr__(execution, "batch_size", size)  # past the type checks of the tests, as users give it
    with pytest.raises(InputError, match=f"batch_size: expected a positive whole number, got {size!r}"):
        discover(toy_vit(), pair(), "eap", execution=execution)


@pytest.mark.parametrize("tokens", [[], [1.5], [[0]], ["a"]])
def test_tokens_that_do_not_exist_raise(toy_vit, pair, tokens):
    with pytest.raises(InputError, match="tokens: expected at least one whole number"):
        unwrap(patch_nodes)(toy_vit(), pair(), tokens=tokens)


def test_the_error_names_a_repeated_edge(toy_vit, pair):
    edges = ["input->m0", "m0->logits", "input->m0"]
    with pytest.raises(InputError, match="edges: expected each edge once, got input->m0 2 times"):
        patch_edges(toy_vit(), pair(), edges)


def test_a_journal_can_be_a_string(toy_vit, pair, tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "EVERY_S", 0.0)
    path = tmp_path / "half.npz"
    one_step, execution = METHODS.resolve("ugs", {"steps": 1}), Execution(journal=str(path))
    discover(toy_vit(depth=1), pair()[:1], one_step, execution=execution)
    assert path.exists()


def test_scores_have_the_precision_of_the_model_and_progress_is_reported(toy_module, images):
    done = []
    model = load_model(toy_module(), dtype="float64")
    pairs = ImagePairs.of(model, images(model, 5, 1), images(model, 5, 2), [0] * 5)
    execution = Execution(batch_size=2, progress=lambda *at: done.append(at))
    exact = score_edges(model, pairs, "eap", execution=execution)
    assert done == [(2, 5), (4, 5), (5, 5)] and exact.per_image.dtype == exact.mean.dtype == "float64"
    single = score_edges(load_model(toy_module()), pairs, "eap")
    assert single.per_image.dtype == single.mean.dtype == "float32"
    assert abs(single.mean - exact.mean).max() < 1e-4 * abs(exact.mean).max()
    half = score_edges(load_model(toy_module(), dtype="bfloat16"), pairs, "eap")
    assert half.per_image.dtype == "float32"
    assert abs(half.mean - exact.mean).max() < 0.1 * abs(exact.mean).max()


def test_target_minus_true_is_the_difference_of_two_logits(toy_vit, pair):
    model = toy_vit()
    difference = score_edges(model, pair(labels=[0, 1, 2], targets=[3, 4, 4]), "eap", metric="logit-diff").mean
    target, true = (score_edges(model, pair(labels=labels), "eap").mean for labels in ([3, 4, 4], [0, 1, 2]))
    assert abs(difference - (target - true)).max() < 1e-12 * max(abs(target).max(), abs(true).max())


@pytest.mark.parametrize("method", ["eap-ig", "gate-ig", "eap-ig-activations", "eap-ig-activations-as-coded"])
def test_a_single_step_at_the_clean_run_raises_for_kl(toy_vit, pair, method):
    right = {} if method.endswith("coded") else {"rule": "right"}
    with pytest.raises(InputError, match="its gradient is zero there"):
        discover(toy_vit(), pair(), METHODS.resolve(method, {"steps": 1, **right}), metric="kl")
