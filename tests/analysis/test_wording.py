"""Formats of numbers: the same number of decimals in a column, and enough for the largest."""

from __future__ import annotations

from math import nan

import pytest
from circuitstore.analysis.report.tables import cells, frame_table
from circuitstore.analysis.wording import aligned, count, join_names
from hypothesis import given
from hypothesis import strategies as st
from pandas import DataFrame, Series


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.5, 12.25], ["0.500", "12.250"]),
        ([0.5, 2e-5], ["0.500", "0.000"]),
        ([0.00012, nan], ["0.000120", "–"]),
        ([-0.0001, 0.25], ["0.000", "0.250"]),
        ([0.0], ["0.000"]),
        ([], []),
    ],
)
def test_a_column_has_the_same_number_of_decimals(values, text):
    assert aligned(values) == text


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_decimal_points_are_aligned_and_the_largest_keeps_its_digits(values):
    stated = aligned(values)
    assert len({len(text.partition(".")[2]) for text in stated}) == 1
    largest = max(values, key=abs)
    if abs(largest) > 1e-7:
        assert float(stated[values.index(largest)]) == pytest.approx(largest, rel=0.005)


def test_truth_values_counts_and_missing_values_are_text():
    assert cells(Series([True, None, False], dtype="boolean")) == ["yes", "–", "no"]
    assert cells(Series([3, None], dtype="Int64")) == ["3", "–"]
    assert cells(Series(["word", None], dtype=object)) == ["word", ""]


def test_large_numbers_have_fewer_decimals_and_small_probabilities_are_not_zero():
    assert cells(Series([2.5, 1.0])) == ["2.500", "1.000"]
    assert cells(Series([12.5, 1.0])) == ["12.50", "1.00"]
    assert cells(Series([112.5, 1.0])) == ["112.5", "1.0"]
    assert cells(Series([1e-40, 0.0, 0.5, None], name="p_chance")) == ["<0.001", "<0.001", "0.500", "–"]
    assert cells(Series([1e-3], name="p")) == ["0.001"]


def test_counts_and_lists_of_names():
    assert (count(1, "class", "classes"), count(2, "class", "classes")) == ("1 class", "2 classes")
    assert join_names(["a", "b", "c"], 2) == "a, b and 1 more"
    assert join_names(["a", "b"], 2) == "a, b"


def test_a_csv_file_has_all_rows_unless_it_is_too_large():
    small = frame_table(DataFrame({"n": range(30)}), "", max_rows=20)
    large = frame_table(DataFrame({"n": range(9000)}), "", max_rows=20)
    assert (small.whole, small.left_out, small.csv.count("%0A")) == (True, 10, 31)
    assert (large.whole, large.left_out, large.csv.count("%0A")) == (False, 8980, 21)
