"""The table of a defence study: accuracy of each defence under each condition, from responses image by image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

from .response import Response

if TYPE_CHECKING:
    import pandas as pd

Attacker = Literal["none", "model", "defence"]
"""What the attacker of a column differentiates or knows: there is none; the model; the defended model."""

DRAWS = 2000
"""Number of bootstrap samples of images."""


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


def bootstrap_interval(
    values: Float[np.ndarray, "image"], *, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean over images.

    Args:
        values: a number for each image.
        level: probability that the interval covers the mean.
        draws: number of samples, each as large as `values`, with replacement.
        seed: seed of the samples.

    Examples:
        >>> bootstrap_interval(np.array([1.0, 1.0, 1.0]))
        (1.0, 1.0)
        >>> low, high = bootstrap_interval(np.arange(100) % 2.0)
        >>> bool(0.38 < low < 0.45 and 0.55 < high < 0.62)
        True
    """
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(draws, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


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
    """Return a row per cell, with 95 % bootstrap intervals over images.

    Columns: `against`, `defence`, `condition`, `attacker`, `images`, `accuracy` with `accuracy_low` and
    `accuracy_high`, `read` (share of images that are classified as the attack's target) with `read_low` and
    `read_high`, `seconds_per_image`, `settings` as text.
    """
    import pandas as pd

    return pd.DataFrame([_row(cell) for cell in cells], columns=list(COLUMNS))


def _row(cell: DefenceCell) -> dict[str, Any]:
    hits, read = cell.hits, cell.read
    low, high = bootstrap_interval(hits)
    read_low, read_high = (np.nan, np.nan) if read is None else bootstrap_interval(read)
    settings = ", ".join(f"{name} {value}" for name, value in cell.settings.items() if value is not None)
    return {
        "against": cell.against,
        "defence": cell.defence,
        "condition": cell.condition,
        "attacker": cell.attacker,
        "images": len(hits),
        "accuracy": float(hits.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "read": np.nan if read is None else float(read.mean()),
        "read_low": read_low,
        "read_high": read_high,
        "seconds_per_image": cell.seconds,
        "settings": settings,
    }


def adaptive_sentences(table: pd.DataFrame) -> list[str]:
    """Return what the table says about attackers who know the defence, a sentence for each attack and defence.

    Examples:
        >>> figures = [("none", "model", 0.21), ("none", "defence", 0.2), ("edges", "model", 0.36)]
        >>> rows = [("pgd", "pgd", *of) for of in [*figures, ("edges", "defence", 0.19)]]
        >>> frame = pd.DataFrame(rows, columns=["against", "condition", "defence", "attacker", "accuracy"])
        >>> print(adaptive_sentences(frame)[0])
        pgd, edges: accuracy 36.0 % under the attack on the plain model (21.0 % without a defence), but 19.0 % if ...
    """
    own = table[table["condition"] == table["against"]].set_index(["against", "defence", "attacker"])["accuracy"]
    found = []
    for against, defence, attacker in own.index:
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
            f"defence), but {known:.1%} if the attacker differentiates through the defence ({bare:.1%} without one): "
            f"{verdict}".replace("%", " %")
        )
    return found
