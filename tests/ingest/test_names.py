"""A name of a model or a data set has only one meaning in a store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from circuitstore.errors import InputError
from circuitstore.images import open_source
from circuitstore.ingest import index, parse_spec
from circuitstore.ingest.names import check_names
from circuitstore.models import ViT
from circuitstore.store import Store, open_store

SPEC = """
name = "names"
model = "digits"
[images]
source = "digits"
per_class = 8
only = ["three"]
[[condition]]
kind = "natural"
[[recipe]]
method = "eap"
[[extract]]
edges = 400
[[extract]]
edges = 479
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("names")
    index(parse_spec(SPEC), location=folder, progress=False)
    return open_store(folder)


@pytest.mark.slow
def test_the_same_model_and_images_have_no_notice(store: Store, digits_model: ViT) -> None:
    assert check_names(store, digits_model, open_source("digits", digits_model)) == ()


def test_another_model_with_the_same_name_is_an_error(store: Store, digits_model: ViT) -> None:
    tuned, source = replace(digits_model, computation="f" * 64), open_source("digits", digits_model)
    message = rf"'digits': its fingerprint is {digits_model.fingerprint[:12]}, this one's {tuned.fingerprint[:12]}"
    with pytest.raises(InputError, match=message):
        check_names(store, tuned, source)
    assert check_names(store, replace(tuned, name="tuned"), source) == ()


def test_a_model_under_a_second_name_is_reported(store: Store, digits_model: ViT) -> None:
    renamed = replace(digits_model, name="mine")
    (notice,) = check_names(store, renamed, open_source("digits", digits_model))
    assert "has this model as 'digits'" in notice


def test_other_images_under_the_same_name_are_an_error(
    store: Store, digits_model: ViT, imagenet_model: ViT, photos: Path
) -> None:
    with pytest.raises(
        InputError, match=r"data set named 'digits' with other images: none of 4 compared images is here"
    ):
        check_names(store, digits_model, open_source({"folder": photos}, imagenet_model, name="digits"))
    assert check_names(store, digits_model, open_source({"folder": photos}, imagenet_model)) == ()


def test_indexing_other_images_writes_nothing(
    store: Store, tmp_path: Path, digits_model: ViT, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.circuits()
    tuned = replace(digits_model, computation="f" * 64)
    monkeypatch.setattr("circuitstore.ingest.loading.load_model", lambda *_, **__: tuned)
    with pytest.raises(InputError, match="another model named 'digits'"):
        index(parse_spec(SPEC.replace('"names"', '"again"')), location=store.location.folder, progress=False)
    assert store.circuits().equals(before) and list(store.runs()["run"]) == ["names"]


@pytest.mark.slow
def test_the_spec_names_the_data_set(tmp_path: Path) -> None:
    index(parse_spec(SPEC.replace("per_class", 'name = "scans"\nper_class')), location=tmp_path, progress=False)
    with open_store(tmp_path) as named:
        assert set(named.circuits()["dataset"]) == {"scans"}
        assert named.query("MATCH (d:Dataset) RETURN d.name AS name").to_pandas()["name"].tolist() == ["scans"]


def test_circuits_are_flagged_and_reported(store: Store) -> None:
    flags = store.circuits().set_index("n_edges")["flag"].to_dict()
    assert flags[479] == "whole model, few images" and set(flags.values()) == {"whole model, few images", "few images"}
    found = store.query("MATCH (c:Circuit) RETURN c.n_edges AS n, c.flag AS flag").to_pandas()
    assert found.set_index("n")["flag"].to_dict() == flags
    again = index(parse_spec(SPEC), location=store.location.folder, progress=False)
    (notice,) = [n for n in again.notices if "flagged" in n]
    assert notice.startswith("2 of 2 circuits are flagged (few images: three; whole model, few images: three)")
