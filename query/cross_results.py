"""Circuits evaluated in another model than their own, as `circuitstore cross` returns or writes them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from ..errors import InputError
from ..results import Table
from .entries import Entry

_KEY = ("circuit", "on_model_id", "on_class", "on_group", "on_condition", "corruption", "metric", "dtype")
_FIGURES = ("faithfulness", "retention")


class CrossResults:
    """Faithfulness and retention of circuits in other models.

    Args:
        table: the result of `cross_evaluate`, or of `read_cross_results`.

    Raises:
        InputError: a column is missing.
    """

    def __init__(self, table: Table) -> None:
        rows = _checked(table.frame, "cross")
        keys = rows[[*_KEY]].itertuples(index=False, name=None)
        self._found = dict(zip(keys, rows[[*_FIGURES]].astype(float).itertuples(index=False, name=None), strict=True))

    def find(self, base: Entry, other: Entry) -> tuple[float, float]:
        """Return faithfulness and retention of the base model's circuit in the other model, on the images of its item.

        They are NaN if the circuit was not evaluated there.
        """
        item = other.item
        images = (item.target_class.name, item.selection.group, item.condition.text)
        measured = (item.recipe.corruption.text, item.recipe.metric.text, item.recipe.dtype)
        return self._found.get((base.id, item.model.id, *images, *measured), (float("nan"), float("nan")))


def read_cross_results(paths: Iterable[Path]) -> Table:
    """Read files that `circuitstore cross SPEC.toml --out FILE` wrote, Parquet or CSV.

    Raises:
        InputError: a file cannot be read, or has no such rows.

    Examples:
        >>> from circuitstore.ingest import cross_evaluate, index
        >>> _ = index(spec, location=folder / "store", progress=False)
        >>> cross_evaluate(spec, location=folder / "store").to_parquet(folder / "cross.parquet")
        >>> len(read_cross_results([folder / "cross.parquet"]))
        4
    """
    return Table(pd.concat([_read(path) for path in paths], ignore_index=True))


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix.lower() == ".csv":
            rows = pd.read_csv(path, dtype=str, keep_default_na=False)
        else:
            rows = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot read ({error}); expected .parquet or .csv of circuitstore cross") from error
    figures = _checked(rows, str(path))[[*_FIGURES]].apply(pd.to_numeric, errors="coerce")
    return rows.assign(**{name: figures[name] for name in _FIGURES})


def _checked(rows: pd.DataFrame, where: str) -> pd.DataFrame:
    missing = [column for column in (*_KEY, *_FIGURES) if column not in rows]
    if missing:
        raise InputError(
            f"{where}: expected the rows of circuitstore cross, but there is no column {', '.join(missing)}; write "
            "them with: circuitstore cross SPEC.toml --out FILE.parquet"
        )
    return rows
