"""What the comparison page shows: groups of circuits, similarities and noise floors as arrays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from circuitstore.errors import InputError
from circuitstore.query import similarity_matrix
from circuitstore.store import Store, open_store
from circuitstore.web import comparison
from circuitstore.web.arrays import packed
from circuitstore.web.comparison import (
    Wanted,
    compare_group,
    facts_of,
    find_groups,
    half,
    pairs_table,
    with_noise_floors,
)
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load

from .explored import CLASSES


@pytest.fixture(scope="module")
def store(explored: Path) -> Iterator[Store]:
    with open_store(explored) as opened:
        yield opened


def wanted(by: str = "class", measure: str = "jaccard", **equals: str) -> Wanted:
    return Wanted(by, measure, None, False, equals)


def test_groups_are_told_apart_by_the_fields_in_which_they_differ(store: Store) -> None:
    by_class = find_groups(store, "class", "toys", flagged=False)
    assert by_class.varying == ["condition"] and by_class.sizes == [4, 4]
    by_condition = find_groups(store, "condition", None, flagged=False)
    assert by_condition.varying == ["class"] and by_condition.sizes == [2, 2, 2, 2]
    assert {one["class"] for one in by_condition.common} == set(CLASSES)
    assert find_groups(store, "method", None, flagged=True).common == []


def test_each_group_that_is_listed_is_shown(store: Store) -> None:
    found = find_groups(store, "class", None, flagged=False)
    for common, size in zip(found.common, found.sizes, strict=True):
        compared, _ = compare_group(store, wanted(**{field: common[field] for field in found.varying}))
        assert dict(compared.group.common) == common and len(compared.group.labels) == size


@pytest.mark.parametrize("measure", ["jaccard", "spearman"])
def test_arrays_are_those_of_the_similarity_matrix(store: Store, measure: str) -> None:
    compared, notes = compare_group(store, wanted(measure=measure, condition="natural"))
    floored = with_noise_floors(store, compared)
    expected = similarity_matrix(store, measure=measure, condition="natural")
    assert np.array_equal(compared.similarity.values, expected.values)
    assert np.array_equal(floored.similarity.floors, expected.floors, equal_nan=True)
    assert np.isnan(compared.similarity.floors).all() and not np.isnan(floored.similarity.floors).any()
    facts = facts_of(compared, notes)
    sizes = store.members(facts["circuits"]).sum(axis=1).tolist()
    assert facts["labels"] == list(expected.labels) and facts["edges"] == sizes
    by_id = store.circuits().set_index("id")
    assert by_id.loc[facts["circuits"], "class"].tolist() == facts["labels"]


def test_a_row_per_pair_names_both_circuits(store: Store) -> None:
    compared, _ = compare_group(store, wanted(condition="natural"))
    table = pairs_table(with_noise_floors(store, compared))
    assert len(table) == 6 and table["jaccard"].is_monotonic_decreasing
    first = table.iloc[0]
    members = store.members([first["circuit_a"], first["circuit_b"]])
    assert first["common"] == members.all(axis=0).sum()
    assert first["jaccard"] == pytest.approx(members.all(axis=0).sum() / members.any(axis=0).sum())


def test_what_cannot_be_compared_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="nothing to compare: no two of the 8 circuits differ in method only"):
        compare_group(store, wanted("method"))
    with pytest.raises(InputError, match="field to compare by 'colour'"):
        find_groups(store, "colour", None, flagged=False)
    with pytest.raises(InputError, match="measure 'cosine'"):
        compare_group(store, wanted(measure="cosine"))
    monkeypatch.setattr(comparison, "MAX_CIRCUITS", 3)
    with pytest.raises(InputError, match="shows up to 3 circuits, these are 4"):
        compare_group(store, wanted())


@given(st.integers(1, 12))
def test_half_a_matrix_has_each_pair_once_row_by_row(count: int) -> None:
    numbers = np.random.default_rng(count).normal(size=(count, count))
    matrix = numbers + numbers.T
    packed_half = half(matrix)
    for i in range(count):
        for j in range(i, count):  # the place that static/pages/compare.js computes
            assert packed_half[i * count - i * (i - 1) // 2 + j - i] == matrix[i, j] == matrix[j, i]


def test_packed_arrays_and_facts_are_read_again() -> None:
    arrays = {"values": np.float16([[1, 2], [np.nan, 4]]), "order": np.arange(3, dtype=np.int32)}
    data = packed(arrays, {"labels": ["a", HOSTILE_TEXT]})
    read = load(data)
    assert read.keys() == arrays.keys()
    assert all(np.array_equal(read[name], arrays[name], equal_nan=True) for name in arrays)
    length = int.from_bytes(data[:8], "little")
    assert json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["facts"]) == {"labels": ["a", HOSTILE_TEXT]}


HOSTILE_TEXT = 'x"</script>\u2028é'
