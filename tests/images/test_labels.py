"""Matching folder names to logits: ImageNet's names and ids, indices, own labels, tables, and errors."""

from __future__ import annotations

import pytest
from circuitstore.errors import InputError
from circuitstore.images.labels import Labels, Match, match_classes
from hypothesis import given
from hypothesis import strategies as st
from timm.data import ImageNetInfo

IMAGENET = Labels.of_model(None, 1000)
TIMM = ImageNetInfo()


def match(*names: str, labels: Labels = IMAGENET, table: dict[str, int] | None = None) -> list[Match]:
    return match_classes(names, labels, table, "photos", "folder")


@pytest.mark.parametrize(
    "name", ["tabby", "Tabby Cat", "tabby_cat", "TABBY", "n02123045", "281", " tabby  cat ", "tabby, tabby cat"]
)
def test_every_way_to_write_tabby(name: str) -> None:
    assert IMAGENET.find(name) == 281


def test_wordnet_ids_find_their_class_in_timms_order() -> None:
    assert [IMAGENET.find(wnid) for wnid in TIMM.label_names()] == list(range(1000))


@given(st.integers(0, 999), st.booleans())
def test_every_name_finds_its_class_or_is_ambiguous(index: int, upper: bool) -> None:
    for name in TIMM.index_to_description(index).split(", "):
        found = IMAGENET.find(name.upper() if upper else name)
        assert found == index or (found is None and "2 classes" in IMAGENET.explain_missing(name))


def test_the_word_of_an_id_is_the_first_name() -> None:
    assert [m.word for m in match("n02123045", "207", "Tiger cat")] == ["golden retriever", "tabby", "Tiger cat"]
    assert match("9", labels=Labels.of_model(("a", "b"), 2), table={"9": 1})[0].word == "b"


def test_matches_are_sorted_by_class() -> None:
    assert [m.index for m in match("tabby", "tench", "207")] == [0, 207, 281]


def test_crane_is_a_bird_and_a_machine() -> None:
    with pytest.raises(InputError, match="'crane' is the name of 2 classes: 134, 517"):
        match("crane", "tabby")


def test_the_error_lists_all_unknown_names_with_suggestions() -> None:
    with pytest.raises(
        InputError, match=r"'taby' is not a class \(did you mean 'tabby'.*\?\); 'xqzw' is not a class\. Rename"
    ):
        match("taby", "tench", "xqzw")


def test_unknown_labels_leave_indices() -> None:
    labels = Labels.of_model(None, 7)
    assert labels.find("6") == 6
    with pytest.raises(InputError, match=r"class indices \(0 to 6 always work\), but '7' is not a class"):
        match("7", labels=labels)


def test_own_labels_come_before_indices() -> None:
    labels = Labels.of_model(("9", "Dog", "2"), 3)
    assert [labels.find(n) for n in ("9", "dog", "2", "1", "0")] == [0, 1, 2, 1, 0]
    assert labels.find("tabby") is None


def test_the_parts_of_a_label_are_names_unless_they_are_labels() -> None:
    labels = Labels.of_model(("crane", "crane, machine", "goldfish, Carassius auratus", "box, machine"), 4)
    names = ("crane", "crane, machine", "Goldfish", "carassius_auratus", "goldfish, Carassius auratus", "box")
    assert [labels.find(name) for name in names] == [0, 1, 2, 2, 2, 3]
    assert labels.find("machine") is None and "2 classes" in labels.explain_missing("machine")
    assert labels.words[2] == "goldfish, Carassius auratus"


def test_indices_beyond_the_logits_and_other_digits_are_not_classes() -> None:
    assert [IMAGENET.find(n) for n in ("1000", "-1", "²", "٣")] == [None] * 4


def test_a_table_selects_its_folders() -> None:
    assert match("my cat", "rest", table={"my cat": 281}) == [Match("my cat", 281, "my cat")]


@pytest.mark.parametrize("index", [1000, -1, True, 2.0, "281"])
def test_a_table_with_an_invalid_index_raises(index: object) -> None:
    with pytest.raises(InputError, match=r"classes\.cat: expected a class index, 0 to 999, got"):
        match("cat", table={"cat": index})


def test_a_table_with_a_misspelt_folder_raises() -> None:
    with pytest.raises(InputError, match="has 'kat', but there is no such folder; did you mean 'cat'"):
        match("cat", "dog", table={"kat": 281})


@pytest.mark.parametrize("table", [None, {"tabby": 281, "n02123045": 281}])
def test_two_folders_of_one_class_raise(table: dict[str, int] | None) -> None:
    with pytest.raises(InputError, match="'tabby' and 'n02123045' are both class 281"):
        match("tabby", "n02123045", table=table)


def test_accents_match_whatever_their_encoding() -> None:
    labels = Labels.of_model(("café", "thé"), 2)
    assert labels.find("cafe\u0301") == 0
