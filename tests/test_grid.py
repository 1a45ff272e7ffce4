"""Tables: nothing is cut off in a file, and nothing is wider than the terminal."""

from __future__ import annotations

import math

import pytest
from circuitstore.cli.grid import cell, fitted, grid, upright, wrapped
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

letters = st.text(st.characters(categories=["L", "N"]))
cells = st.none() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6) | letters


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.tuples(*[cells] * n), max_size=5).map(lambda rows: (n, rows))))
def test_a_grid_cuts_nothing_off(case: tuple[int, list[tuple[object, ...]]]) -> None:
    n, rows = case
    lines = grid([f"column{i}" for i in range(n)], rows).splitlines()
    assert len(lines) == 2 + len(rows)
    for line, row in zip(lines[2:], rows, strict=True):
        shown = [v if isinstance(v, str) else f"{v:.6g}" if isinstance(v, float) else str(v) for v in row]
        assert line.split() == [s for v, s in zip(row, shown, strict=True) if v is not None and s]


def test_columns_are_aligned_numbers_to_the_right() -> None:
    text = grid(["class", "n"], [("狗", 7), ("tabby", 1234)])
    assert text == "class     n\n-----  ----\n狗        7\ntabby  1234\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (math.nan, ""),
        (0.123456789, "0.123457"),
        (True, "True"),
        ([1.25e-12, "a", None], "[1.25e-12, a, ]"),
        ({"x": 1.0, "of": ["a"]}, "x=1, of=[a]"),
        ("two\nlines\tand \x1b[31mred", "two lines and  [31mred"),
    ],
)
def test_a_cell_is_one_line_without_control_characters(value: object, text: str) -> None:
    assert cell(value) == text


WORDS = st.text(st.sampled_from("abcé狗 _-(=,"), max_size=60)
VARIANTS = st.sampled_from(
    [
        "natural",
        "typographic(colour=#ffffff, size=0.15, text=other class)",
        "retention(target=0.85)",
        "a" * 64,
        "b" * 64,
    ]
)
names = st.text(st.sampled_from("ab_ ("), max_size=40)
columns = st.tuples(names, st.sampled_from([WORDS, VARIANTS, st.integers(), st.floats(), st.none(), cells]))


@st.composite
def tables(draw) -> tuple[list[str], list[tuple[object, ...]]]:
    chosen = draw(st.lists(columns, min_size=1, max_size=12))
    rows = draw(st.lists(st.tuples(*(values for _, values in chosen)), max_size=9))
    return [name for name, _ in chosen], rows


@given(tables(), st.integers(60, 200))
def test_no_line_is_wider_than_the_terminal(table: tuple[list[str], list[tuple[object, ...]]], width: int) -> None:
    shown = fitted(*table, width)
    assert max(map(cell_len, shown.text.splitlines()), default=0) <= width


@given(tables(), st.integers(60, 200))
def test_columns_that_are_not_shown_in_full_are_listed(
    table: tuple[list[str], list[tuple[object, ...]]], width: int
) -> None:
    """Short texts are shown, unless their column is listed as left out or shortened."""
    header, rows = [f"{name}{i}" for i, name in enumerate(table[0])], table[1]
    shown = fitted(header, rows, width)
    hidden = {*shown.left_out, *shown.shortened}
    assert hidden <= set(header)
    assert list(shown.left_out) == [name for name in header if name in shown.left_out]
    together = "".join(shown.text.split())
    for row in rows:
        for name, value in zip(header, row, strict=True):
            if isinstance(value, str) and name not in hidden and len(value) <= 6:
                assert "".join(value.split()) in together


def test_kinds_are_shown_by_their_shortest_names() -> None:
    rows = [
        ("one", "typographic(colour=#ffffff, number=1, size=0.15)", "retention(size_of=natural, target=0.85)"),
        ("one", "typographic(colour=#ffffff, number=1, size=0.4)", "retention(target=0.85)"),
        ("two", "natural", "retention(target=0.85)"),
    ]
    shown = fitted(["class", "condition", "extraction"], rows, 200)
    assert [line.split() for line in shown.text.splitlines()[2:]] == [
        ["one", "typographic(size=0.15)", "retention(size_of=natural)"],
        ["one", "typographic(size=0.4)", "retention"],
        ["two", "natural", "retention"],
    ]
    assert shown.shortened == ["condition", "extraction"]
    assert not shown.left_out


