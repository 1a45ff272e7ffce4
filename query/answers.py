"""Which circuits count: the newest answer to each question, unless it is flagged."""

from __future__ import annotations

from collections import Counter

import pandas as pd

COUNTS = ("id", "flag", "newest")
"""Columns of `Store.circuits` that say whether a circuit counts."""

COUNTS_AS = (*COUNTS, "model_id", "class", "condition", "size_requested", "discovery_id")
"""The columns of `COUNTS`, and those by which circuits are grouped."""


def counted(rows: pd.DataFrame, *, flagged: bool = False) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the circuits that count, and notes on those that do not.

    If the newest answer to a question is flagged, no older answer replaces it.

    Args:
        rows: circuits, with the columns `flag` and `newest`.
        flagged: whether to count flagged circuits.
    """
    newest = rows.loc[rows["newest"].astype(bool)]
    kept = newest if flagged else newest.loc[newest["flag"] == ""]
    return kept, left_out(rows, len(rows), flagged=flagged)


def left_out(rows: pd.DataFrame, total: int, *, flagged: bool) -> tuple[str, ...]:
    """Return notes on circuits that do not count.

    Args:
        rows: at least all circuits that do not count, with the columns `flag` and `newest`.
        total: the number of all circuits.
        flagged: whether flagged circuits are counted.
    """
    notes = []
    older = sum(not newest for newest in rows["newest"])
    if older:
        notes.append(
            f"{older} of {total} circuits are left out: newer ones answer the same questions; --run selects a run"
        )
    flags = Counter(flag for flag, newest in zip(rows["flag"], rows["newest"], strict=True) if flag and newest)
    if flags:
        subject = f"{flags.total()} of {total - older} circuits are"
        reasons = "; ".join(f"{flag}: {n}" for flag, n in sorted(flags.items()))
        notes.append(
            f"{subject} flagged, and are counted ({reasons})"
            if flagged
            else f"{subject} left out: they are flagged ({reasons}); --flagged includes them"
        )
    return tuple(notes)


def named_by_id(rows: pd.DataFrame) -> tuple[str, ...]:
    """Return notes on circuits that count only because they were named by id.

    Args:
        rows: circuits, with the columns `id`, `flag` and `newest`.
    """
    notes = []
    for id, flag, latest in zip(rows["id"], rows["flag"], rows["newest"], strict=True):
        if flag:
            notes.append(f"circuit {id[:12]} is flagged: {flag}")
        if not latest:
            notes.append(f"circuit {id[:12]} is not the newest answer to its question")
    return tuple(notes)
