"""Runs queries. For a named query, the catalog selects the circuits that count and the graph answers for these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..circuits import NATURAL
from ..errors import InputError
from ..results import Table
from ..store.cypher.values import Limits, check_text, limits, plain_params
from ..store.graph.tables import unpacked
from .answers import COUNTS, COUNTS_AS, counted, left_out, named_by_id
from .choice import MODELS, PAIR, resolve
from .differences import differences
from .entries import STUDY, Entry, entries_of
from .named import NamedQuery, get_named, is_name, parameters_of
from .names import Models
from .parameters import Only

if TYPE_CHECKING:
    from ..store import Store


def run(
    store: Store,
    text_or_name: str,
    params: Mapping[str, Any] | None = None,
    *,
    run: str | None = None,
    flagged: bool = False,
    timeout_s: float = 30.0,
    max_rows: int = 10_000,
    max_mib: int = 64,
) -> Table:
    """Run a named query or a Cypher query. A text without whitespace is the name of a query.

    A named query counts the newest answer to each question and leaves out flagged circuits; notes say how many it
    leaves out. Circuits that are named by id always count.

    Args:
        store: the store to query.
        text_or_name: Cypher, or the name of a query.
        params: values by name; parameters of a named query that have a default are optional.
        run: for a named query, count only the circuits of this run.
        flagged: for a named query, also count flagged circuits.
        timeout_s: seconds after which the query is stopped.
        max_rows: number of rows after which the answer is cut, with a note.
        max_mib: largest answer, in MiB as the engine sends it.

    Returns:
        The rows. For a named query, the fact `parameters` has the values of all parameters.

    Raises:
        InputError: the named query or run does not exist; a parameter is missing, unknown or of the wrong type, or no
            circuit in the store has its value.
        NotComparable: the circuits of the study are not comparable; the message names the fields.
        QueryRefused: the text could do more than read.
        QueryFailed: the text does not parse, uses names that are not in the schema, or runs out of time.

    Examples:
        >>> run(store, "MATCH (c:Circuit) RETURN count(*) AS circuits").to_pandas()
           circuits
        0        12
        >>> run(store, "sizes", {"metric": "logit"}).to_pandas()[["condition", "circuits", "edges"]]
                               condition  circuits  edges
        0                        natural         4  25.25
        1  typographic(text=other class)         4  18.75
    """
    check_text(text_or_name)
    within = limits(timeout_s, max_rows, max_mib)
    if not is_name(text_or_name):
        if run is not None or flagged:
            raise InputError(
                "--run and --flagged select circuits for named queries only; in Cypher, select circuits in the query "
                "itself: c.flag = '' leaves out flagged circuits"
            )
        return store.query(text_or_name, params, **within)
    given = plain_params(params)
    query = get_named(text_or_name.strip())
    values, choice = resolve(store, f"query {query.name}", query.parameters, given, run)
    chosen = _choose(store, query, values, run, flagged)
    table = _answer(store, query, values | chosen.sent, within)
    notes = [*chosen.notes, *table.notes]
    if not len(table):
        notes.append(_why_empty(store, query, values | chosen.sent, chosen, within))
    if "model_id" in table.frame:
        table = replace(table, frame=_labelled(table.frame, choice.models))
    shown = {name: choice.models.label(v) if name in MODELS else v for name, v in values.items()}
    return replace(table, notes=tuple(notes), facts={**table.facts, **chosen.facts, "parameters": shown})


@dataclass(frozen=True)
class _Chosen:
    """The circuits that an answer is about.

    Attributes:
        rows: the circuits that count; None if circuits are named by id, or if all circuits of the store may count.
        total: the number of circuits with these properties, whether or not they count.
        sent: parameters of the text that select the circuits.
        notes: what was left out, and what differs between the circuits.
        facts: word, target and contrast classes of the attack on one class.
    """

    rows: pd.DataFrame | None = None
    total: int = 0
    sent: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def _choose(store: Store, query: NamedQuery, values: Mapping[str, Any], run: str | None, flagged: bool) -> _Chosen:
    if not query.reads_circuits:
        if query.answer is None and run is not None:
            raise InputError(f"query {query.name}: --run selects circuits, which its answer is not about; leave it out")
        return _Chosen(sent={} if query.answer is None else {"run": run})
    ids = [values[p.name] for p in query.parameters if p.type == "circuit" and values[p.name]]
    if ids:
        if run is not None:
            raise InputError(
                f"query {query.name}: --run cannot be combined with circuits that are named by id; leave it out"
            )
        return _Chosen(notes=named_by_id(store.circuits(columns=COUNTS, id=ids)))
    if query.takes("left_out") and run is None:
        return _all_that_count(store, flagged)
    together = "id" not in query.columns and {p.name for p in query.parameters} >= {*STUDY} - MODELS
    rows = store.circuits(run, columns=COUNTS_AS if together else COUNTS, **query.filters(values))
    kept, notes = counted(rows, flagged=flagged or query.shows_flags)
    if query.shows_flags:
        notes = left_out(rows.loc[~rows["newest"].astype(bool)], len(rows), flagged=True)
    listed = {"listed": True, "left_out": []} if query.takes("left_out") else {}
    sent = {"circuits": list(kept["id"]), **listed}
    if not together:
        return _Chosen(kept, len(rows), sent, notes)
    entries = entries_of(store, kept)
    notes = (*notes, *_note_on_several(kept), *differences(list(map(_with_seed_0, entries)), _compared_field(query)))
    return _Chosen(kept, len(rows), sent, notes, _attack(query, entries))


def _all_that_count(store: Store, flagged: bool) -> _Chosen:
    """Select all circuits of a store by sending the ids of those that do not count, which are usually few."""
    rows = store.circuits(columns=COUNTS, counts=False)
    out = rows.loc[~rows["newest"].astype(bool)] if flagged else rows
    total = sum(store.count_circuits(["flag"])["circuits"]) if len(rows) else 0
    sent = {"listed": False, "circuits": [], "left_out": list(out["id"])}
    return _Chosen(None, total, sent, left_out(rows, total, flagged=flagged))


def _with_seed_0(entry: Entry) -> Entry:
    """Return the circuit with seed 0, because the note on several circuits of a class already covers other seeds."""
    item = entry.item
    return replace(entry, item=replace(item, recipe=replace(item.recipe, seed=0)))


def _compared_field(query: NamedQuery) -> str:
    """Return the field by which the query compares circuits."""
    if any(p.name in PAIR for p in query.parameters):
        return "model"
    return "condition" if _baseline(query) else "class"


def _baseline(query: NamedQuery) -> str | None:
    """Return the condition with which the query compares another one, if any."""
    return next(
        (p.default.other_than for p in query.parameters if isinstance(p.default, Only) and p.default.other_than), None
    )


def _note_on_several(kept: pd.DataFrame) -> list[str]:
    """Return a note if a class has several circuits in one study."""
    sizes = Counter(zip(kept["model_id"], kept["class"], kept["condition"], strict=True))
    several = sum(size > 1 for size in sizes.values())
    if not several:
        return []
    return [
        f"{several} of {len(sizes)} pairs of class and condition have several circuits in this study "
        f"(up to {max(sizes.values())}, with different seeds or precision): each one counts"
    ]


def _attack(query: NamedQuery, entries: list[Entry]) -> dict[str, str]:
    """Return word, target and contrast classes of the attack, in an effect study of one class."""
    if not _baseline(query) or len({e.item.target_class for e in entries}) != 1:
        return {}
    attacked = [e.item.contrast for e in entries if e.item.condition.kind != NATURAL]
    values = {name: {getattr(c, name) for c in attacked} for name in ("word", "target", "against_text")}
    return {name.removesuffix("_text"): next(iter(v)) for name, v in values.items() if len(v) == 1 and None not in v}


def _answer(store: Store, query: NamedQuery, values: dict[str, Any], within: Limits) -> Table:
    if query.answer is not None:
        return query.answer(store, values).first(within["max_rows"])
    packed = query.packed.get(store.graph.engine)
    if packed is None:
        return store.query(query.text, values, **within)
    max_rows = within["max_rows"]
    # A packed text is written for one engine, so it skips the checks of `Store.query` for all engines.
    time_and_size = {"timeout_s": within["timeout_s"], "max_mib": within["max_mib"]}
    return unpacked(store.graph.run(packed, values | {"max_rows": max_rows + 1}, **time_and_size), max_rows)


def _why_empty(store: Store, query: NamedQuery, values: Mapping[str, Any], chosen: _Chosen, within: Limits) -> str:
    """Return a note that says why there are no rows, or what comes nearest."""
    kept, baseline = chosen.rows, _baseline(query)
    if kept is not None and kept.empty:
        return (
            f"no rows: none of the {chosen.total} circuits counts" if chosen.total else "no rows: there are no circuits"
        )
    if kept is not None and baseline is not None and len(set(kept["condition"])) < 2:
        (only,) = set(kept["condition"])
        return f"no rows: all circuits that count have the condition {only}; there are none to compare them with"
    if query.near is None:
        return "no rows"
    message, text = query.near
    nearest = store.query(text, {name: values[name] for name in parameters_of(text)}, **within)
    return next((f"no rows: {message.format(**row)}" for row in nearest), "no rows")


def _labelled(frame: pd.DataFrame, models: Models) -> pd.DataFrame:
    """Replace the names of models by their labels, and drop the ids."""
    return frame.assign(model=[models.label(id) for id in frame["model_id"]]).drop(columns="model_id")
