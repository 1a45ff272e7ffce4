"""Comparison of models on the command line and in the report, and the example of a fine-tuned model."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import numpy as np
import pytest
from circuitstore.analysis import write_report
from circuitstore.ingest import index, load_spec
from circuitstore.models import load_model
from circuitstore.store import Store
from safetensors.numpy import save_file

from .analysis.html_page import Page
from .command import refused, rows, run
from .toy_models import PLANTED, model_store  # noqa: F401

EXAMPLE = Path(__file__).parents[1] / "examples" / "finetuned"
NAMES = ("base", "random", "control")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty folder, without settings."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("CIRCUITSTORE_")]:
        monkeypatch.delenv(name)


def place(store: Store) -> tuple[str, str]:
    return "--store", str(store.location.folder)


def test_a_base_model_is_compared_with_the_others(model_store: Store) -> None:  # noqa: F811
    table = rows("compare", "--by", "model", "--base", "base", "--control", "control", *place(model_store))
    assert table.groupby("b")["class"].nunique().to_dict() == {"control": 3, "tuned": 3}
    tuned = table[table["b"] == "tuned"]
    assert (tuned["beyond_control"] >= len(PLANTED)).all() and (tuned["beyond_control"] < tuned["changed"]).all()
    assert table.loc[table["b"] == "control", "beyond_control"].isna().all()
    one = rows("compare", "--by", "model", "--base", "base", "--where", "model=tuned", *place(model_store))
    assert set(one["b"]) == {"tuned"}


def test_a_note_says_that_there_is_no_control(model_store: Store) -> None:  # noqa: F811
    done = run("compare", "--by", "model", "--base", "base", *place(model_store))
    assert done.returncode == 0 and "note: any fine-tuning changes edges" in done.stderr


@pytest.mark.parametrize(
    ("options", "stated"),
    [
        (["--base", "base"], "--base: expected --by model, got --by class"),
        (["--by", "model", "--control", "control"], "--control: expected --base MODEL"),
        (["--by", "model", "--cross", "x.parquet"], "--cross: expected --base MODEL"),
        (["--by", "model", "--base", "base", "--measure", "dice"], "--measure: with --base"),
        (["--by", "model", "--base", "base", "--cross", "x.parquet"], "x.parquet: cannot read"),
        (["--by", "model", "--base", "bases"], "unknown model 'bases'; did you mean 'base'"),
        (["--by", "model", "--base", "base", "--control", "base"], "which is the base model itself"),
    ],
)
def test_options_that_do_not_fit_raise_an_error(
    model_store: Store,  # noqa: F811
    options: list[str],
    stated: str,
) -> None:
    assert stated in refused("compare", *options, *place(model_store))


def test_the_report_compares_with_the_base_and_the_control(model_store: Store, tmp_path: Path) -> None:  # noqa: F811
    page = Page(write_report(model_store, tmp_path / "r.html", base="tuned", control="control").read_text("utf-8"))
    assert "tuned → base" in page.text and "tuned → control" in page.text
    assert "unknown model 'x'" in refused("report", "--base", "x", *place(model_store))
    assert not (tmp_path / "circuitstore-report.html").exists()


def test_the_specs_of_the_example_differ_only_in_name_and_model() -> None:
    specs = [tomllib.loads((EXAMPLE / f"{name}.toml").read_text("utf-8")) for name in NAMES]
    assert [spec.pop("name") for spec in specs] == [f"finetuned-{name}" for name in NAMES]
    models = [spec.pop("model") for spec in specs]
    assert models == ["digits", *({"timm": "digits", "checkpoint": f"{name}.safetensors"} for name in NAMES[1:])]
    assert specs[0] == specs[1] == specs[2]


@pytest.mark.slow
def test_the_example_runs_from_the_specs_to_the_table(tmp_path: Path) -> None:
    """With few images and edges, and with weights that are a little other instead of fine-tuned ones."""
    weights = {name: tensor.numpy() for name, tensor in load_model("digits").module.state_dict().items()}
    rng = np.random.default_rng(0)
    for name in NAMES[1:]:
        moved = {k: v + 0.02 * v.std() * rng.normal(size=v.shape).astype(v.dtype) for k, v in weights.items()}
        save_file(moved, tmp_path / f"{name}.safetensors")
    changes = {"per_class = 36": 'per_class = 24\nonly = ["three", "seven"]', '"eap-ig"\nsteps = "auto"': '"eap"'}
    for name in NAMES:
        text = (EXAMPLE / f"{name}.toml").read_text("utf-8")
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
        assert not index(load_spec(tmp_path / f"{name}.toml"), progress=False).failed
    where = ("--where", "metric=logit", "--where", "condition=natural")
    done = run("cross", "random.toml", "--run", "finetuned-base", *where, "--out", "cross.parquet", "--no-progress")
    assert done.returncode == 0, done.stderr
    models = ("--base", "digits", "--control", "digits/control")
    table = rows("compare", "--by", "model", *models, "--cross", "cross.parquet", *where)
    assert table[["class", "b"]].to_numpy().tolist() == [
        [name, f"digits/{other}"] for other in ("control", "random") for name in ("three", "seven")
    ]
    tuned = table[table["b"] == "digits/random"]
    assert (np.array(tuned["kept"] + tuned["lost"]) <= 24).all() and set(tuned["images"]) == {12}
    assert np.array(tuned["faithfulness_cross"]) == pytest.approx(np.array(tuned["faithfulness"]), abs=0.3)
    assert table.loc[table["b"] == "digits/control", "faithfulness_cross"].isna().all()
