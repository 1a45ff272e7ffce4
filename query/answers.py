"""Which circuits count: the newest answer to each question, and none that is flagged."""

from __future__ import annotations

from collections import Counter

import pandas as pd

COUNTS = ("id", "flag", "newest")
"""Columns of `Store.circuits` that say whether a circuit counts."""

COUNTS_AS = (*COUNTS, "model_id", "class", "condition", "size_requested", "discovery_id")
"""And what it counts as."""


def counted(rows: pd.DataFrame, *, flagged: bool = False) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The circuits that count, and notes on those that do not.

    Where the newest answer to a question is flagged, no older one stands in for it.

    Args:
        rows: with the columns `flag` and `newest`.
        flagged: whether flagged circuits count, too.
    """
    newest = rows.loc[rows["newest"].astype(bool)]
    kept = newest if flagged else newest.loc[newest["flag"] == ""]
    return kept, left_out(rows, len(rows), flagged=flagged)


def left_out(rows: pd.DataFrame, total: int, *, flagged: bool) -> tuple[str, ...]:
    """Notes on circuits that do not count.

    Args:
        rows: those that may not count, others among them or not, with the columns `flag` and `newest`.
        total: how many circuits there are.
        flagged: whether flagged circuits count, too.
    """
    notes = []
    older = sum(not newest for newest in rows["newest"])
    if older:
        told = f"{older} of {total} circuits are left out"
        notes.append(f"{told}: later ones answer the same questions; --run chooses a run")
    flags = Counter(flag for flag, newest in zip(rows["flag"], rows["newest"], strict=True) if flag and newest)
    if flags:
        told = f"{flags.total()} of {total - older} circuits are"
        reasons = "; ".join(f"{flag}: {n}" for flag, n in sorted(flags.items()))
        notes.append(
            f"{told} flagged and count all the same ({reasons})"
            if flagged
            else f"{told} left out: they are flagged ({reasons}); --flagged includes them"
        )
    return tuple(notes)


def named_by_id(rows: pd.DataFrame) -> tuple[str, ...]:
    """Notes on circuits that were named by id and would not count otherwise.

    Args:
        rows: with the columns `id`, `flag` and `newest`.
    """
    notes = []
    for id, flag, latest in zip(rows["id"], rows["flag"], rows["newest"], strict=True):
        if flag:
            notes.append(f"circuit {id[:12]} is flagged: {flag}")
        if not latest:
            notes.append(f"circuit {id[:12]} is not the newest answer to its question")
    return tuple(notes)
