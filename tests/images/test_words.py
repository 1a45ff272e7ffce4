"""The words of typographic attacks: by class, drawn from a list, and those of controls."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from circuitstore.errors import InputError
from circuitstore.images import CONDITIONS, CORRUPTIONS, ImageSource, contrast, open_source, target_of
from circuitstore.images.batch import Batch
from circuitstore.images.conditions import attack, words
from circuitstore.models import ViT
from hypothesis import given, settings
from hypothesis import strategies as st

VOWELS = set("aeiou")


def written(source: ImageSource, name: str = "three", seed: int = 0, **params: Any) -> str:
    found = words(CONDITIONS.resolve("typographic", params), source, source.class_named(name), seed)
    assert len(found) == 1
    return found[0]


def test_a_table_gives_each_class_its_word(digits: ImageSource) -> None:
    table = {"three": "seven", "eight": "cat"}
    assert (written(digits, text=table), written(digits, "eight", text=table)) == ("seven", "cat")
    condition = CONDITIONS.resolve("typographic", {"text": table})
    assert [target_of(condition, digits, digits.class_named(name), 0) for name in table] == [7, None]
    with pytest.raises(InputError, match="the table has no word for class 'two'; add one"):
        written(digits, "two", text=table)
    with pytest.raises(InputError, match="typographic: text: unknown class 'thre3'; did you mean 'three'"):
        written(digits, text={"thre3": "seven"})


@settings(max_examples=20)
@given(seed=st.integers(0, 50), chosen=st.sets(st.sampled_from(["one", "two", "three", "cat", "dog"]), min_size=2))
def test_a_list_gives_every_class_one_of_its_words_but_not_its_own(
    digits: ImageSource, seed: int, chosen: set[str]
) -> None:
    drawn = {cls.name: written(digits, cls.name, seed, text=sorted(chosen)) for cls in digits.classes}
    assert set(drawn.values()) <= chosen
    assert all(name != word for name, word in drawn.items())
    assert drawn == {name: written(digits, name, seed, text=sorted(chosen, reverse=True)) for name in drawn}


def test_the_draw_uses_all_words_and_depends_on_the_seed(digits: ImageSource) -> None:
    """So two disjoint lists are two attacks with no word in common."""
    half, other = ["zero", "one", "two", "three", "four"], ["five", "six", "seven", "eight", "nine"]
    drawn = [[written(digits, cls.name, seed, text=half) for cls in digits.classes] for seed in range(4)]
    assert {word for words in drawn for word in words} == set(half)
    assert len({tuple(words) for words in drawn}) == 4
    assert not {written(digits, cls.name, text=other) for cls in digits.classes} & set(half)


def test_a_list_of_only_the_own_word_raises(digits: ImageSource) -> None:
    with pytest.raises(InputError, match="every word of the list is that of class 'three'; add another word"):
        written(digits, text=["Three", "3"])


def test_a_control_keeps_the_target_of_its_attack(digits: ImageSource) -> None:
    three = digits.class_named("three")
    aim = target_of(CONDITIONS.resolve("typographic"), digits, three, 0)
    for control in ("own class", "nonsense", "no word"):
        condition = CONDITIONS.resolve("typographic", {"control": control})
        assert target_of(condition, digits, three, 0) == aim is not None


def test_the_right_word_is_that_of_the_images_class(digits: ImageSource, photos: Path, imagenet_model: ViT) -> None:
    assert [written(digits, cls.name, control="own class") for cls in digits.classes] == [
        c.name for c in digits.classes
    ]
    source = open_source({"folder": photos}, imagenet_model)
    assert written(source, "n02123045", control="own class") == "tabby"


@given(seed=st.integers(0, 200), text=st.sampled_from(["seven", "great white shark", "it", "t-shirt", "a 4x4"]))
def test_a_nonsense_word_can_be_pronounced_and_names_no_class(digits: ImageSource, seed: int, text: str) -> None:
    word = written(digits, seed=seed, text=text, control="nonsense")
    assert len(word) == len(text) and digits.class_index_of(word) is None
    for old, new in zip(text, word, strict=True):
        assert new.isalpha() if old.isalpha() else new == old
    letters = [c for c in word if c.isalpha()]
    assert all((a in VOWELS) != (b in VOWELS) for a, b in pairwise(letters))


def test_nonsense_words_differ_between_classes_and_seeds(digits: ImageSource) -> None:
    drawn = [
        written(digits, cls.name, seed, text="seven", control="nonsense") for cls in digits.classes for seed in (0, 1)
    ]
    assert len(set(drawn)) == len(drawn)


def test_without_a_nonsense_word_the_error_says_so(digits: ImageSource) -> None:
    with pytest.raises(InputError, match="no other word of the length of '4' was found that names no class"):
        written(digits, text="4", control="nonsense")


def test_no_word_covers_what_the_word_covers(digits: ImageSource) -> None:
    three, params = digits.class_named("three"), {"outline": "red", "text": "seven"}
    batch = Batch(digits, three, digits.candidates(three)[:3], (), 0)
    attacked, block = (
        attack(CONDITIONS.resolve("typographic", params | more), batch) for more in ({}, {"control": "no word"})
    )
    changed = (attacked != batch.views).any(-1)
    assert (block[changed] == [255, 0, 0]).all() and not (block == [255, 255, 255]).all(-1)[:, 24:].any()
    natural = CORRUPTIONS.resolve("mean-image")
    condition = CONDITIONS.resolve("typographic", params | {"control": "no word"})
    assert contrast(digits, three, condition, natural, count=4).word == "[seven]"


def test_no_word_needs_a_colour_for_its_block(digits: ImageSource) -> None:
    three = digits.class_named("three")
    condition = CONDITIONS.resolve("typographic", {"control": "no word", "outline": "none"})
    with pytest.raises(InputError, match="control = 'no word': the block has the outline's colour; set outline"):
        attack(condition, Batch(digits, three, digits.candidates(three)[:1], (), 0))


def test_three_regimes_differ_only_in_place_number_and_size(digits: ImageSource) -> None:
    three = digits.class_named("three")
    batch = Batch(digits, three, digits.candidates(three)[:2], (), 0)
    small = {"size": 0.12, "font": "3x5"}
    regimes = [{}, {"place": "scattered", "number": 3, **small}, {"place": "border", **small}]
    attacked = [attack(CONDITIONS.resolve("typographic", {"text": "six", **regime}), batch) for regime in regimes]
    inked = [int((views != batch.views).any(-1).sum()) for views in attacked]
    assert min(inked) > 0 and len({views.tobytes() for views in attacked}) == 3
    assert np.array_equal(attacked[0][:, :20], batch.views[:, :20])
