"""Units: images that have something in common are in the same split."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from circuitstore.errors import InputError
from circuitstore.images import CONDITIONS, CORRUPTIONS, read_units, surroundings
from circuitstore.images.digits import DigitsSource
from circuitstore.images.splits import assign_splits, assign_units
from circuitstore.ingest import make_plan, parse_spec
from circuitstore.models import ViT
from hypothesis import given
from hypothesis import strategies as st

HASHES = st.lists(st.text("0123456789abcdef", min_size=8, max_size=8), unique=True, max_size=40)


@given(HASHES, st.integers(1, 3), st.data())
def test_all_images_of_a_unit_are_in_one_split(hashes: list[str], count: int, data: st.DataObject) -> None:
    classes = [hashes[i::count] for i in range(count)]
    units = {h: data.draw(st.sampled_from("abcdefgh")) for h in hashes if data.draw(st.booleans())}
    splits = assign_units(classes, units)
    assert splits.keys() == set(hashes)
    for unit in set(units.values()):
        assert len({splits[h] for h in hashes if units.get(h) == unit}) == 1


@given(HASHES)
def test_units_of_one_image_are_divided_like_images(hashes: list[str]) -> None:
    """Half of the units are for discovery, and without units the splits are those of the images."""
    assert assign_units([hashes], {}) == assign_splits(hashes)
    counts = Counter(assign_units([hashes], {h: f"unit {h}" for h in hashes}).values())
    assert counts == Counter(assign_splits(hashes).values())


def test_units_are_part_of_the_identity(digits_model: ViT, tmp_path: Path) -> None:
    plain, divided = DigitsSource(digits_model), DigitsSource(digits_model)
    three = plain.class_named("three")
    refs = plain.candidates(three)
    (tmp_path / "units.csv").write_text("\n".join(["hash,unit", *(f"{r.hash},{i // 5}" for i, r in enumerate(refs))]))
    before = plain.mean_view(8, three)
    divided.mean_view(8, three)
    divided.keep_together(read_units(divided, tmp_path / "units.csv"))
    for i in range(0, len(refs), 5):
        assert len({divided.split_of(ref) for ref in refs[i : i + 5]}) == 1
    assert (divided.mean_view(8, three) != before).any()  # a mean is over discovery images
    asked = [CONDITIONS.resolve("natural"), CORRUPTIONS.resolve("blur")]
    assert surroundings(plain, three, *asked, count=8) == ()
    (units,) = surroundings(divided, three, *asked, count=8)
    assert units.startswith("units ")


def test_a_spec_names_the_units(digits_model: ViT, tmp_path: Path) -> None:
    source = DigitsSource(digits_model)
    refs = source.candidates(source.class_named("three"))[:40]
    (tmp_path / "t.csv").write_text("\n".join(["path,unit", *(f"{r.origin},{i // 20}" for i, r in enumerate(refs))]))
    text = """
name = "units"
model = "digits"
images = { source = "digits", only = ["three"], units = { path = "t.csv" } }
condition = [{ kind = "natural" }]
recipe = [{ method = "eap", corruption = "blur" }]
extract = [{ edges = 9 }]
"""
    found = make_plan(parse_spec(text, folder=tmp_path), digits_model).source
    for some in (refs[:20], refs[20:]):
        assert len({found.split_of(ref) for ref in some}) == 1
    (tmp_path / "t.csv").write_text("path,units\n")
    with pytest.raises(InputError, match=r"images.units: .*the column 'unit' is missing; did you mean 'units'"):
        make_plan(parse_spec(text, folder=tmp_path), digits_model)
