"""Circuits on the images of other classes and in other models."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from circuitstore.errors import InputError
from circuitstore.ingest import Spec, cross_evaluate, index
from circuitstore.models import ViT, load_model
from circuitstore.store import open_store
from timm.models.vision_transformer import VisionTransformer


@pytest.fixture(scope="module")
def indexed(small: Spec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cross")
    assert not index(small, location=folder, progress=False).failed
    return folder


@pytest.mark.slow
def test_on_its_own_images_a_circuit_has_its_own_evaluation(small: Spec, indexed: Path) -> None:
    table = cross_evaluate(small, location=indexed)
    frame = table.frame
    own = frame[
        (frame["class"] == frame["on_class"])
        & (frame["condition"] == frame["on_condition"])
    ]  # fmt: skip
    with open_store(indexed) as store:
        records = {id: store.circuit(id) for id in frame["circuit"].unique()}
    assert len(records) == len(frame) // frame.groupby(["on_class", "on_condition", "metric"]).ngroups
    checked = 0
    for row in own.to_dict("records"):
        record = records[row["circuit"]]
        if record.item.recipe.metric.text == row["metric"] and record.item.recipe.corruption.text == row["corruption"]:
            checked += 1
            assert record.evaluation is not None
            assert row["metric_circuit"] == pytest.approx(record.evaluation.metric_circuit, rel=1e-5, abs=1e-5)
            assert row["accuracy_full"] == record.evaluation.accuracy_full
            assert row["images"] == record.evaluation.n
    assert checked == len(records)
    others = frame[frame["class"] != frame["on_class"]]
    assert len(others) and np.isfinite(others["metric_circuit"]).all()


@pytest.mark.slow
def test_circuits_run_in_another_model_of_the_same_architecture(small: Spec, indexed: Path, digits_model: ViT) -> None:
    module = copy.deepcopy(digits_model.module)
    with torch.no_grad():
        module.head.weight.mul_(2)
        module.head.bias.mul_(2)
    p = digits_model.preprocess
    preprocess = {"mean": p.mean, "std": p.std, "crop": p.crop, "interpolation": p.interpolation}
    doubled = load_model(module, name="doubled", labels=digits_model.labels, **preprocess)
    where = {"attack": "natural"}
    base, other = (cross_evaluate(small, location=indexed, model=m, where=where).frame for m in (digits_model, doubled))
    assert set(other["on_model"]) == {"doubled"} and set(other["model"]) == set(base["model"])
    assert other["metric_circuit"].to_numpy() == pytest.approx(2 * base["metric_circuit"].to_numpy(), rel=1e-4)
    assert other["accuracy_circuit"].equals(base["accuracy_circuit"])


@pytest.mark.slow
def test_what_circuits_and_images_must_have_in_common_only_leaves_rows_out(small: Spec, indexed: Path) -> None:
    whole = cross_evaluate(small, location=indexed).frame
    own = cross_evaluate(small, location=indexed, same=["class", "condition", "recipe"]).frame
    assert len(own) == own["circuit"].nunique() == whole["circuit"].nunique()
    with open_store(indexed) as store:
        for row in own.to_dict("records"):
            record = store.circuit(row["circuit"])
            item, evaluation = record.item, record.evaluation
            assert (row["on_class"], row["on_condition"]) == (item.target_class.name, item.condition.text)
            assert (row["corruption"], row["metric"]) == (item.recipe.corruption.text, item.recipe.metric.text)
            assert evaluation is not None
            assert row["metric_circuit"] == pytest.approx(evaluation.metric_circuit, rel=1e-5, abs=1e-5)
    keys = ["circuit", "on_class", "on_condition", "corruption", "metric"]
    merged = own.merge(whole, on=keys, suffixes=("", "_whole"))
    assert len(merged) == len(own) and np.allclose(merged["metric_circuit"], merged["metric_circuit_whole"])
    one = cross_evaluate(small, location=indexed, same=["condition"], where={"attack": "natural"}).frame
    assert set(one["on_condition"]) == {"natural"} and set(one["on_class"]) == set(whole["on_class"])


def test_what_cannot_be_evaluated_raises(small: Spec, indexed: Path, digits_model: ViT) -> None:
    with pytest.raises(InputError, match="run 'small': no circuit to evaluate with"):
        cross_evaluate(small, location=indexed, where={"class": "nine"})
    with pytest.raises(InputError, match=r"same 'classes'.*did you mean 'class'"):
        cross_evaluate(small, location=indexed, same=["classes"])
    with torch.random.fork_rng(devices=[]):
        module = VisionTransformer(img_size=32, patch_size=8, embed_dim=8, depth=3, num_heads=4, num_classes=10)
    p = digits_model.preprocess
    preprocess = {"mean": p.mean, "std": p.std, "crop": p.crop, "interpolation": p.interpolation}
    flat = load_model(module, name="flat", labels=digits_model.labels, **preprocess)
    with pytest.raises(InputError, match="has 4 layers of 4 heads, flat has 3 of 4; a circuit runs in models of its"):
        cross_evaluate(small, location=indexed, model=flat)
