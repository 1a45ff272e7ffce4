"""How a named query is run: the catalog says which circuits count, the graph is asked about these."""

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
    """Answer a named query, or a Cypher text of the user's. What has no space in it is a name.

    A named query counts the newest answer to each question, without circuits that are flagged; notes say how many it
    leaves out. It takes circuits that it names by id as they are.

    Args:
        params: values by name; those of a named query that have a default may be left out.
        run: of a named query: circuits of this run only.
        flagged: of a named query: whether flagged circuits count, too.
        timeout_s: seconds after which the query is ended.
        max_rows: rows after which the answer is cut, with a note.
        max_mib: how large an answer may be, as it is sent by the engine.

    Returns:
        The rows; of a named query also the fact `parameters`, all values that were used.

    Raises:
        InputError: no such named query or run; a parameter is missing, unknown or of the wrong type, or names a
            class, condition … of which the store has no circuit.
        NotComparable: the circuits of a study mean different things; names the fields.
        QueryRefused: the text could do more than read.
        QueryFailed: it does not parse, names what is not in the schema, or ran out of time.
    """
    check_text(text_or_name)
    within = limits(timeout_s, max_rows, max_mib)
    if not is_name(text_or_name):
        if run is not None or flagged:
            raise InputError(
                "--run and --flagged choose circuits for named queries; in Cypher of your own, say which circuits you "
                "want: c.flag = '' leaves out what is flagged"
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
    """The circuits of an answer.

    Attributes:
        rows: those that count; None where circuits are named by id, or are all of the store.
        total: how many there are besides, of the same properties.
        sent: what the text is told of them.
        notes: what was left out, and what differs.
        facts: what an attack on one class consists of.
    """

    rows: pd.DataFrame | None = None
    total: int = 0
    sent: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def _choose(store: Store, query: NamedQuery, values: Mapping[str, Any], run: str | None, flagged: bool) -> _Chosen:
    ids = [values[p.name] for p in query.parameters if p.type == "circuit"]
    if ids:
        if run is not None:
            raise InputError(f"query {query.name}: it names circuits by id, which --run cannot choose; leave --run out")
        return _Chosen(notes=named_by_id(store.circuits(columns=COUNTS, id=ids)))
    if query.takes("left_out") and run is None:
        return _all_that_count(store, flagged)
    together = "id" not in query.columns and {p.name for p in query.parameters} >= {*STUDY} - MODELS
    rows = store.circuits(run, columns=COUNTS_AS if together else COUNTS, **query.chosen(values))
    kept, notes = counted(rows, flagged=flagged or query.shows_flags)
    if query.shows_flags:
        notes = left_out(rows.loc[~rows["newest"].astype(bool)], len(rows), flagged=True)
    listed = {"listed": True, "left_out": []} if query.takes("left_out") else {}
    sent = {"circuits": list(kept["id"]), **listed}
    if not together:
        return _Chosen(kept, len(rows), sent, notes)
    entries = entries_of(store, kept)
    notes = (*notes, *_several(kept), *differences(list(map(_unseeded, entries)), _held_against(query)))
    return _Chosen(kept, len(rows), sent, notes, _attack(query, entries))


def _all_that_count(store: Store, flagged: bool) -> _Chosen:
    """All circuits of a store but those that do not count, which are as a rule few: the text is told which."""
    rows = store.circuits(columns=COUNTS, counts=False)
    out = rows.loc[~rows["newest"].astype(bool)] if flagged else rows
    total = sum(store.count_circuits(["flag"])["circuits"]) if len(rows) else 0
    sent = {"listed": False, "circuits": [], "left_out": list(out["id"])}
    return _Chosen(None, total, sent, left_out(rows, total, flagged=flagged))


def _unseeded(entry: Entry) -> Entry:
    """The circuit as if of seed 0: where seeds differ, each class may have several circuits, which is reported once."""
    item = entry.item
    return replace(entry, item=replace(item, recipe=replace(item.recipe, seed=0)))


def _held_against(query: NamedQuery) -> str:
    """The field in which circuits are held against each other."""
    if any(p.name in PAIR for p in query.parameters):
        return "model"
    return "condition" if _but(query) else "class"


def _but(query: NamedQuery) -> str | None:
    """The condition that others are held against, if any."""
    return next((p.default.but for p in query.parameters if isinstance(p.default, Only) and p.default.but), None)


def _several(kept: pd.DataFrame) -> list[str]:
    """Says where a class has several circuits in one study."""
    sizes = Counter(zip(kept["model_id"], kept["class"], kept["condition"], strict=True))
    several = sum(size > 1 for size in sizes.values())
    if not several:
        return []
    return [
        f"{several} of {len(sizes)} pairs of class and condition have several circuits in this study "
        f"(up to {max(sizes.values())}; of other seeds or precision): each counts"
    ]


def _attack(query: NamedQuery, entries: list[Entry]) -> dict[str, str]:
    """In an effect study of one class: what its attack writes and aims at, and what both sides are contrasted with."""
    if not _but(query) or len({e.item.target_class for e in entries}) != 1:
        return {}
    attacked = [e.item.contrast for e in entries if e.item.condition.kind != NATURAL]
    told = {name: {getattr(c, name) for c in attacked} for name in ("word", "target", "against_text")}
    return {name.removesuffix("_text"): next(iter(v)) for name, v in told.items() if len(v) == 1 and None not in v}


def _answer(store: Store, query: NamedQuery, values: dict[str, Any], within: Limits) -> Table:
    if query.answer is not None:
        return query.answer(store, values).first(within["max_rows"])
    packed = query.packed.get(store.graph.engine)
    if packed is None:
        return store.query(query.text, values, **within)
    most = within["max_rows"]  # for one engine: nothing that has to be the same on all
    limits_of_it = {"timeout_s": within["timeout_s"], "max_mib": within["max_mib"]}
    return unpacked(store.graph.run(packed, values | {"most": most + 1}, **limits_of_it), most)


def _why_empty(store: Store, query: NamedQuery, values: Mapping[str, Any], chosen: _Chosen, within: Limits) -> str:
    """Why there are no rows, or what is nearest."""
    kept, but = chosen.rows, _but(query)
    if kept is not None and kept.empty:
        return (
            f"no rows: none of the {chosen.total} circuits counts" if chosen.total else "no rows: there is no circuit"
        )
    if kept is not None and but is not None and len(set(kept["condition"])) < 2:
        (only,) = set(kept["condition"])
        return f"no rows: all circuits that count are of the condition {only}; there are none to hold them against"
    if query.near is None:
        return "no rows"
    said, text = query.near
    nearest = store.query(text, {name: values[name] for name in parameters_of(text)}, **within)
    return next((f"no rows: {said.format(**row)}" for row in nearest), "no rows")


def _labelled(frame: pd.DataFrame, models: Models) -> pd.DataFrame:
    """The rows with models under their labels instead of name and id."""
    return frame.assign(model=[models.label(id) for id in frame["model_id"]]).drop(columns="model_id")
