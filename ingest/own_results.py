"""Storage of a user's own results: all of them are checked first, then written by one writer."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Unpack

import numpy as np

from ..circuits import CircuitRecord, Discovery, EdgeScores
from ..errors import InputError, StoreDamaged
from ..store import CIRCUIT, DISCOVERY, PartLocations, Store, create_store
from .engine import IndexResult
from .names import check_class_name, check_model_name
from .own import Answer, OwnResult, answer
from .spec import is_printable

CLOSE = 1e-3
"""Maximum difference between scores of the same computation on two machines, as a share of the largest score."""


def store_results(
    run: str,
    results: Iterable[OwnResult],
    *,
    location: str | Path | None = None,
    wait_s: float = 0.0,
    **locations: Unpack[PartLocations],
) -> IndexResult:
    """Store results that were not computed by `index`.

    Queries, comparisons and reports treat them like indexed results; `index` neither computes nor changes them.
    Repeating the call changes nothing.

    Args:
        run: name of the run, which may exist already, also as a run of `index`.
        results: the results.
        location: folder of the store, created if missing; default `./circuitstore-data`.
        wait_s: seconds to wait for another writer of the store.
        locations: `graph`, `catalog`, `account` of the store, as for `open_store`.

    Returns:
        `done` and `circuits` count new results and circuits, `skipped` counts results that were already stored.

    Raises:
        InputError: a result is inconsistent, the store has another answer to the same question, or another model or
            class has the same name in the store; the message gives the position of the result. Nothing was written.
        StoreError: the store cannot be created or written, or another writer has it (`StoreBusy`).

    Examples:
        >>> images = cs.OwnImages(dataset="mine", class_name="three", images=pairs.clean, corruption="other-class")
        >>> result = cs.OwnResult(model=model, images=images, method="eap", scores=scores, circuits=[scores.top(24)])
        >>> store_results("mine", [result], location=folder).done
        1
    """
    began = time.monotonic()
    if not isinstance(run, str) or not 1 <= len(run) <= 200 or not is_printable(run):
        raise InputError(f"run: expected 1 to 200 printable characters without leading or trailing spaces, got {run!r}")
    answers = _answers(results)
    with create_store(location, **locations) as store, store.writer(wait_s=wait_s) as writer:
        named = _check_names(store, answers)
        for i, own in enumerate(answers):
            _check_unchanged(store, own, f"result {i}")
        known = [writer.has(DISCOVERY, own.discovery.id) for own in answers]
        records = [record for own in answers for record in own.circuits]
        new = sum(not writer.has(CIRCUIT, record.id) for record in records)
        for own in answers:
            writer.put(own.discovery, *own.responses, *own.circuits, run=run)
        writer.project_pending()
        notices = (*named, *writer.notices)
    return IndexResult(run, known.count(False), known.count(True), {}, new, notices, time.monotonic() - began)


def _answers(results: Iterable[OwnResult]) -> list[Answer]:
    answers: list[Answer] = []
    positions: dict[str, int] = {}
    for i, result in enumerate(results):
        if not isinstance(result, OwnResult):
            raise InputError(f"result {i}: expected an OwnResult, got {type(result).__name__}")
        try:
            answers.append(answer(result))
        except InputError as error:
            raise InputError(f"result {i}: {error}") from error
        other = positions.setdefault(answers[-1].discovery.id, i)
        if other != i:
            raise InputError(
                f"results {other} and {i} answer the same question ({answers[-1].discovery.item.text}); store their "
                "circuits as one result, or give them different conditions, methods, metrics, seeds or images"
            )
    if not answers:
        raise InputError("results: expected at least one OwnResult, got none")
    return answers


def _check_names(store: Store, answers: Sequence[Answer]) -> tuple[str, ...]:
    """Return notices about names; raise an error if another model or class has the same name in the store."""
    items = [own.discovery.item for own in answers]
    notices: dict[str, None] = {}
    for model in {item.model.id: item.model for item in items}.values():
        notices |= dict.fromkeys(check_model_name(store, model))
    for item in {(item.model.id, item.target_class): item for item in items}.values():
        check_class_name(store, item)
    return tuple(notices)


def _check_unchanged(store: Store, own: Answer, place: str) -> None:
    """Raise an error if the store has a different answer to the same question: it would keep the first."""
    mine = own.discovery
    with suppress(StoreDamaged):  # this answer replaces a damaged one
        if not store.archive.has("discovery", mine.id):
            return
        theirs, _ = store.archive.discovery(mine.id)
        if theirs.sha256 != mine.sha256 and not _close(theirs, mine):
            raise InputError(
                f"{place}: the store has another answer to this question ({mine.item.text}, {mine.item.recipe.text}), "
                "and never changes it; if the attack, the method or the metric has changed, raise its version or add "
                "the parameter"
            )
        if theirs.sha256 == mine.sha256:
            for record in own.circuits:
                _check_same_edges(store, record, place)


def _close(a: Discovery, b: Discovery) -> bool:
    """Return whether two answers may come from the same computation on two machines."""
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
            f"{place}: the store has other edges for {record.extraction.text} of this result; give the extraction "
            'another name: dataclasses.replace(circuit, extraction="my-cut(n=24)")'
        )
