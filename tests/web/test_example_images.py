"""What the page of images shows: example images of a class, and read-outs that are maps of them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from circuitstore.circuits.image_maps import maps_of
from circuitstore.errors import InputError
from circuitstore.store import Store, create_store, open_store
from circuitstore.web.example_images import (
    VIEWS,
    find_maps,
    find_subjects,
    map_arrays,
    picture,
    read_sets,
    set_facts,
)
from PIL import Image

from .explored import CLASSES, CONDITIONS, HOSTILE


@pytest.fixture(scope="module")
def store(explored: Path) -> Iterator[Store]:
    with open_store(explored) as opened:
        yield opened


def test_a_page_is_about_one_class_under_all_conditions(store: Store) -> None:
    found = find_subjects(store, None, {"class": HOSTILE})
    assert found is not None
    assert found.rows["class"].tolist() == list(CLASSES) and found.first["class"] == HOSTILE
    assert found.sets["attack"].tolist() == list(CONDITIONS)
    first = find_subjects(store, "toys", {})
    assert first is not None and first.first["class"] == CLASSES[0]
    with pytest.raises(InputError, match=r"class 'tree'.*did you mean 'three'"):
        find_subjects(store, None, {"class": "tree"})


def test_a_store_without_example_images_has_no_classes_to_show(tmp_path: Path) -> None:
    with create_store(tmp_path / "empty") as store:
        assert find_subjects(store, None, {}) is None


def test_pictures_are_the_stored_pixels(store: Store) -> None:
    subjects = find_subjects(store, None, {})
    assert subjects is not None
    natural, attacked = read_sets(store, subjects)
    example = attacked.examples[0]
    views = {view: np.asarray(Image.open(io.BytesIO(picture(attacked, example.hash, view)))) for view in VIEWS}
    assert example.attacked is not None and example.amplified is not None
    assert np.array_equal(views["clean"], example.clean.pixels)
    assert np.array_equal(views["attacked"], example.attacked.pixels)
    assert np.array_equal(views["difference"], example.amplified[0])
    with pytest.raises(InputError, match="is not attacked under natural; its only view is clean"):
        picture(natural, natural.examples[0].hash, "attacked")
    with pytest.raises(InputError, match=r"view '\.\./clean'"):
        picture(natural, natural.examples[0].hash, "../clean")
    with pytest.raises(InputError, match="image"):
        picture(natural, "f" * 64, "clean")
    facts = set_facts(attacked, "typographic")
    assert facts["examples"][0]["linf"] == example.linf and facts["examples"][0]["attacked_as"] == CLASSES[0]


def test_maps_have_the_numbers_of_their_read_out(store: Store) -> None:
    subjects = find_subjects(store, None, {})
    assert subjects is not None
    found = {one["title"].partition("(")[0]: one["ids"] for one in find_maps(store, None, subjects)}
    assert set(found) == {"occlusion", "attention-patterns"}
    for ids in found.values():
        assert [text.partition("(")[0] for text in ids] == list(CONDITIONS)
        record = store.readout(ids["natural"])
        mean, each = maps_of(record, record.mean), maps_of(record, record.per_image)
        arrays, facts = map_arrays(record, record.images[1:])
        assert facts["hashes"] == list(record.images[1:]) and facts["count"] == len(record.images)
        assert arrays["mean"] * facts["scale"] == pytest.approx(mean.values, abs=facts["scale"] / 1000)
        assert arrays["images"] * facts["images_scale"] == pytest.approx(
            each.values[1:], abs=facts["images_scale"] / 1000
        )
        assert [axis["name"] for axis in facts["axes"]] == list(mean.names[:-2])
    assert "images" not in map_arrays(record, [])[0]
