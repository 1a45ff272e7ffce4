"""Circuits on other images as a matrix."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from circuitstore.errors import InputError
from circuitstore.query import cross_matrix
from circuitstore.results import Table

WORDS = "typographic(number=1, size=0.4)"


def table(classes: tuple[str, ...] = ("three", "eight"), conditions: tuple[str, ...] = ("natural",)) -> Table:
    """Every circuit on all images; its faithfulness is its position + position of the images / 10."""
    sides = list(product(classes, conditions))
    rows = [
        {
            "circuit": f"{i:064x}", "model": "m", "class": cls, "condition": condition, "extraction": "top(n=9)",
            "on_model": "m", "on_model_id": "0", "on_class": on_class, "on_group": "", "on_condition": on_condition,
            "corruption": "blur(size=3)", "metric": "logit", "dtype": "float32", "faithfulness": i + j / 10,
            "retention": np.nan,
        }
        for (j, (on_class, on_condition)), (i, (cls, condition)) in product(enumerate(sides), enumerate(sides))
    ]  # fmt: skip
    return Table(pd.DataFrame(rows), ("a note",))


def test_a_row_per_circuit_and_a_column_per_class() -> None:
    matrix = cross_matrix(table())
    assert list(matrix.frame) == ["circuit", "three", "eight"]
    assert matrix.frame.to_numpy().tolist() == [["three", 0.0, 0.1], ["eight", 1.0, 1.1]]
    assert (matrix.notes, matrix.facts) == (("a note",), {"figure": "faithfulness"})
    assert np.isnan(cross_matrix(table(), "retention").frame[["three", "eight"]].to_numpy(float)).all()


def test_what_differs_names_rows_and_columns() -> None:
    both = table(("three",), ("natural", WORDS))
    names = ["three · natural", "three · typographic"]
    assert list(cross_matrix(both).frame) == ["circuit", *names]
    some = Table(both.frame[both.frame["condition"] == both.frame["on_condition"]])
    matrix = cross_matrix(some).frame
    assert matrix["circuit"].tolist() == names and np.isnan(matrix[names[0]][1]) and matrix[names[1]][1] == 1.1


def test_what_is_no_matrix_raises() -> None:
    once = table().frame
    with pytest.raises(InputError, match="several circuits are named three"):
        cross_matrix(Table(pd.concat([once, once.assign(circuit="f" * 64)])))
    with pytest.raises(InputError, match=r"figure 'faithfulnes'.*did you mean 'faithfulness'"):
        cross_matrix(table(), "faithfulnes")
    with pytest.raises(InputError, match="no column on_class"):
        cross_matrix(Table(once.drop(columns="on_class")))
