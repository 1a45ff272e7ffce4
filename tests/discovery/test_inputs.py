"""What discovery is asked: methods, metrics, parameters, images and classes, each refused with the way out."""

from importlib import import_module
from inspect import unwrap
from pkgutil import iter_modules

import numpy as np
import pytest
from circuitstore.circuits import EdgeScores, MethodUse, Metric
from circuitstore.discovery import (
    METHODS,
    METRICS,
    Method,
    discover,
    get_method,
    get_metric,
    methods,
    patch_edges,
    patch_nodes,
    resolve_method,
    resolve_metric,
    score_edges,
)
from circuitstore.discovery import journal as journals
from circuitstore.errors import InputError


def test_defaults_are_filled_in_and_versions_kept():
    assert resolve_method("eap-ig") == MethodUse.of("eap-ig", {"steps": 5, "rule": "midpoint", "gradient": "plain"}, 1)
    assert resolve_method("eap-ig", {"rule": "left"}).text == "eap-ig(gradient=plain, rule=left, steps=5)"
    assert resolve_method("eap") == MethodUse.of("eap", {"gradient": "plain"})
    assert resolve_metric("logit") == Metric.of("logit")
    for key, method in METHODS.items():
        assert get_method(key) is method and resolve_method(key).kind == method.key == key
    for key, metric in METRICS.items():
        assert get_metric(key) is metric and resolve_metric(key).version == metric.version


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
        ("eap", {"steps": 5}, "unknown parameter of method 'eap' 'steps'"),
        ("eap-ig", {"step": 5}, "did you mean 'steps'"),
        ("eap-ig", {"steps": 0}, "whole number from 1"),
        ("eap-ig", {"steps": 2.5}, "whole number from 1"),
        ("eap-ig", {"steps": True}, "whole number from 1"),
        ("acdc", {"threshold": float("nan")}, "a finite number, in units of the metric, got nan"),
        ("vi-cd", {"threshold": float("inf")}, "a finite number, in units of the metric, got inf"),
        ("ugs", {"rate": float("nan")}, "a number above 0"),
        ("eap-ig", {"rule": "simpson"}, "midpoint or left or right, got 'simpson'"),
    ],
)
def test_what_a_method_does_not_take_is_refused_by_name(key, params, said):
    with pytest.raises(InputError, match=said):
        resolve_method(key, params)


def test_unknown_metrics_and_their_parameters_are_refused():
    with pytest.raises(InputError, match="did you mean 'logit-diff'"):
        resolve_metric("logit_diff")
    with pytest.raises(InputError, match="unknown parameter of logit 'base'"):
        resolve_metric("logit", {"base": 2})


@pytest.fixture
def asked(toy_vit, images):
    model = toy_vit()
    good = {"clean": images(model, 3, 1), "corrupted": images(model, 3, 2), "labels": [0, 1, 2]}

    def ask(**changes) -> EdgeScores:
        return score_edges(model, **{**good, **changes}, method="eap")

    ask()
    return ask


def test_images_that_are_not_finite_are_named(asked, toy_vit, images):
    for name, value in (("clean", float("nan")), ("corrupted", float("inf"))):
        bad = images(toy_vit(), 3)
        bad[1, 0, 0, 0] = value
        with pytest.raises(InputError, match=f"{name}: NaN or infinite pixels in image 1"):
            asked(**{name: bad})


def test_images_and_classes_that_do_not_fit_are_refused(asked, toy_vit, images):
    x = images(toy_vit(), 3)
    with pytest.raises(InputError, match=r"clean: expected a tensor \[image, 3, 8, 8\]"):
        asked(clean=x[..., :4])
    with pytest.raises(InputError, match=r"clean: expected a tensor \[image, 3, 8, 8\]"):
        asked(clean=x[:, :1])
    with pytest.raises(InputError, match="corrupted: expected at least one image"):
        asked(corrupted=x[:0])
    with pytest.raises(InputError, match=r"one image per clean image \(3\), got 2"):
        asked(corrupted=x[:2])
    with pytest.raises(InputError, match="labels: expected 3 class indices"):
        asked(labels=[0, 1])
    with pytest.raises(InputError, match="labels: expected 3 class indices"):
        asked(labels=np.array([0.0, 1.0, 2.0]))
    with pytest.raises(InputError, match="has classes 0 to 4, got 5"):
        asked(labels=[0, 1, 5])
    with pytest.raises(InputError, match="needs a target class per image"):
        asked(metric="logit-diff")
    with pytest.raises(InputError, match="targets: expected 3"):
        asked(metric="logit-diff", targets=[1])
    with pytest.raises(InputError, match=r"'logit-diff' .* the same for image 1, 2 \(counted from 0\)"):
        asked(metric="logit-diff", targets=[3, 1, 2])
    with pytest.raises(InputError, match="batch_size"):
        asked(batch_size=0)


