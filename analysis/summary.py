"""The summary of a store, as plain text for a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..circuits import NATURAL
from ..results import Table
from ..store import Location, Store
from . import sentences
from .model_pairs import ModelPair
from .neuron_paths import PathOverview
from .overview import Overview, read_overview
from .study_overview import StudyOverview
from .wording import aligned, count, format_number

ROWS = 4
"""Number of rows of each table in the text."""


@dataclass(frozen=True)
class Summary:
    """The main results of a run or a store.

    Attributes:
        text: the summary, for a terminal.
        tables: the complete tables, by title.
        queries: Cypher queries to try next, valid for this store.
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
    """Summarise a run or the whole store, with noise floors and three queries to try.

    Raises:
        InputError: the run does not exist.

    Examples:
        >>> summary = summarise(store)
        >>> print(summary)
        Effect study · ...
        >>> len(summary.tables), len(summary.queries)
        (8, 3)
    """
    return summary_of(read_overview(store, run), _place(store))


def summary_of(overview: Overview, place: str = "") -> Summary:
    """Return the summary of an overview.

    Args:
        overview: the contents of the store.
        place: the command-line options that locate the store.
    """
    queries = tuple(_queries(overview))
    lines = [line for shown in overview.studies for line in _study_lines(shown)]
    lines += [line for pair in overview.model_pairs for line in _pair_lines(pair)]
    lines += [line for found in overview.neuron_paths for line in _path_lines(found)]
    if overview.readouts:
        lines += ["", f"{count(len(overview.readouts), 'kind')} of read-outs: circuitstore query readouts"]
    if not lines:
        lines = ["No circuits yet: index a spec first (circuitstore index SPEC.toml)."]
    if overview.notes:
        lines += ["", "Warnings"]
        lines += [f"  {note}" for note in overview.notes[:ROWS]]
        if len(overview.notes) > ROWS:
            lines.append(f"  … and {len(overview.notes) - ROWS} more, in the report")
    if queries:
        lines += ["", "Cypher to try"]
        lines += [f"  circuitstore query {shlex.quote(query)} {place}".rstrip() for query in queries]
    tables = {title: table for shown in overview.studies for title, table, _ in _tables(shown)}
    return Summary("\n".join(lines).strip("\n"), tables, queries)


def _place(store: Store) -> str:
    """Return the command-line options that locate a store, quoted for the shell; empty for the default folder."""
    at, plain = store.location, Location.of(store.location.folder)
    options = []
    if at.folder != Location.of().folder:
        here = at.folder.is_relative_to(Path.cwd())
        options += ["--store", str(at.folder.relative_to(Path.cwd()) if here else at.folder)]
    if at.graph != plain.graph:
        options += ["--graph", at.graph]
    if at.catalog != plain.catalog:
        options += ["--catalog", store.catalog.url]  # without its password
    return shlex.join(options)


def _path_lines(found: PathOverview) -> Iterator[str]:
    yield from ("", f"Neuron paths · {found.title}")
    yield from (f"    {line}" for line in _rounded(found.table).to_string(index=False, na_rep="–").splitlines())


def _study_lines(shown: StudyOverview) -> Iterator[str]:
    yield from ("", f"{shown.title} · {sentences.recipe(shown)}", f"  {sentences.extent(shown)}")
    yield from (f"  {note}" for note in shown.notes)
    for title, table, first in _tables(shown):
        yield from ("", f"  {title}")
        body = _rounded(first).to_string(index=False, na_rep="–")
        yield from (f"    {line}" for line in body.splitlines())
        yield from (f"    {note}" for note in table.notes)


def _pair_lines(pair: ModelPair) -> Iterator[str]:
    label = f" · {pair.label}" if pair.label else ""
    yield from ("", f"Comparison of models · {pair.before} → {pair.after}{label}", f"  {sentences.models(pair)}")


