"""What holds for every kind of read-out: types, names, parameters, settings of torch, and the caller's model."""

from contextlib import suppress

import numpy as np
import pytest
import torch
from circuitstore.circuits import Axis
from circuitstore.circuits.kinds import REQUIRED
from circuitstore.errors import InputError
from circuitstore.evaluation import READOUTS, ImagePairs, measure
from circuitstore.models import load_model

from ...reference import relative

pytestmark = pytest.mark.filterwarnings("ignore::circuitstore.errors.CircuitStoreWarning")
KEYS = [key for key, kind in READOUTS.items() if REQUIRED not in [p.default for p in kind.params.values()]]


def pairs_of(model, images):
    made = [images(model, 3, seed).to(model.dtype) for seed in (1, 2)]
    return measure(model, ImagePairs.of(model, *made, labels=[0, 1, 2], targets=[3, 4, 0], hashes="abc"), "logit")


def read(key, model, images):
    return READOUTS[key].read(model, pairs_of(model, images), READOUTS.resolve(key))


@pytest.mark.parametrize("key", KEYS)
def test_every_type_gives_nearly_the_same_numbers(toy_module, images, key):
    exact = read(key, load_model(toy_module(), dtype="float64"), images)
    for dtype, tolerance in (("float32", 1e-3), ("bfloat16", 0.3)):
        found = read(key, load_model(toy_module(), dtype=dtype), images)
        assert found.values.dtype == np.float32 or key == "attention-flow"
        assert relative(found.values, exact.values) < tolerance


@pytest.mark.parametrize("key", KEYS)
def test_images_are_the_first_axis_and_the_read_out_has_its_kind(toy_vit, images, key):
    model = toy_vit()
    found = read(key, model, images)
    assert found.axes[0] == Axis("image", (0, 1, 2)) and found.use == READOUTS.resolve(key)
    assert (found.metric is not None) == READOUTS[key].reads_metric
    forwards, backwards = READOUTS[key].passes(model, **dict(found.use.params))
    assert (forwards >= 1 or key == "random-map") and (backwards > 0) <= READOUTS[key].reads_metric
    assert len(found.mean().to_pandas()) == found.values[0].size


def wide(readouts):
    """Return the kinds with each of their parameters that change the axes."""
    changes = {"tokens": ("each", "all"), "queries": ("each",), "by": ("pixel", "head", "source-token", "neuron")}
    for key in KEYS:
        for name, values in changes.items():
            for value in values if name in readouts[key].params else ():
                with suppress(InputError):  # another kind's value
                    yield readouts.resolve(key, {name: value})
        yield readouts.resolve(key)


@pytest.mark.parametrize("use", list(wide(READOUTS)), ids=lambda use: use.text.split("(")[0] + str(len(use.text)))
def test_the_stated_numbers_are_those_of_the_axes(toy_vit, images, use):
    model, kind = toy_vit(depth=2), READOUTS[use.kind]
    found = kind.read(model, pairs_of(model, images), use)
    assert kind.numbers is not None and kind.numbers(model, **dict(use.params)) == found.values[0].size


@pytest.mark.parametrize("key", KEYS)
def test_settings_of_torch_around_it_change_nothing(toy_vit, images, key):
    model = toy_vit()
    plain = read(key, model, images).values
    with torch.inference_mode():
        assert np.array_equal(read(key, model, images).values, plain)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(read(key, model, images).values, plain)


@pytest.mark.parametrize("key", KEYS)
def test_the_model_keeps_no_hook_and_no_gradient(toy_vit, images, key):
    model = toy_vit()
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    read(key, model, images)
    parts = list(model.module.modules())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in parts)
    assert all(parameter.grad is None for parameter in model.module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())


@pytest.mark.parametrize("key", KEYS)
def test_a_model_that_is_not_loaded_is_named(key, toy_module, toy_vit, images, unchecked):
    pairs = pairs_of(toy_vit(), images)
    with pytest.raises(InputError, match="model: expected a loaded model, got VisionTransformer"):
        READOUTS[key].read(toy_module(), pairs, READOUTS.resolve(key))


def test_an_unknown_kind_or_parameter_is_named():
    with pytest.raises(InputError, match="unknown read-out 'logit-lense'; did you mean 'logit-lens'"):
        READOUTS.resolve("logit-lense")
    with pytest.raises(InputError, match="read-out 'logit-lens': unknown parameter 'nrom'; did you mean 'norm'"):
        READOUTS.resolve("logit-lens", {"nrom": False})
