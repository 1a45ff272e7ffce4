# pyright: reportAttributeAccessIssue=false
"""The guard by itself: places, names, tokens, and that no mixture of fragments gets a write past it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import ladybug
import pytest
from circuitstore.errors import QueryRefused
from circuitstore.store.cypher.guard import FUNCTIONS, MAX_DEPTH, MAX_TOKENS, check_read_only
from circuitstore.store.cypher.tokens import tokenize
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "place", "word"),
    [
        ("CREATE (n)", "line 1, column 1", "CREATE"),
        ("MATCH (n)\nWHERE n.x = 1\n  SET n.x = 2", "line 3, column 3", "SET"),
        ("MATCH (n) RETURN n.x; DELETE n", "line 1, column 21", "one statement"),
        ("RETURN apoc.load.json('x')", "line 1, column 8", "apoc.load.json("),
        ("MATCH (c:Circuit)\r\nRETURN 'a\\u0027'", "line 2, column 10", "unicode"),
        ("RETURN 'open", "line 1, column 8", "unterminated string"),
        ("RETURN coun(1)", "line 1, column 8", "did you mean count"),
        ("MATCH (n) RETURN n.x FOO", "line 1, column 22", "FOO"),
        ("MATCH (n) YIELD n", "line 1, column 11", "OPTIONAL MATCH"),
        ("RETURN 1]", "line 1, column 9", "closes nothing"),
    ],
)
def test_a_refusal_names_word_and_place(text: str, place: str, word: str) -> None:
    with pytest.raises(QueryRefused) as refused:
        check_read_only(tokenize(text))
    assert str(refused.value).startswith(place)
    assert word in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "MATCH (c:Circuit) RETURN c.order, c.set, c.create, c.load",
        "MATCH (n:Set)-[r:CONTAINS|CREATE_D|IN]->(m:Order:Create) RETURN n.x",
        "MATCH (n:Circuit) WHERE n:Delete RETURN n.x",
        "MATCH (n {set: 1, create: $create}) RETURN {delete: 1, merge: {load: n.copy}} AS `merge`",
        "RETURN 'CREATE (n)' AS a, \"MATCH (n) DELETE n; --\" AS b, `SET` AS c",
        "RETURN 1 /* CREATE (n); */ AS a // DELETE everything;",
        "RETURN '// no comment' AS a, '/* none */' AS b",
        "RETURN $set, $create, $1, $`delete`",
        "MATCH (n) RETURN count(*) AS count, exists(n.x) AS exists ORDER BY count",
        "MATCH (created)-[settings]->(deleted) RETURN created.x, settings.y, deleted.z",
        "RETURN all(x IN [1] WHERE x > 0), any(x IN [1] WHERE x > 0), none(x IN [] WHERE true)",
        "MATCH (start)-[]->(end) RETURN end.x, start.y",
    ],
)
def test_names_like_keywords_are_names(text: str) -> None:
    check_read_only(tokenize(text))


@pytest.mark.parametrize("name", ["set", "create", "delete", "merge", "call", "load"])
def test_clauses_are_no_variables_unless_in_backticks(name: str) -> None:
    with pytest.raises(QueryRefused, match="backticks"):
        check_read_only(tokenize(f"MATCH (c) WITH c AS {name} RETURN 1"))
    check_read_only(tokenize(f"MATCH (c) WITH c AS `{name}` RETURN 1"))


def test_allowed_functions_are_called_in_any_case_and_in_backticks() -> None:
    for name in FUNCTIONS:
        check_read_only(tokenize(f"RETURN {name.upper()}(x), `{name}` (x)"))


@pytest.mark.parametrize("name", ["nodes", "rels", "relationships", "properties", "id", "labels", "label", "keys"])
@pytest.mark.parametrize("given", ["null", "NULL", "$q", "'a'", "[null]", ""])
def test_functions_of_nodes_take_names_only(name: str, given: str) -> None:
    """LadybugDB crashes over null."""
    with pytest.raises(QueryRefused, match="by its name"):
        check_read_only(tokenize(f"MATCH (n) RETURN {name}({given})"))
    check_read_only(tokenize(f"MATCH (n) RETURN {name}(n), {name}(`n`), `{name}` ( /* of */ n )"))


@pytest.mark.parametrize("text", ["RETURN 9223372036854775807! AS x", "RETURN (5) ! AS x", "WITH 3 AS x RETURN x!"])
def test_a_factorial_is_refused(text: str) -> None:
    with pytest.raises(QueryRefused, match="factorial"):
        check_read_only(tokenize(text))
    check_read_only(tokenize("MATCH (n:!Circuit&!Node)-[:!HAS|!FEEDS]->(m) WHERE n:!Model RETURN m.name"))


@pytest.mark.parametrize("name", ["log", "substring", "reverse", "toUpper", "upper"])
def test_functions_that_mean_two_things_are_refused(name: str) -> None:
    with pytest.raises(QueryRefused, match="not an allowed function"):
        check_read_only(tokenize(f"RETURN {name}('a')"))


def test_depth_and_length_are_bounded() -> None:
    check_read_only(tokenize("RETURN " + "(" * MAX_DEPTH + "1" + ")" * MAX_DEPTH))
    check_read_only(tokenize("RETURN " + "1+" * (MAX_TOKENS // 2 - 1) + "1"))
    for text in ("RETURN " + "(" * (MAX_DEPTH + 1), "RETURN " + "1+" * MAX_TOKENS + "1"):
        with pytest.raises(QueryRefused, match=r"deep|more than"):
            check_read_only(tokenize(text))


def test_tokens_carry_kind_text_and_place() -> None:
    text = "RETURN c.x /* no */ >= 1.5e-3 + $p, 'a\\'b', `q r`, [1..2]"
    found = list(tokenize(text))
    assert [text[t.start : t.start + len(t.text)] for t in found] == [t.text for t in found]
    kinds = "word word symbol word symbol number symbol param symbol string symbol quoted symbol symbol number"
    assert [t.kind for t in found] == [*kinds.split(), "range", "number", "symbol"]


READS = "MATCH OPTIONAL WHERE WITH UNWIND RETURN ORDER BY SKIP LIMIT UNION ALL AS DISTINCT AND NOT IN CASE WHEN END"
WRITES = "CREATE MERGE SET DELETE DETACH REMOVE FOREACH CALL LOAD COPY DROP ALTER INSERT CHECKPOINT EXISTS COUNT"
FRAGMENTS = [
    *READS.split(),
    *WRITES.split(),
    *["(n)", "(n:Thing)", "(:Thing {key: 'x'})", "(m:Thing {key: 'y'})", "n", "m", "n.value = 2", "n.key", "n.value"],
    *["-[:LINKS]->", "-[r:LINKS]->(m)", "r", "x", "1", "1.", ".5", "'a'", "''", '"b"', "`q`", "$p", "*", "TABLE Thing"],
    *["(", ")", "[", "]", "{", "}", ",", ":", ";", ".", "|", "=", "+", "-", "->", "'", '"', "`", "\\", "\\'", "$"],
    *["/*", "*/", "/**/", "/***/", "//", "\n", "\r", "\\u0027", "\\u0043REATE", "count(*)", "[x IN [1] |", "x IN [1]"],
    *[
        "RETURN 1",
        "MATCH (n:Thing)",
        "AS x",
        "CREATE (:Thing {key: 'z'})",
        "SET n.value = 3",
        "DELETE n",
        "RETURN n.key",
    ],
]
mixtures = st.builds(
    lambda parts: "".join(fragment + gap for fragment, gap in parts),
    st.lists(st.tuples(st.sampled_from(FRAGMENTS), st.sampled_from([" ", " ", " ", "", "\n"])), max_size=14),
)


@pytest.fixture(scope="module")
def engine() -> Iterator[ladybug.Connection]:
    """A database in memory that is open for writing: only the guard stands before it."""
    with ladybug.Database(":memory:", max_db_size=1 << 30, buffer_pool_size=1 << 27) as database:
        connection = ladybug.Connection(database, num_threads=1)
        connection.set_query_timeout(2000)
        connection.execute("CREATE NODE TABLE Thing(key STRING, value INT64, PRIMARY KEY (key))")
        connection.execute("CREATE REL TABLE LINKS(FROM Thing TO Thing)")
        connection.execute("CREATE (:Thing {key: 'a', value: 1})-[:LINKS]->(:Thing {key: 'b', value: 1})")
        yield connection
        connection.close()


def _state(engine: ladybug.Connection) -> list[list]:
    texts = [
        "MATCH (n) RETURN n.key, n.value ORDER BY n.key",
        "MATCH (a)-[r]->(b) RETURN a.key, b.key",
        "CALL show_tables() RETURN name ORDER BY name",
        "CALL current_setting('threads') RETURN *",
    ]
    return [engine.execute(text).get_all() for text in texts]


AT_FIRST = [[["a", 1], ["b", 1]], [["a", "b"]], [["LINKS"], ["Thing"]], [["1"]]]


def _ask(engine: ladybug.Connection, text: str) -> bool:
    """Whether the guard lets the text through; then it is run."""
    try:
        check_read_only(tokenize(text))
    except QueryRefused:
        return False
    with suppress(RuntimeError):
        engine.execute(text, {"p": 1} if "$p" in text else {})
    return True


@pytest.mark.slow
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mixtures)
def test_no_mixture_of_fragments_writes(engine: ladybug.Connection, text: str) -> None:
    if _ask(engine, text):
        assert _state(engine) == AT_FIRST


READING = [
    "MATCH (n:Thing) RETURN n.key",
    "MATCH (n:Thing) WHERE n.value = 1 AND n.key <> 'x' RETURN n.key AS k ORDER BY k LIMIT 3",
    "MATCH (n:Thing)-[r:LINKS]->(m:Thing) RETURN count(*), m.key",
    "UNWIND [1, 2] AS x RETURN x + 1, CASE WHEN x = 1 THEN 'a' ELSE 'b' END",
    "MATCH (n) WHERE EXISTS { MATCH (n)-[:LINKS]->(m) } RETURN n.key /* why */ // because",
    "WITH 1 AS x RETURN x UNION ALL RETURN 2 AS x",
]


@pytest.mark.slow
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(READING), st.data())
def test_no_fragment_put_into_a_question_writes(engine: ladybug.Connection, text: str, data: st.DataObject) -> None:
    """Unlike a mixture, a question with something put in or cut out often gets as far as the engine."""
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 3))
        gap = data.draw(st.sampled_from(["", " "]))
        text = text[:at] + gap + data.draw(st.sampled_from(FRAGMENTS)) + gap + text[at + cut :]
    if _ask(engine, text):
        assert _state(engine) == AT_FIRST


def test_the_fuzzed_engine_does_write_what_is_not_refused() -> None:
    """The two tests above would notice: the same engine, without the guard, takes such texts."""
    with ladybug.Database(":memory:", max_db_size=1 << 30, buffer_pool_size=1 << 27) as database:
        connection = ladybug.Connection(database, num_threads=1)
        connection.execute("CREATE NODE TABLE Thing(key STRING, value INT64, PRIMARY KEY (key))")
        connection.execute("RETURN 1 AS x; CREATE (:Thing {key: 'z'})")
        assert connection.execute("MATCH (n:Thing) RETURN count(*)").get_all() == [[1]]
        connection.close()
