"""The findings of a store, as plain text for a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..results import Table
from ..store import Location, Store
from . import sentences
from .contents import Contents, Part, read_contents
from .model_pairs import ModelPair
from .wording import aligned, figure

ROWS = 4
"""Rows of each table in the text."""


@dataclass(frozen=True)
class Summary:
    """Findings of a run or a store.

    Attributes:
        text: for a terminal.
        tables: the whole tables behind it, by title.
        queries: Cypher to try next, valid for this store.
    """

    text: str
    tables: Mapping[str, Table]
    queries: tuple[str, ...]

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self.text)}</pre>"


def summarise(store: Store, run: str | None = None) -> Summary:
    """The findings of a run, or of the whole store, each beside its noise floor, and three queries to try.

    Raises:
        InputError: no such run.
    """
    return summary_of(read_contents(store, run), _place(store))


def summary_of(contents: Contents, place: str = "") -> Summary:
    """The summary of what was read already.

    Args:
        place: options of commands that lead to the store.
    """
    queries = tuple(_queries(contents))
    lines = [line for part in contents.parts for line in _study_lines(part)]
    lines += [line for pair in contents.pairs for line in _pair_lines(pair)]
    if not contents.parts:
        lines = ["No circuits yet: index a spec first (circuitstore index SPEC.toml)."]
    if contents.notes:
        lines += ["", "Warnings"]
        lines += [f"  {note}" for note in contents.notes[:ROWS]]
        if len(contents.notes) > ROWS:
            lines.append(f"  … and {len(contents.notes) - ROWS} more, in the report")
    if queries:
        lines += ["", "Cypher to try"]
        lines += [f"  circuitstore query {shlex.quote(query)} {place}".rstrip() for query in queries]
    tables = {title: table for part in contents.parts for title, table, _ in _tables(part)}
    return Summary("\n".join(lines).strip("\n"), tables, queries)


def _place(store: Store) -> str:
    """Options of commands that lead to a store, for the shell; none for the default folder."""
    at, plain = store.location, Location.of(store.location.folder)
    options = []
    if at.folder != Location.of().folder:
        here = at.folder.is_relative_to(Path.cwd())
        options += ["--store", str(at.folder.relative_to(Path.cwd()) if here else at.folder)]
    if at.graph != plain.graph:
        options += ["--graph", at.graph]
    if at.catalog != plain.catalog:
        options += ["--catalog", store.catalog.url]  # its password is not shown
    return shlex.join(options)


def _study_lines(part: Part) -> Iterator[str]:
    yield from ("", f"{part.title} · {sentences.asked(part)}", f"  {sentences.extent(part)}")
    yield from (f"  {note}" for note in part.notes)
    for title, table, shown in _tables(part):
        yield from ("", f"  {title}")
        body = _rounded(shown).to_string(index=False, na_rep="–")
        yield from (f"    {line}" for line in body.splitlines())
        yield from (f"    {note}" for note in table.notes)


def _pair_lines(pair: ModelPair) -> Iterator[str]:
    label = f" · {pair.label}" if pair.label else ""
    yield from ("", f"Model against model · {pair.before} → {pair.after}{label}", f"  {sentences.between(pair)}")


def _tables(part: Part) -> Iterator[tuple[str, Table, pd.DataFrame]]:
    """Title, the whole table, and what the text shows of it."""
    for similarity in part.similarities:
        floor = figure(similarity.floor)
        note = f"edge Jaccard, most above chance first; noise floor (two halves of a class's images) {floor}"
        facts = {"noise_floor": similarity.floor, "chance": similarity.chance}
        title = f"{part.title}: classes most alike, {similarity.label}"
        yield title, Table(similarity.pairs, (note,), facts), similarity.pairs.head(ROWS)
    for change in part.changes:
        floor = f"noise floor: edges that seem gained between halves of natural images, {_mean(change.floor)}"
        title = f"{part.title}: edges that {change.label} gains and loses, by class"
        yield title, Table(change.by_class, (floor,), {"noise_floor": change.floor}), change.by_class.head(20)
        title = f"{part.title}: edges that {change.label} gains and loses most often"
        n = len(change.by_class)
        yield title, Table(change.by_edge, (f"in how many of {n} classes",)), change.by_edge.head(2 * ROWS)
    for condition, table in part.carriers.items():
        note = "score: mean over classes; error: its standard error; by_chance: circuits that would hold the edge"
        yield (
            f"{part.title}: edges that carry {part.study.short(condition)} most",
            Table(table, (note,)),
            table.head(2 * ROWS),
        )
    title = f"{part.title}: faithfulness beside random connected circuits of the same size"
    notes = tuple(f"{part.study.circuits['class'].iloc[row]}: {why}" for row, why in part.reasons.items())
    yield title, Table(part.listed, (*sentences.faithful(part), *notes[:ROWS])), _by_condition(part).head(20)


def _by_condition(part: Part) -> pd.DataFrame:
    """Faithfulness, one row per class: under each condition the circuit's and its random circuits' mean."""
    table = part.listed.set_index("class")
    columns: dict[str, pd.Series] = {}
    for condition in part.study.conditions:
        rows = table.loc[table["condition"] == condition]
        label = part.study.short(condition)
        columns[label], columns[f"random, {label}"] = rows["faithfulness"], rows["faithfulness_random"]
    return pd.DataFrame(columns).reindex(part.study.classes).reset_index(names="class")


def _mean(value: float | None) -> str:
    return "not known" if value is None else f"{value:.1f} in the mean"


def _rounded(frame: pd.DataFrame) -> pd.DataFrame:
    """Shares with two decimals, scores, which may be small, with three; more where the largest needs them."""
    floats = frame.select_dtypes("float")
    return frame.assign(**{n: aligned(frame[n], 3 if n.startswith(("score", "error")) else 2) for n in floats})


def _queries(contents: Contents) -> Iterator[str]:
    """Three questions to the graph whose answers are in this store."""
    study = next((part.study for part in contents.parts if len(part.study.circuits)), None)
    if study is None:
        return
    there = [condition for condition in study.conditions if len(study.rows(condition))]
    attacked = next((condition for condition in there if condition in study.attacks), there[0])
    fields = ("model_id", "dataset", "form", "method", "metric", "corruption", "extraction")
    same = " AND ".join(['c.flag = ""', *(f"c.{name} = {_literal(study.common[name])}" for name in fields)])
    yield (
        f"MATCH (c:Circuit)-[:HAS]->(:Node)-[f:FEEDS]->(:Node) WHERE c.condition = {_literal(attacked)} AND {same} "
        "RETURN f.edge AS edge, count(DISTINCT c.class) AS classes, avg(f.score) AS score "
        "ORDER BY classes DESC, score DESC LIMIT 10"
    )
    pairs = list(study.pairs(study.natural, attacked)) if study.natural and study.attacks else []
    ids = study.circuits["id"]
    if pairs:
        _, natural, other = pairs[0]
        yield (
            f"MATCH (c:Circuit {{id: {_literal(ids.iloc[other])}}})-[:HAS]->(:Node)-[f:FEEDS]->(:Node) "
            f"WHERE NOT EXISTS {{ MATCH (d:Circuit {{id: {_literal(ids.iloc[natural])}}})"
            "-[:HAS]->(:Node)-[g:FEEDS]->(:Node) WHERE g.edge = f.edge } "
            "RETURN f.edge AS gained, f.score AS score ORDER BY score DESC LIMIT 10"
        )
    else:
        yield (
            "MATCH (c:Circuit) RETURN c.class AS class, c.n_edges AS edges, c.faithfulness AS faithfulness, "
            "c.faithfulness_random AS of_random ORDER BY faithfulness DESC LIMIT 10"
        )
    yield (
        f"MATCH (c:Circuit {{id: {_literal(ids.iloc[0])}}})-[:HAS]->(n:Node)-[f:FEEDS]->(:Node) "
        "RETURN n.name AS node, sum(f.score) AS through_circuit, n.full_out AS over_all_edges "
        "ORDER BY through_circuit DESC LIMIT 10"
    )


def _literal(text: object) -> str:
    """A string of Cypher: in double quotes, so that the shell's single quotes can hold the query."""
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
