"""The table of a defence study: accuracy of each defence under each condition, from responses image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

from .fit import Fit
from .proportion import Proportion
from .response import Response

if TYPE_CHECKING:
    import pandas as pd

Attacker = Literal["none", "model", "defence"]
"""What the attacker of a column knows: there is no attacker; the model; the defended model."""


@dataclass(frozen=True, eq=False)
class DefenceCell:
    """One defence under one condition.

    Attributes:
        against: the attack that the defence was fitted against.
        defence: the row of the table, such as `edges`.
        condition: what was done to the images.
        attacker: what the attacker knows.
        responses: for each draw of a random defence, the responses of all classes.
        targets: index of the class that the attack aims at, for each response; None without one.
        settings: what was chosen on selection images, such as `strength`.
    """

    against: str
    defence: str
    condition: str
    attacker: Attacker
    responses: tuple[tuple[Response, ...], ...]
    targets: tuple[int | None, ...]
    settings: Mapping[str, Any]

    @property
    def hits(self) -> Float[np.ndarray, "image"]:
        """Share of the draws that classify each image correctly."""
        return self._mean([[response.hit for response in draw] for draw in self.responses])

    @property
    def read(self) -> Float[np.ndarray, "image"] | None:
        """Share of the draws that classify each image as the target; None if some class has no target."""
        targets = [target for target in self.targets if target is not None]
        if len(targets) < len(self.targets):
            return None
        return self._mean([[r.predicted == t for r, t in zip(draw, targets, strict=True)] for draw in self.responses])

    @property
    def seconds(self) -> float:
        """Seconds per image, on average."""
        found = [r.provenance.get("seconds_per_image", np.nan) for draw in self.responses for r in draw]
        return float(np.mean(found))

    def _mean(self, draws: Sequence[Sequence[np.ndarray]]) -> Float[np.ndarray, "image"]:
        return np.mean([np.concatenate(draw) for draw in draws], axis=0)


def cells_of(record: Fit, response: Callable[[str], Response]) -> Iterator[DefenceCell]:
    """Yield the cells of a stored row of a study.

    Args:
        record: the row, a fit of the thing `defence`.
        response: returns a response by its id.

    Examples:
        >>> model = store.circuit(store.circuits()["id"][0]).item.model
        >>> record = Fit("defence", cs.circuits.FitUse.of("edges"), model, "digits", (), {}, {"cells": []})
        >>> list(cells_of(record, store.response))
        []
    """
    facts = record.facts
    for cell in facts["cells"]:
        yield DefenceCell(
            facts["against"],
            record.use.kind,
            cell["condition"],
            cell["attacker"],
            tuple(tuple(response(id) for id in draw) for draw in cell["responses"]),
            tuple(cell["targets"]),
            facts["settings"],
        )


COLUMNS = (
    "against",
    "defence",
    "condition",
    "attacker",
    "images",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "read",
    "read_low",
    "read_high",
    "seconds_per_image",
    "settings",
)
"""Columns of `defence_table`."""


def defence_table(cells: Iterable[DefenceCell]) -> pd.DataFrame:
    """Return a row per cell, with Wilson's intervals of 95 %.

    Columns: `against`, `defence`, `condition`, `attacker`, `images`, `accuracy` with `accuracy_low` and
    `accuracy_high`, `read` (share of images that are classified as the attack's target) with `read_low` and
    `read_high`, `seconds_per_image`, `settings` as text.

    Examples:
        >>> defence_table([]).columns.tolist()[:6]
        ['against', 'defence', 'condition', 'attacker', 'images', 'accuracy']
    """
    import pandas as pd

    return pd.DataFrame([_row(cell) for cell in cells], columns=list(COLUMNS))


def _row(cell: DefenceCell) -> dict[str, Any]:
    hits, read = cell.hits, cell.read
    accuracy, other = Proportion.of(hits), None if read is None else Proportion.of(read)
    low, high = accuracy.interval
    read_low, read_high = (np.nan, np.nan) if other is None else other.interval
    settings = ", ".join(f"{name} {value}" for name, value in cell.settings.items() if value is not None)
    if cell.settings and not settings:
        settings = "nothing better within the clean loss"
    return {
        "against": cell.against,
        "defence": cell.defence,
        "condition": cell.condition,
        "attacker": cell.attacker,
        "images": len(hits),
        "accuracy": accuracy.value,
        "accuracy_low": low,
        "accuracy_high": high,
        "read": np.nan if other is None else other.value,
        "read_low": read_low,
        "read_high": read_high,
        "seconds_per_image": cell.seconds,
        "settings": settings,
    }


def compact_defence_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table for reading: a row per attack and defence, a column per condition, in per cent.

    A cell has the accuracy with its interval, and after `read` the share of images that are classified as the attack's
    target. `(knows)` marks the attack that is run on the defended model.

    Examples:
        >>> import pandas as pd
        >>> figures = dict.fromkeys(["accuracy", "accuracy_low", "accuracy_high"], 0.5) | {"read": 0.25}
        >>> names = {"against": "pgd", "defence": "edges", "condition": "pgd", "attacker": "defence"}
        >>> frame = pd.DataFrame([names | figures | {"seconds_per_image": 0.002, "settings": "strength 1.0"}])
        >>> compact_defence_table(frame).iloc[0].to_dict()
        {'against': 'pgd', 'defence': 'edges', 'pgd (knows)': '50.0 [50.0, 50.0] read 25.0', 'ms': 2.0, 'chosen': ...}
    """
    import pandas as pd

    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for cell in table.to_dict("records"):
        row = rows.setdefault(
            (cell["against"], cell["defence"]), {"against": cell["against"], "defence": cell["defence"]}
        )
        name = cell["condition"] + (" (knows)" if cell["attacker"] == "defence" else "")
        low, high, accuracy = (100 * cell[f"accuracy{end}"] for end in ("_low", "_high", ""))
        read = "" if np.isnan(cell["read"]) else f" read {100 * cell['read']:.1f}"
        row[name] = f"{accuracy:.1f} [{low:.1f}, {high:.1f}]{read}"
        row.setdefault("_", (round(1000 * cell["seconds_per_image"], 2), cell["settings"]))
    ends = {key: row.pop("_") for key, row in rows.items()}
    frame = pd.DataFrame(list(rows.values())).fillna("")
    return frame.assign(ms=[ms for ms, _ in ends.values()], chosen=[text for _, text in ends.values()])


LOW = 0.4
"""Median coherence below which the notes say that directions do not agree over images."""


def study_notes(records: Iterable[Fit], table: pd.DataFrame) -> list[str]:
    """Return what a study says in words: coherence of the directions, and attackers who know the defence.

    Args:
        records: the rows of the study.
        table: its `defence_table`.

    Examples:
        >>> model = store.circuit(store.circuits()["id"][0]).item.model
        >>> facts = {"against": "pgd", "coherence": {"median": 0.2, "least": 0.1, "largest": 0.5}}
        >>> record = Fit("defence", cs.circuits.FitUse.of("edges"), model, "digits", (), {}, facts)
        >>> print(study_notes([record], defence_table([]))[0])
        pgd: coherence of the directions 0.20 (0.10 to 0.50 over senders): the images change in different ...
    """
    found = {record.facts["against"]: record.facts["coherence"] for record in records}
    return [*(_coherence_sentence(name, values) for name, values in found.items()), *adaptive_sentences(table)]


def _coherence_sentence(against: str, coherence: Mapping[str, float]) -> str:
    median, least, largest = (coherence[name] for name in ("median", "least", "largest"))
    verdict = "the images change in different directions, so steering can remove little of the attack"
    if median >= LOW:
        verdict = "the images change in similar directions, so steering can work"
    return f"{against}: coherence of the directions {median:.2f} ({least:.2f} to {largest:.2f} over senders): {verdict}"


def adaptive_sentences(table: pd.DataFrame) -> list[str]:
    """Return what the table says about attackers who know the defence, a sentence for each attack and defence.

    Examples:
        >>> import pandas as pd
        >>> figures = [("none", "model", 0.21), ("none", "defence", 0.2), ("edges", "model", 0.36)]
        >>> rows = [("pgd", "pgd", *of) for of in [*figures, ("edges", "defence", 0.19)]]
        >>> frame = pd.DataFrame(rows, columns=["against", "condition", "defence", "attacker", "accuracy"])
        >>> print(adaptive_sentences(frame)[0])
        pgd, edges: accuracy 36.0 % under the attack on the plain model (21.0 % without a defence), but 19.0 % if ...
    """
    rows = table.loc[table["condition"] == table["against"]].to_dict("records")
    own: dict[tuple[str, str, str], float] = {(r["against"], r["defence"], r["attacker"]): r["accuracy"] for r in rows}
    found = []
    for against, defence, attacker in own:
        if attacker != "defence" or defence == "none":
            continue
        known, static, plain = (
            own[against, defence, "defence"],
            own[against, defence, "model"],
            own[against, "none", "model"],
        )
        bare = own.get((against, "none", "defence"), plain)
        gained, kept = static - plain, known - bare
        if kept <= 0:
            verdict = "an attacker who knows the defence takes all of its gain back"
        elif kept < gained / 2:
            verdict = "an attacker who knows the defence takes most of its gain back"
        else:
            verdict = "the gain survives this attacker; stronger attacks may exist"
        found.append(
            f"{against}, {defence}: accuracy {static:.1%} under the attack on the plain model ({plain:.1%} without a "
            f"defence), but {known:.1%} if the attack is run on the defended model ({bare:.1%} without one): "
            f"{verdict}".replace("%", " %")
        )
    return found
