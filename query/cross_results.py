"""Circuits evaluated on other images or in another model, as `circuitstore cross` returns or writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from ..circuits import short_names
from ..errors import InputError, check_known
from ..results import Table
from .entries import Entry

_KEY = ("circuit", "on_model_id", "on_class", "on_group", "on_condition", "corruption", "metric", "dtype")
_FIGURES = ("faithfulness", "retention")


class CrossResults:
    """Faithfulness and retention of circuits in other models, and on images of other classes.

    Args:
        table: the result of `cross_evaluate`, or of `read_cross_results`.

    Raises:
        InputError: a column is missing.
    """

    def __init__(self, table: Table) -> None:
        rows = _checked(table.frame, "cross")
        keys = rows[[*_KEY]].itertuples(index=False, name=None)
        self._found = dict(zip(keys, rows[[*_FIGURES]].astype(float).itertuples(index=False, name=None), strict=True))

    def find(self, circuit: Entry, other: Entry) -> tuple[float, float]:
        """Return faithfulness and retention of a circuit in the model, and on the images, of another circuit's item.

        They are NaN if the circuit was not evaluated there.
        """
        item = other.item
        images = (item.target_class.name, item.selection.group, item.condition.text)
        measured = (item.recipe.corruption.text, item.recipe.metric.text, item.recipe.dtype)
        return self._found.get((circuit.id, item.model.id, *images, *measured), (float("nan"), float("nan")))


_CIRCUIT = ("model", "class", "condition", "extraction")
_IMAGES = ("on_model", "on_class", "on_group", "on_condition", "corruption", "metric", "dtype")


def cross_matrix(table: Table, figure: str = "faithfulness") -> Table:
    """Return a figure as a matrix: a row per circuit, a column per set of images.

    Args:
        table: the result of `cross_evaluate`, or of `read_cross_results`.
        figure: a column of it.

    Returns:
        The first column, `circuit`, and the names of the others say in what circuits and images differ: class, and
        model, group, condition, extraction, corruption and metric if there are several. Pairs that were not evaluated
        are missing.

    Raises:
        InputError: there is no such column, or several circuits differ in none of these, such as in the method only.

    Examples:
        >>> from circuitstore.ingest import cross_evaluate, index
        >>> _ = index(spec, location=folder, progress=False)
        >>> matrix = cross_matrix(cross_evaluate(spec, location=folder), "accuracy_full").frame
        >>> list(matrix), matrix["circuit"].tolist()
        (['circuit', 'three', 'eight'], ['three', 'eight'])
    """
    rows = _checked(table.frame, "cross")
    check_known("figure", figure, rows.select_dtypes("number").columns)
    labelled = rows.assign(circuit=_labels(rows, _CIRCUIT), images=_labels(rows, _IMAGES))
    if labelled.duplicated(["circuit", "images"]).any():
        twice = labelled.loc[labelled.duplicated(["circuit", "images"]), "circuit"].iloc[0]
        raise InputError(
            f"matrix: several circuits are named {twice}, and differ in method or recipe; choose one with --where, "
            "such as method=…"
        )
    matrix = labelled.pivot(index="circuit", columns="images", values=figure)
    matrix = matrix.loc[labelled["circuit"].unique(), labelled["images"].unique()].rename_axis(None, axis=1)
    return Table(matrix.reset_index(), table.notes, {"figure": figure})


def _labels(rows: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Return the class, and other columns that differ, of each row."""
    texts = {name: [str(value) for value in rows[name]] for name in columns}
    shown = [name for name in columns if name.endswith("class") or len(set(texts[name])) > 1]
    names = [list(map(short_names(texts[name]).__getitem__, texts[name])) for name in shown]
    return [" · ".join(filter(None, parts)) for parts in zip(*names, strict=True)]


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
