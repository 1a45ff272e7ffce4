"""Merging: a store takes up the runs, values and notes of other stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from ..bars import QUIET_S, Bar
from ..errors import InputError, StoreDamaged
from ..results import Table
from . import answers, ledger
from .kinds import KINDS, StoredKind
from .store import Store
from .writer import Writer

AT_ONCE = 20
"""Values per transaction of the catalog."""

SHOWN = 5
"""Maximum number of conflicts that a message names."""


def merge_stores(store: Store, others: Sequence[Store], *, wait_s: float = 0.0, progress: bool = False) -> Table:
    """Take up the runs, discoveries, circuits, responses, read-outs, fits, example images and notes of other stores.

    Values that are present already are not copied, so a second call does nothing, and a call that was killed is
    continued by the same call. Every value is compared with its checksum when it is read. If a run exists in both
    stores, it gets the items and circuits of both. Failed items of the other store are to be computed in this one.

    Args:
        store: the store to write to.
        others: stores that are only read.
        wait_s: seconds to wait while another process writes.
        progress: whether to show a bar on stderr if it takes more than two seconds.

    Returns:
        A row per store and kind of value. Columns: `store` (its folder), `kind`, `added`, `present` (before).

    Raises:
        InputError: two stores have different values under one id, or a store is given twice; nothing is changed.
        StoreBusy: another process writes.
        StoreDamaged: a file of another store is damaged; the values before it are taken up.

    Examples:
        >>> from circuitstore.store import create_store
        >>> with create_store(folder / "all") as target:
        ...     table = merge_stores(target, [store]).to_pandas().set_index("kind")
        >>> bool(table.loc["circuit", "added"] == len(store.circuits()))
        True
    """
    _check_different(store, others)
    with store.writer(wait_s) as writer:
        _check_agreement(store, others)
        for other in others:
            _take_runs(writer, other)
        lacking = [(other, kind, *_lacking(store, other, kind)) for other in others for kind in KINDS.values()]
        rows = []
        total = sum(len(ids) for _, _, ids, _ in lacking)
        late: dict[str, Any] = {"delay": QUIET_S, "leave": False, "dynamic_ncols": True}
        with Bar(total=total, unit="value", desc="merging", disable=not progress, **late) as bar:
            for other, kind, ids, present in lacking:
                for start in range(0, len(ids), AT_ONCE):
                    some = ids[start : start + AT_ONCE]
                    _take(writer, other, kind, some)
                    bar.update(len(some))
                rows.append((str(other.location.folder), kind.name, len(ids), present))
    return Table(pd.DataFrame(rows, columns=["store", "kind", "added", "present"]))


def _check_different(store: Store, others: Sequence[Store]) -> None:
    """Raise InputError if a store is given twice."""
    seen = {store.location.archive.resolve()}
    for other in others:
        if (archive := other.location.archive.resolve()) in seen:
            raise InputError(f"{other.location.folder}: expected another store, got the same one twice; leave it out")
        seen.add(archive)


def _check_agreement(store: Store, others: Sequence[Store]) -> None:
    """Check that values with the same id are the same in all stores.

    Raises:
        InputError: some are not; the message names them.
    """
    conflicts = [
        f"{kind.name} {id[:12]} ({first.location.folder} and {second.location.folder})"
        for kind in KINDS.values()
        for id, first, second in _conflicts(kind, [store, *others])
    ]
    if conflicts:
        more = f" and {len(conflicts) - SHOWN} more" if len(conflicts) > SHOWN else ""
        raise InputError(
            f"the stores have different values for {'; '.join(conflicts[:SHOWN])}{more}: they were computed twice, on "
            "different devices or by different versions; nothing was changed; keep one of each: delete the run in one "
            "of the stores (circuitstore delete RUN, then circuitstore gc), and merge again"
        )


def _conflicts(kind: StoredKind[Any], stores: Sequence[Store]) -> Iterator[tuple[str, Store, Store]]:
    first: dict[str, tuple[str, Store]] = {}
    for store in stores:
        with store.catalog.reading() as connection:
            listed = answers.stored(connection, kind)
        for id, sha256 in listed.items():
            known, where = first.setdefault(id, (sha256, store))
            if known != sha256:
                yield id, where, store


def _take_runs(writer: Writer, other: Store) -> None:
    with other.catalog.reading() as connection:
        runs = [ledger.requests_of(connection, name) for name in ledger.run_names(connection)]
    for requests in runs:
        writer.take_run(requests)


def _lacking(store: Store, other: Store, kind: StoredKind[Any]) -> tuple[list[str], int]:
    """Return the ids of the values of a kind that only the other store has, and the number of those in both."""
    with store.catalog.reading() as mine, other.catalog.reading() as theirs:
        here, there = answers.stored(mine, kind), answers.stored(theirs, kind)
    lacking = [id for id in there if id not in here]
    return lacking, len(there) - len(lacking)


def _take(writer: Writer, other: Store, kind: StoredKind[Any], ids: Sequence[str]) -> None:
    try:
        writer.take(kind, ids, other.archive)
    except StoreDamaged as error:
        raise StoreDamaged(
            f"{other.location.folder} is damaged: {error}; repair that store first, then merge again: values before "
            "this one are kept"
        ) from error