def _tables(shown: StudyOverview) -> Iterator[tuple[str, Table, pd.DataFrame]]:
    """Yield each table with its title and the rows that the text shows."""
    for condition, similarity in shown.similarities.items():
        floor = format_number(similarity.noise_floor)
        note = f"edge Jaccard, sorted by similarity above chance; noise floor (halves of a class's images) {floor}"
        facts = {"noise_floor": similarity.noise_floor, "chance": similarity.chance_level}
        title = f"{shown.title}: most similar classes, {shown.study.short(condition)}"
        yield title, Table(similarity.above_chance, (note,), facts), similarity.above_chance.head(ROWS)
    for change in shown.changes:
        floor = f"noise floor: {_mean(change.floor)} edges appear gained between halves of the natural images"
        title = f"{shown.title}: edges gained and lost under {change.label}, by class"
        yield title, Table(change.by_class, (floor,), {"noise_floor": change.floor}), change.by_class.head(20)
        title = f"{shown.title}: edges most often gained and lost under {change.label}"
        n = len(change.by_class)
        yield title, Table(change.by_edge, (f"number of classes, out of {n}",)), change.by_edge.head(2 * ROWS)
    for condition, table in shown.carriers.items():
        note = "score: mean over classes; error: its standard error; by_chance: expected number of circuits by chance"
        yield (
            f"{shown.title}: edges that carry {shown.study.short(condition)} most",
            Table(table, (note,)),
            table.head(2 * ROWS),
        )
    title = f"{shown.title}: faithfulness of circuits and of random connected circuits of the same size"
    notes = tuple(f"{shown.study.circuits['class'].iloc[row]}: {why}" for row, why in shown.reasons.items())
    yield title, Table(shown.listed, (*sentences.faithfulness(shown), *notes[:ROWS])), _by_condition(shown).head(20)


def _by_condition(shown: StudyOverview) -> pd.DataFrame:
    """Return faithfulness by class: under each condition that of the circuit, and the mean of its random circuits."""
    table = shown.listed.set_index("class")
    columns: dict[str, pd.Series] = {}
    for condition in shown.study.conditions:
        rows = table.loc[table["condition"] == condition]
        label = shown.study.short(condition)
        columns[label], columns[f"random, {label}"] = rows["faithfulness"], rows["faithfulness_random"]
    return pd.DataFrame(columns).reindex(shown.study.classes).reset_index(names="class")


def _mean(value: float | None) -> str:
    return "an unknown number of" if value is None else f"on average {value:.1f}"


def _rounded(frame: pd.DataFrame) -> pd.DataFrame:
    """Round scores to three decimals and other numbers to two, or more if the largest needs them."""
    floats = frame.select_dtypes("float")
    return frame.assign(**{n: aligned(frame[n], 3 if n.startswith(("score", "error")) else 2) for n in floats})


def _queries(overview: Overview) -> Iterator[str]:
    """Yield three Cypher queries that have answers in this store."""
    study = next((shown.study for shown in overview.studies if len(shown.study.circuits)), None)
    if study is None:
        return
    conditions = [condition for condition in study.conditions if len(study.rows(condition))]
    shown = next((condition for condition in conditions if condition in study.other_conditions), conditions[0])
    fields = ("model_id", "dataset", "image_group", "form", "method", "metric", "corruption", "extraction")
    same = " AND ".join(['c.flag = ""', *(f"c.{name} = {_literal(study.common[name])}" for name in fields)])
    yield (
        f"MATCH (c:Circuit)-[:HAS]->(:Node)-[f:FEEDS]->(:Node) WHERE c.condition = {_literal(shown)} AND {same} "
        "RETURN f.edge AS edge, count(DISTINCT c.class) AS classes, avg(f.score) AS score "
        "ORDER BY classes DESC, score DESC LIMIT 10"
    )
    names, (before, after) = study.aligned(NATURAL, shown)
    ids = study.circuits["id"]
    if names and shown != NATURAL:
        natural, other = before[0], after[0]
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
    """Return a Cypher string in double quotes, so that the query can be single-quoted in the shell."""
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