@pytest.mark.parametrize("size", [0, 2.7, "4", True])
def test_a_batch_size_that_is_no_positive_whole_number_is_refused(toy_vit, images, size):
    model = toy_vit(depth=1)
    # unwrapped: without the type checks of the tests, as users call it
    with pytest.raises(InputError, match=f"batch_size: expected a positive whole number, got {size!r}"):
        unwrap(discover)(model, images(model, 2, 1), images(model, 2, 2), [0, 1], method="eap", batch_size=size)


@pytest.mark.parametrize("tokens", [[], [1.5], [[0]], ["a"]])
def test_tokens_that_are_none_are_refused(toy_vit, images, tokens):
    model = toy_vit(depth=1)
    with pytest.raises(InputError, match="tokens: expected at least one whole number"):
        unwrap(patch_nodes)(model, images(model, 1, 1), images(model, 1, 2), [0], tokens=tokens)


def test_an_edge_that_is_asked_for_twice_is_named(toy_vit, images):
    model = toy_vit(depth=1)
    edges = ["input->m0", "m0->logits", "input->m0"]
    with pytest.raises(InputError, match="edges: expected each edge once, got input->m0 2 times"):
        patch_edges(model, images(model, 1, 1), images(model, 1, 2), [0], edges)


def test_a_journal_may_be_named_by_a_text(toy_vit, images, tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "EVERY_S", 0.0)
    model = toy_vit(depth=1)
    path = tmp_path / "half.npz"
    discover(model, images(model, 1, 1), images(model, 1, 2), [0], method="ugs", journal=str(path), steps=1)
    assert path.exists()


def test_scores_have_the_precision_of_the_model_and_progress_is_told(toy_module, images):
    from circuitstore.models import load_model

    done = []
    model = load_model(toy_module(), dtype="float64")
    x, y = images(model, 5, 1), images(model, 5, 2)
    exact = score_edges(model, x, y, [0] * 5, method="eap", batch_size=2, progress=lambda *at: done.append(at))
    assert done == [(2, 5), (4, 5), (5, 5)] and exact.per_image.dtype == exact.mean.dtype == "float64"
    single = score_edges(load_model(toy_module()), x, y, [0] * 5, method="eap")
    assert single.per_image.dtype == single.mean.dtype == "float32"
    assert abs(single.mean - exact.mean).max() < 1e-4 * abs(exact.mean).max()
    half = score_edges(load_model(toy_module(), dtype="bfloat16"), x, y, [0] * 5, method="eap")
    assert half.per_image.dtype == "float32"
    assert abs(half.mean - exact.mean).max() < 0.1 * abs(exact.mean).max()


def test_target_minus_true_is_the_difference_of_two_logits(toy_vit, images):
    model = toy_vit()
    x, y = images(model, 3, 1), images(model, 3, 2)

    def eap(labels, **options):
        return score_edges(model, x, y, labels, method="eap", **options).mean

    difference = eap([0, 1, 2], targets=[3, 4, 4], metric="logit-diff")
    target, true = eap([3, 4, 4]), eap([0, 1, 2])
    assert abs(difference - (target - true)).max() < 1e-12 * max(abs(target).max(), abs(true).max())


@pytest.mark.parametrize("method", ["eap-ig", "gate-ig", "eap-ig-activations", "eap-ig-activations-as-coded"])
def test_one_step_that_ends_on_the_clean_run_is_refused_for_kl(toy_vit, images, method):
    model = toy_vit(depth=1)
    right = {} if method.endswith("coded") else {"rule": "right"}
    asked = (model, images(model, 1, 1), images(model, 1, 2), [0])
    with pytest.raises(InputError, match="its gradient is zero there"):
        discover(*asked, method=method, metric="kl", steps=1, **right)
