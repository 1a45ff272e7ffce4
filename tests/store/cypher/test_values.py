"""Parameters of a query: types of many libraries are accepted by their meaning, or named in an error."""

from __future__ import annotations

import array
import enum
import fractions
import math
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from circuitstore.errors import CircuitStoreError, InputError
from circuitstore.store.cypher.values import check_text, limits, plain, plain_params
from hypothesis import given
from hypothesis import strategies as st


class Colour(enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    THREE = 3


ID = uuid.uuid5(uuid.NAMESPACE_DNS, "circuitstore")

MEANT: list[tuple[Any, Any]] = [
    (None, None),
    (True, True),
    (3, 3),
    (-(2**63), -(2**63)),
    (2.5, 2.5),
    ("x", "x"),
    ("a\0b", "a\0b"),
    (Colour.RED, "red"),
    (Number.THREE, 3),
    (ID, str(ID)),
    (Path("/a/b"), "/a/b"),
    (PurePosixPath("b"), "b"),
    (Decimal("3"), 3),
    (Decimal("3.5"), 3.5),
    (np.int8(3), 3),
    (np.uint64(3), 3),
    (np.float32(0.5), 0.5),
    (np.longdouble(2.5), 2.5),
    (np.bool_(True), True),
    (np.str_("a"), "a"),
    (np.array(3), 3),
    (np.array([1, 2]), [1, 2]),
    (np.array(["a", "b"]), ["a", "b"]),
    (pd.NA, None),
    (pd.NaT, None),
    (pd.Series([1, 2]), [1, 2]),
    (pd.Series([1, None], dtype="Int64"), [1, None]),
    (pd.Index(["a"]), ["a"]),
    (pd.Categorical(["a", "b"]), ["a", "b"]),
    (pd.Timestamp("1970-01-02", tz="UTC"), 86_400_000),
    (datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), 1000),
    (torch.tensor(3), 3),
    (torch.tensor([1.5]), [1.5]),
    (pa.array([1, 2]), [1, 2]),
    (pa.scalar("a"), "a"),
    (array.array("i", [1]), [1]),
    ((1, 2.5), [1, 2.5]),
    ({"b", "a"}, ["a", "b"]),
    (range(3), [0, 1, 2]),
    ({"a": 1}.keys(), ["a"]),
    ([np.int8(1), None, Decimal(2)], [1, None, 2]),
    ({"a": np.int8(1)}, {"a": 1}),
    ([{"a": 1}, {"a": None}], [{"a": 1}, {"a": None}]),
]


@pytest.mark.parametrize(("given", "meant"), MEANT, ids=lambda value: f"{type(value).__name__}")
def test_what_has_a_meaning_is_taken(given: Any, meant: Any) -> None:
    found = plain("x", given)
    assert found == meant and type(found) is type(meant)
    if isinstance(found, list):
        assert [type(v) for v in found] == [type(v) for v in meant]


HIMSELF: list[Any] = []
HIMSELF.append(HIMSELF)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (2**63, "64 bits"),
        (float("nan"), "a missing value is None"),
        (np.float64("inf"), "finite"),
        (Decimal("NaN"), "finite"),
        (Decimal("sNaN"), "finite"),
        (Decimal("1e1000000"), "finite"),
        ("\ud800", "surrogate"),
        (b"x", "got bytes; decode bytes into text"),
        (bytearray(b"x"), "got bytearray"),
        (np.bytes_(b"x"), "numpy.bytes_"),
        (1j, "complex"),
        (fractions.Fraction(1, 2), "fractions.Fraction"),
        (datetime(2020, 1, 1), "expected a time with a zone"),
        (np.datetime64("2020-01-01"), "expected a time with a zone"),
        (date(2020, 1, 1), "milliseconds since 1970"),
        (time(), "datetime.time; give milliseconds"),
        (timedelta(1), "datetime.timedelta"),
        (np.timedelta64(1, "s"), "timedelta"),
        (pd.DataFrame({"a": [1]}), r"pandas.DataFrame; give one of its columns, such as frame\['id'\]"),
        (pd.Interval(0, 1), "pandas.Interval"),
        (object(), "got object"),
        (int, "got type"),
        (np.int64, "got type"),
        ((i for i in [1]), r"got generator; convert a generator with list\(…\)"),
        ([1, "a"], "of one kind in a list, got a whole number and a text"),
        ([True, 1], "a truth value and a whole number"),
        ([[1]], "a list within another"),
        (np.array([[1]]), "a list within another"),
        (HIMSELF, "a list within another"),
        ({1: 2}, "names as keys"),
        ({"a": {"b": 1}}, "x, a: .*a dict within another"),
        (pd.Series([1.0, math.nan]), "a missing value is None"),
    ],
)
def test_the_rest_is_refused_by_name(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        plain("x", given)
    assert str(refused.value).startswith("x") and len(str(refused.value)) < 300


@pytest.mark.slow
@given(st.recursive(st.from_type(object) | st.binary() | st.complex_numbers() | st.dates(), st.lists, max_leaves=5))
def test_nothing_ends_in_another_error(value: object) -> None:
    try:
        found = plain("x", value)
    except CircuitStoreError:
        return
    assert isinstance(found, None | bool | int | float | str | list | dict)


@pytest.mark.parametrize("params", [3, "x=1", [("x", 1)], pd.Series({"x": 1}), {"x"}])
def test_params_are_values_by_name(params: object) -> None:
    with pytest.raises(InputError, match="values by name"):
        plain_params(params)
    assert plain_params(None) == {} and plain_params({"x": np.int8(1)}) == {"x": 1}


@pytest.mark.parametrize("text", [None, 3, b"RETURN 1", Path("query.cypher"), ["RETURN 1"]])
def test_a_query_is_text(text: object) -> None:
    with pytest.raises(InputError, match="query as text"):
        check_text(text)


def test_limits_in_range_are_plain_numbers() -> None:
    taken = limits(np.float32(0.5), np.int16(7), 3)
    assert taken == {"timeout_s": 0.5, "max_rows": 7, "max_mib": 3}
    assert [type(v) for v in taken.values()] == [float, int, int]
    assert limits(10**6, 10**9, 1 << 16)["timeout_s"] == 1e6


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan"), 1e300, None, "3", True, [1], np.array([1, 2])])
@pytest.mark.parametrize("name", ["timeout_s", "max_rows", "max_mib"])
def test_limits_out_of_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"{name} \(--{name.removesuffix('_s').replace('_', '-')}\): expected .* got"):
        limits(**{"timeout_s": 1.0, "max_rows": 1, "max_mib": 1, name: value})


@pytest.mark.parametrize("name", ["max_rows", "max_mib"])
def test_counts_are_whole(name: str) -> None:
    with pytest.raises(InputError, match="whole number"):
        limits(**{"timeout_s": 1.0, "max_rows": 1, "max_mib": 1, name: 2.5})
