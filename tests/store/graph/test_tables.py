from decimal import Decimal

import pytest
from circuitstore.errors import InputError, QueryFailed
from circuitstore.store.graph.tables import entity, to_table, unpacked
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), FINITE, st.text(), st.booleans())


def test_columns_keep_their_kind_with_and_without_missing_values():
    rows = [[1, 1, 0.5, 1, "a", True, Decimal(7), 2**70], [2, None, 1, 2.5, None, False, Decimal("0.5"), 1]]
    frame = to_table("abcdefgh", rows, 10).to_pandas()
    kinds = ["int64", "Int64", "float64", "float64", "object", "bool", "float64", "object"]
    assert [str(kind) for kind in frame.dtypes] == kinds
    assert frame["g"].tolist() == [7.0, 0.5] and frame["h"].tolist() == [2**70, 1]


def test_whole_decimals_are_int():
    frame = to_table(["n"], [[Decimal(4)], [Decimal("40080")]], 10).to_pandas()
    assert frame["n"].tolist() == [4, 40080] and str(frame["n"].dtype) == "int64"


def test_the_cap_reads_one_row_more_and_no_further():
    read = []

    def rows():
        for i in range(100):
            read.append(i)
            yield [i]

    table = to_table(["i"], rows(), 5)
    assert len(table) == 5 and len(read) == 6 and "5 rows" in table.notes[0]
    assert to_table(["i"], [[1]] * 5, 5).notes == ()


def test_no_rows_do_no_harm_and_equal_names_are_refused():
    assert list(to_table(["a", "b"], [], 5).to_pandas().columns) == ["a", "b"]
    with pytest.raises(InputError, match="several columns are named 'a'"):
        to_table(["a", "a"], [[1, 2]], 5)


@pytest.mark.slow
@given(st.lists(st.tuples(VALUES, st.none() | st.text(), st.none() | st.integers(0, 9)), max_size=8))
@pytest.mark.parametrize("cap", [1, 5, 8])
def test_rows_packed_into_one_are_the_same_rows(cap, rows):
    columns = ["a", "b", "c"]
    lists = [[[] if row[i] is None else row[i] for row in rows[: cap + 1]] for i in range(3)]
    given, expected = unpacked(to_table(columns, [lists], 1), cap), to_table(columns, rows, cap)
    assert_frame_equal(given.to_pandas(), expected.to_pandas(), check_exact=True)
    assert given.notes == expected.notes and given.to_pandas().dtypes.equals(expected.to_pandas().dtypes)


@given(st.dictionaries(st.text(), st.lists(st.none() | FINITE, min_size=1, max_size=4), max_size=3))
@pytest.mark.parametrize("cap", [1, 4, 12])
def test_what_packed_rows_share_is_repeated(cap, groups):
    packed = [[shared, [[] if v is None else v for v in values]] for shared, values in groups.items()]
    rows = [[shared, value] for shared, values in groups.items() for value in values]
    given, expected = unpacked(to_table(["a", "b"], packed, 3), cap), to_table(["a", "b"], rows, cap)
    assert_frame_equal(given.to_pandas(), expected.to_pandas(), check_exact=True)
    assert given.notes == expected.notes


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_divides_by_zero_is_no_answer(value):
    with pytest.raises(QueryFailed, match=r"column y .*CASE WHEN b <> 0"):
        to_table(["x", "y"], [[1, 0.5], [2, value]], 5)


def test_values_are_made_plain_only_where_they_are_not():
    made = []

    def plain(value):
        made.append(value)
        return "plain"

    frame = to_table(["a", "b"], [[1, [2]], [None, {"c": 3}]], 5, plain).to_pandas()
    assert frame["b"].tolist() == ["plain", "plain"] and made == [[2], {"c": 3}]
    assert entity("label", "Node", {"b": 1, "a": 2, "c": None}) == {"label": "Node", "a": 2, "b": 1}
