"""Corrections: edits that are chosen on selection images, and what they do on report images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..circuits import Figures
from ..errors import InputError
from ..evaluation.interventions import Edit
from ..results import Exportable
from .answers import Predicted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class CorrectionRow:
    """One method of correction.

    Attributes:
        method: its name.
        edit: what was chosen on selection images; None if nothing within the maximum loss was better than no change.
        selection: accuracies on selection images.
        report: accuracies on report images.
        predicted: classes that are predicted for the report images.
    """

    method: str
    edit: Edit | None
    selection: Figures
    report: Figures
    predicted: Predicted


@dataclass(frozen=True, eq=False)
class Correction(Exportable):
    """Methods of correction side by side: chosen on selection images, accuracies of report images.

    Attributes:
        rows: one per method; the first is the unchanged model.
        notes: what the reader has to know.
    """

    rows: tuple[CorrectionRow, ...]
    notes: tuple[str, ...]

    def row(self, method: str) -> CorrectionRow:
        """Return the row of a method.

        Raises:
            InputError: there is none.
        """
        found = {row.method: row for row in self.rows}
        if method not in found:
            raise InputError(f"method: expected one of {', '.join(found)}, got {method!r}")
        return found[method]

    def to_pandas(self) -> pd.DataFrame:
        """Return columns `method, edit, group, images, accuracy, low, high`; one row per method and group of images.

        `low` and `high` are the bounds of Wilson's interval of 95 %.
        """
        import pandas as pd

        rows = [
            (row.method, "" if row.edit is None else row.edit.text, group, of.images, of.value, *of.interval)
            for row in self.rows
            for group, of in row.report.items()
        ]
        return pd.DataFrame(rows, columns=["method", "edit", "group", "images", "accuracy", "low", "high"])

    def __str__(self) -> str:
        """The accuracies in per cent with their intervals, one line per method."""
        import pandas as pd

        lines = [{"method": row.method, **{name: str(of) for name, of in row.report.items()}} for row in self.rows]
        return "\n".join([pd.DataFrame(lines).to_string(index=False), *(f"note: {note}" for note in self.notes)])
