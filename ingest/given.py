"""Storing results of one's own: all of them are checked, then written in one session."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Unpack

import numpy as np

from ..circuits import CircuitRecord, Discovery, EdgeScores
from ..errors import InputError, StoreDamaged
from ..store import CIRCUIT, DISCOVERY, Elsewhere, Store, create_store
from .engine import IndexResult
from .names import check_class_name, check_model_name
from .own import Answer, OwnResult, answer
from .spec import is_printable

CLOSE = 1e-3
"""How far scores of the same computation may be apart on two machines, as a share of the largest."""


def store_results(
    run: str,
    results: Iterable[OwnResult],
    *,
    location: str | Path | None = None,
    wait_s: float = 0.0,
    **elsewhere: Unpack[Elsewhere],
) -> IndexResult:
    """Store results that were found elsewhere; the same call again finds all there.

    All that reads stores works on them; `index` neither computes nor changes them.

    Args:
        run: name under which they are found again; a new one, or one that exists, of `index` too.
        location: folder of the store; default `./circuitstore-data`. What is missing of the store is made.
        wait_s: seconds to wait for another writer of the store.
        elsewhere: `graph`, `catalog`, `account` of the store, as for `open_store`.

    Returns:
        `done` results and `circuits` that are new, `skipped` results that were there.

    Raises:
        InputError: a result that does not fit together, that the store has another answer to, or whose model or class
            the store knows as another; the position of the result is named. Nothing was written.
        StoreError: the store cannot be made or written, or another writer holds it (`StoreBusy`).
    """
    began = time.monotonic()
    if not isinstance(run, str) or not 1 <= len(run) <= 200 or not is_printable(run):
        raise InputError(f"run: expected 1 to 200 printable signs without blanks at the ends, got {run!r}")
    answers = _answers(results)
    made = create_store(location, **elsewhere)
    with made as store, store.writer(wait_s=wait_s) as writer:
        named = _check_names(store, answers)
        for i, given in enumerate(answers):
            _check_kept(store, given, f"result {i}")
        there = [writer.has(DISCOVERY, given.discovery.id) for given in answers]
        records = [record for given in answers for record in given.circuits]
        new = sum(not writer.has(CIRCUIT, record.id) for record in records)
        for given in answers:
            writer.put(given.discovery, *given.responses, *given.circuits, run=run)
        writer.project_pending()
        notices = (*named, *writer.notices)
    return IndexResult(run, there.count(False), there.count(True), {}, new, notices, time.monotonic() - began)


def _answers(results: Iterable[OwnResult]) -> list[Answer]:
    answers: list[Answer] = []
    asked: dict[str, int] = {}
    for i, result in enumerate(results):
        if not isinstance(result, OwnResult):
            raise InputError(f"result {i}: expected an OwnResult, got {type(result).__name__}")
        try:
            answers.append(answer(result))
        except InputError as error:
            raise InputError(f"result {i}: {error}") from error
        other = asked.setdefault(answers[-1].discovery.id, i)
        if other != i:
            raise InputError(
                f"results {other} and {i} answer the same question ({answers[-1].discovery.item.text}); store their "
                "circuits as one result, or tell them apart by condition, method, metric, seed or images"
            )
    if not answers:
        raise InputError("results: expected at least one OwnResult, got none")
    return answers


def _check_names(store: Store, answers: Sequence[Answer]) -> tuple[str, ...]:
    """Notices about names; refuse names that the store gives to others."""
    items = [given.discovery.item for given in answers]
    notices: dict[str, None] = {}
    for model in {item.model.id: item.model for item in items}.values():
        notices |= dict.fromkeys(check_model_name(store, model))
    for item in {(item.model.id, item.target_class): item for item in items}.values():
        check_class_name(store, item)
    return tuple(notices)


def _check_kept(store: Store, given: Answer, place: str) -> None:
    """Refuse an answer where the store has a different one to the same question: the first would be kept."""
    mine = given.discovery
    with suppress(StoreDamaged):  # then this one replaces it
        if not store.archive.has("discovery", mine.id):
            return
        theirs, _ = store.archive.discovery(mine.id)
        if theirs.sha256 != mine.sha256 and not _close(theirs, mine):
            raise InputError(
                f"{place}: the store has another answer to this question ({mine.item.text}, {mine.item.recipe.text}), "
                "and never changes what it has; if the attack, the method or the metric does something else now, raise "
                "its version or state the parameter"
            )
        if theirs.sha256 == mine.sha256:
            for record in given.circuits:
                _check_same_edges(store, record, place)


def _close(a: Discovery, b: Discovery) -> bool:
    """Whether two answers may be of one computation on two machines."""
    if a.scores is None or b.scores is None:
        return a.scores is b.scores and np.array_equal(a.circuit.members, b.circuit.members)
    return _near(a.scores, b.scores)


def _near(a: EdgeScores, b: EdgeScores) -> bool:
    return bool(np.abs(a.mean - b.mean).max() <= CLOSE * np.abs(a.mean).max())


def _check_same_edges(store: Store, record: CircuitRecord, place: str) -> None:
    if not store.archive.has("circuit", record.id):
        return
    theirs, _ = store.archive.circuit(record.id)
    if not np.array_equal(theirs.circuit.members, record.circuit.members):
        raise InputError(
            f"{place}: the store has other edges for {record.extraction.text} of this result; name the extraction "
            'otherwise: dataclasses.replace(circuit, extraction="my-cut(n=24)")'
        )
