"""A text cut into tokens: where they stand, its parts and its parameters."""

from __future__ import annotations

import pytest
from circuitstore.errors import QueryRefused
from circuitstore.store.cypher.tokens import END, tokenize

TEXT = "MATCH (c {x: $a})\nRETURN $`a b` AS n // UNION\nUNION RETURN 'UNION $no', $a"


def test_tokens_of_a_text() -> None:
    tokens = tokenize(TEXT)
    assert [t.text for t in tokens][:5] == ["MATCH", "(", "c", "{", "x"] and len(tokens) == 18
    assert tokens.params == ("a", "a b", "a")
    assert tokens.at(-1) is tokens.at(len(tokens)) is END and tokens.at(1) is tokens[1]
    assert tokenize(TEXT) is tokens


def test_the_parts_of_a_text_know_their_places() -> None:
    first, second = tokenize(TEXT).split("UNION")
    assert [t.text for t in second] == ["RETURN", "'UNION $no'", ",", "$a"] and first.params == ("a", "a b")
    assert second.place(second[0]) == "line 3, column 7"
    with pytest.raises(QueryRefused, match=r"^line 3, column 7: no$"):
        second.refuse(second[0], "no")
