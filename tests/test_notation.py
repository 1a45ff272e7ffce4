"""TOML and JSON from users: every text gives a value or one message."""

from __future__ import annotations

import json
import math

import pytest
from circuitstore.errors import InputError
from circuitstore.notation import MAX_DEPTH, read_json, read_toml
from hypothesis import given
from hypothesis import strategies as st

DEEP = ["[" * 3000, "[" * 3000 + "]" * 3000, '{"a":' * 3000 + "1" + "}" * 3000]
LONG = ["9" * 5000, "9" * 30, str(2**63), str(-(2**63) - 1)]


@pytest.mark.parametrize("text", [*DEEP, "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)])
def test_deep_nesting_raises_one_error(text: str) -> None:
    with pytest.raises(InputError, match=f"^--param x: more than {MAX_DEPTH} nested lists or tables"):
        read_json(text, "--param x")


@pytest.mark.parametrize("text", LONG)
def test_long_numbers_raise_one_error(text: str) -> None:
    for read, whole in ((read_json, f"[[{text}]]"), (read_toml, f"seed = {text}"), (read_toml, f"[a]\nb = [{text}]")):
        with pytest.raises(InputError, match=r"^here: a whole number of more than 64 bits"):
            read(whole, "here")


@pytest.mark.parametrize("value", ["[" * 3000, "{a=" * 3000, "[" * 60 + "]" * 60])
def test_a_deeply_nested_file_raises_one_error(value: str) -> None:
    with pytest.raises(InputError, match=r"^spec\.toml: more than"):
        read_toml(f"seed = {value}", "spec.toml")


def test_other_errors_keep_their_messages() -> None:
    with pytest.raises(InputError, match=r"^spec\.toml: not valid TOML: .*line 2"):
        read_toml("a = 1\nb = \nc = 2", "spec.toml")
    with pytest.raises(json.JSONDecodeError):
        read_json("seven", "--param x")


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.slow
@given(NESTED)
def test_other_values_are_read_unchanged(value: object) -> None:
    assert read_json(json.dumps(value), "here") == value


def test_infinity_is_read() -> None:
    assert math.isinf(read_json("Infinity", "here")) and read_toml("a = 1979-05-27", "here")["a"].year == 1979
