"""Which circuits count: the newest answer to each question, and none that is flagged."""

from __future__ import annotations

from collections import Counter

import pandas as pd

COLUMNS = ("id", "model", "model_id", "class", "condition", "size_requested", "flag", "newest", "discovery_id")
"""Columns of `Store.circuits` that tell whether a circuit counts, and what it counts as."""


def counted(rows: pd.DataFrame, *, flagged: bool = False) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The circuits that count, and notes on those that do not.

    Where the newest answer to a question is flagged, no older one stands in for it.

    Args:
        rows: with the columns `flag` and `newest`.
        flagged: whether flagged circuits count, too.
    """
    latest, notes = newest(rows)
    flags = Counter(flag for flag in latest["flag"] if flag)
    if not flags:
        return latest, notes
    reasons = "; ".join(f"{flag}: {n}" for flag, n in sorted(flags.items()))
    told = f"{flags.total()} of {len(latest)} circuits are"
    if flagged:
        return latest, (*notes, f"{told} flagged and count all the same ({reasons})")
    return latest.loc[latest["flag"] == ""], (
        *notes,
        f"{told} left out: they are flagged ({reasons}); --flagged includes them",
    )


def newest(rows: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The newest answer to each question, and a note on others.

    Args:
        rows: with the column `newest`.
    """
    latest = rows.loc[rows["newest"].astype(bool)]
    if len(latest) == len(rows):
        return latest, ()
    told = f"{len(rows) - len(latest)} of {len(rows)} circuits are left out"
    return latest, (f"{told}: later ones answer the same questions; --run chooses a run",)


def named_by_id(rows: pd.DataFrame) -> tuple[str, ...]:
    """Notes on circuits that were named by id and would not count otherwise.

    Args:
        rows: with the columns `id`, `flag` and `newest`.
    """
    notes = []
    for row in rows.to_dict("records"):
        if row["flag"]:
            notes.append(f"circuit {row['id'][:12]} is flagged: {row['flag']}")
        if not row["newest"]:
            notes.append(f"circuit {row['id'][:12]} is not the newest answer to its question")
    return tuple(notes)
