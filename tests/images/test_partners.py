"""Partners: the classes that a class is contrasted with, and the partner of each image."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from circuitstore.errors import InputError
from circuitstore.images import (
    CORRUPTIONS,
    ImageRef,
    ImageSource,
    class_cycle,
    contrast_classes,
    deal_partners,
    open_source,
)
from circuitstore.models import ViT
from hypothesis import given
from hypothesis import strategies as st


def names(source: ImageSource, cls: str, partners, *, seed: int = 0, count: int = 36) -> list[str]:
    corruption = CORRUPTIONS.resolve("other-class", {"partners": partners})
    return [c.name for c in contrast_classes(corruption, source, source.class_named(cls), seed=seed, count=count)]


@given(seed=st.integers(0, 20), cls=st.sampled_from(["zero", "four", "nine"]))
def test_by_default_all_other_classes_in_the_cyclic_order(digits: ImageSource, seed: int, cls: str) -> None:
    cycle = [c.name for c in class_cycle(digits.classes, seed)]
    at = cycle.index(cls)
    expected = [cycle[(at + i) % 10] for i in range(1, 10)]
    assert names(digits, cls, "all", seed=seed) == expected
    assert names(digits, cls, 3, seed=seed) == names(digits, cls, "all", seed=seed, count=3) == expected[:3]
    assert names(digits, cls, 1000, seed=seed) == expected


def test_partners_by_name(digits: ImageSource) -> None:
    assert names(digits, "three", "eight") == ["eight"]
    assert names(digits, "three", " eight,five, eight ") == ["eight", "five"]
    assert names(digits, "eight", "eight, five") == ["five"]
    with pytest.raises(InputError, match=r"partners: unknown class 'eihgt'; did you mean 'eight'"):
        names(digits, "three", "five, eihgt")
    with pytest.raises(InputError, match=r"class 'eight' cannot be contrasted with itself; add another class"):
        names(digits, "eight", "eight")


def test_a_name_with_a_comma_is_one_name(tmp_path: Path, imagenet_model: ViT, photo) -> None:
    for i, folder in enumerate(("tench, Tinca tinca", "goldfish")):
        (tmp_path / folder).mkdir()
        photo(i).save(tmp_path / folder / "a.png")
    classes = {"tench, Tinca tinca": 0, "goldfish": 1}
    source = open_source({"folder": tmp_path, "classes": classes}, imagenet_model)
    assert names(source, "goldfish", "tench, Tinca tinca") == ["tench, Tinca tinca"]


@pytest.mark.parametrize("partners", [0, -1, 1.5, True, "", " "])
def test_invalid_partners_raise(partners) -> None:
    with pytest.raises(
        InputError, match=r"corruption 'other-class': partners: expected 'all' other classes, their number"
    ):
        CORRUPTIONS.resolve("other-class", {"partners": partners})


def test_a_single_class_has_no_partner(photos: Path, imagenet_model: ViT) -> None:
    lonely = open_source({"folder": photos, "classes": {"207": 207}}, imagenet_model)
    with pytest.raises(InputError, match="needs two classes, but photos has one"):
        names(lonely, "207", "all")


POOLS = st.lists(st.integers(0, 4), min_size=1, max_size=6).map(
    lambda sizes: [[ImageRef(f"{c}/{i}", f"{c}/{i}") for i in range(size)] for c, size in enumerate(sizes)]
)


@given(pools=POOLS, count=st.integers(0, 30), start=st.integers(0, 30))
def test_classes_are_used_evenly_and_their_images_in_turn(pools: list[list[ImageRef]], count: int, start: int) -> None:
    dealt = deal_partners(pools, count, start)
    filled = [pool for pool in pools if pool]
    assert len(dealt) == (count if filled else 0)
    if not dealt:
        return
    assert [ref.hash[0] for ref in dealt] == [filled[(start + i) % len(filled)][0].hash[0] for i in range(count)]
    for pool in filled:
        mine = [ref for ref in dealt if ref in pool]
        assert abs(len(mine) - count / len(filled)) < 1
        times = Counter(mine)
        assert max(times.values(), default=0) - min((times[ref] for ref in pool), default=0) <= 1


def test_one_partner_class_pairs_image_i_with_image_i_mod_n() -> None:
    pool = [ImageRef(str(i), str(i)) for i in range(3)]
    assert deal_partners([pool], 8) == tuple(pool[i % 3] for i in range(8))
