"""The words of typographic attacks: by class, drawn from a list, and those of controls."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from circuitstore.errors import InputError
from circuitstore.images import (
    CONDITIONS,
    CORRUPTIONS,
    SPLITS,
    ImageSource,
    Predictions,
    contrast,
    notice_of,
    open_source,
    surroundings,
    target_of,
    targets_of,
)
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


HALF, OTHER = ["zero", "one", "two", "three", "four"], ["five", "six", "seven", "eight", "nine"]


def test_report_images_have_the_held_out_words(digits: ImageSource, digits_model: ViT) -> None:
    """Each image is that of the condition with the words of its split only, whatever it is batched with."""
    predictions = Predictions(digits, digits_model)
    both = CONDITIONS.resolve("typographic", {"text": HALF, "held_out": OTHER})
    of_split = {
        split: CONDITIONS.resolve("typographic", {"text": OTHER if split == "report" else HALF}) for split in SPLITS
    }
    for name in ("three", "eight"):
        cls = digits.class_named(name)
        refs = digits.candidates(cls)[:9]
        assert {digits.split_of(ref) for ref in refs} == set(SPLITS)
        together = predictions.views(cls, refs, both)
        targets, turned = predictions.targets(cls, refs, both), predictions.successful(cls, refs, both)
        assert targets is not None
        for i, ref in enumerate(refs):
            own = of_split[digits.split_of(ref)]
            assert np.array_equal(together[i], predictions.views(cls, [ref], own)[0])
            assert targets[i] == target_of(own, digits, cls, 0)
            assert turned[i] == predictions.successful(cls, [ref], own)[0]


def test_both_words_and_targets_are_named_and_part_of_the_question(digits: ImageSource) -> None:
    three, blur = digits.class_named("three"), CORRUPTIONS.resolve("blur")
    both = CONDITIONS.resolve("typographic", {"text": "seven", "held_out": "two"})
    assert words(both, digits, three, 0) == ("seven", "two") and targets_of(both, digits, three, 0) == (7, 2)
    named = contrast(digits, three, both, blur, count=4)
    assert (named.word, named.target) == ("seven / two", "seven / two")
    around = surroundings(digits, three, both, blur, count=4)
    assert around == ("seven", "two", "target 7", "target 2")
    one = CONDITIONS.resolve("typographic", {"text": "seven"})
    assert targets_of(one, digits, three, 0) == (7,) and around != surroundings(digits, three, one, blur, count=4)


def test_held_out_words_leave_other_conditions_unchanged(digits: ImageSource) -> None:
    condition = CONDITIONS.resolve("typographic", {"text": "seven"})
    assert "held_out" not in condition.text
    controls = CONDITIONS.resolve("typographic", {"text": "seven", "held_out": "two", "control": "nonsense"})
    three = digits.class_named("three")
    first, second = words(controls, digits, three, 0)
    assert first != second and (len(first), len(second)) == (len("seven"), len("two"))
    assert targets_of(controls, digits, three, 0) == (7, 2)


def test_a_word_in_both_lists_is_reported() -> None:
    condition = CONDITIONS.resolve("typographic", {"text": HALF, "held_out": [*OTHER, "two"]})
    assert notice_of(condition) == "typographic: held_out: 'two' is in text, too: it is not held out"
    assert notice_of(CONDITIONS.resolve("typographic", {"text": HALF, "held_out": OTHER})) is None
    assert notice_of(CONDITIONS.resolve("typographic", {"text": "other class", "held_out": "iPod"})) is None
