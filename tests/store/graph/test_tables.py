from decimal import Decimal

from circuitstore.store.graph.tables import to_table


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


def test_no_rows_and_equal_names_do_no_harm():
    assert list(to_table(["a", "b"], [], 5).to_pandas().columns) == ["a", "b"]
    assert to_table(["a", "a"], [[1, 2]], 5).to_pandas().to_numpy().tolist() == [[1, 2]]