def test_values_that_are_the_same_in_all_rows_are_printed_once() -> None:
    rows = [(f"class-{i}", "a" * 25, "b" * 25, "", i) for i in range(9)]
    shown = fitted(["class", "model", "dataset", "error", "n"], rows, 60)
    head, _, body = shown.text.partition("\n\n")
    assert " ".join(head.split()) == f"in every row: model {'a' * 25}; dataset {'b' * 25}; error –"
    assert body.splitlines()[0].split() == ["class", "n"]
    assert shown == fitted(["class", "model", "dataset", "error", "n"], rows, 60)
    assert "in every row" not in fitted(["class", "model", "dataset", "error", "n"], rows, 100).text


def test_ids_are_shortened_if_there_is_not_enough_room() -> None:
    rows = [(f"{i}{'f' * 63}", f"class number {i}", i + 0.123456789) for i in range(9)]
    assert f"0{'f' * 63}" in fitted(["id", "class", "score"], rows, 100).text
    shown = fitted(["id", "class", "score"], rows, 80)
    assert shown.text.splitlines()[2].split() == ["0fffffffffff", "class", "number", "0", "0.1235"], shown.text
    assert shown.shortened == ["id"]
    alike = [("f" * 63 + str(i), "", 0.1) for i in range(9)]
    assert "f" * 24 in fitted(["id", "class", "score"], alike, 80).text  # shortened, all would be the same


def test_texts_are_wrapped_between_words() -> None:
    rows = [
        (f"class-{i}", "expected a list of values of one kind, got number beside text " * (i % 2)) for i in range(8)
    ]
    shown = fitted(["class", "error"], rows, 60)
    assert shown.text.splitlines()[3:6] == [
        "class-1  expected a list of values of one kind, got number",
        "         beside text",
        "class-2",
    ]


def test_first_columns_that_rows_share_become_headings() -> None:
    rows = [(c, m, f"{i}", i) for c in ("natural", "typographic") for m in ("x" * 24, "y" * 24) for i in range(5)]
    shown = fitted(["condition", "method", "a", "n"], rows, 29)
    blocks = shown.text.split("\n\n")
    assert len(blocks) == 5
    assert blocks[0].split() == ["a", "n", "-", "-"]
    assert " ".join(blocks[1].split()) == f"condition natural; method {'x' * 24} 0 0 1 1 2 2 3 3 4 4"
    assert not shown.left_out


def test_the_last_columns_of_many_rows_are_left_out() -> None:
    header = [f"column_{i}" for i in range(12)]
    rows = [tuple(float(i * j + j) for i in range(12)) for j in range(9)]
    shown = fitted(header, rows, 60)
    assert list(shown.left_out) == header[len(header) - len(shown.left_out) :]
    assert 0 < len(shown.left_out) < 8


def test_few_rows_are_printed_upright() -> None:
    header = [f"column_{i}" for i in range(12)]
    shown = fitted(header, [tuple(f"value {i} of row {j}" for i in range(12)) for j in range(2)], 60)
    assert not shown.left_out
    records = shown.text.split("\n\n")
    assert [line.split("  ")[0] for line in records[0].splitlines()] == header
    assert records[1].splitlines()[-1].split(maxsplit=1) == ["column_11", "value 11 of row 1"]


def test_upright_rows_are_whole_in_a_file_and_wrapped_on_a_terminal() -> None:
    text = "a text that is longer than the terminal is wide"
    assert upright(["name", "n"], [(text, 1)]) == f"name  {text}\nn     1\n"
    assert upright(["name", "n"], [(text, 1)], 30).splitlines() == [
        "name  a text that is longer",
        "      than the terminal is",
        "      wide",
        "n     1",
    ]


@given(st.text(st.sampled_from("ab 狗"), max_size=80), st.integers(2, 30))
def test_wrapping_loses_no_word(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert max(map(cell_len, lines)) <= width
    assert "".join("".join(lines).split()) == "".join(text.split())
    if all(cell_len(word) <= width for word in text.split()):
        assert [word for line in lines for word in line.split()] == text.split()
