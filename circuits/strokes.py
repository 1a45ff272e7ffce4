"""Widths and colours of the edges of a drawing, and the samples of its legend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

KEY = "score: blue raises the metric, orange lowers it"
SHARED_KEY = "width: magnitude of the score"

RAISES = ((158, 202, 225), (8, 69, 148))
"""Blue, pale to dark: the edge raises the metric."""
LOWERS = ((253, 190, 133), (150, 52, 4))
"""Orange, pale to dark: the edge lowers the metric. Blue and orange are distinct in all common colour vision."""
UNSCORED = "#64748b"
SHARED, OWN = "#9aa7b8", "#be185d"
"""Pale grey and dark red, which differ in lightness too."""
_WIDTHS = (0.7, 6.0)
_PLAIN_WIDTH = 1.2
_SAMPLE_WIDTH = 3.0


@dataclass(frozen=True, eq=False)
class Strokes:
    """How the edges of a circuit are drawn.

    Attributes:
        values: one number per edge, for width and colour; None if all edges look the same.
        scale: magnitude of the widest and darkest edge.
        shared: which edges have the colour of shared edges; the others have another colour. None if the sign and the
            magnitude of the value give the colour.
    """

    values: Float[np.ndarray, "edge"] | None
    scale: float
    shared: Bool[np.ndarray, "edge"] | None = None

    @property
    def key(self) -> str:
        """What widths and colours mean if the values are scores."""
        return KEY if self.shared is None else SHARED_KEY

    def value(self, index: int) -> float | None:
        """Return the value of an edge; None without values."""
        return None if self.values is None else float(self.values[index])

    def of(self, index: int) -> str:
        """Return the attributes of the stroke of an edge."""
        value = self.value(index)
        if self.shared is None:
            return _unscored() if value is None else _scored(value, self.scale)
        width = _PLAIN_WIDTH if value is None else edge_width(value, self.scale)
        return _attributes(SHARED if self.shared[index] else OWN, width, 0.9)

    def samples(self, shown: Sequence[int]) -> list[tuple[str, str]]:
        """Return the samples of the legend, as attributes of a stroke and a text; none if all edges look the same.

        Args:
            shown: the edges that are drawn.
        """
        if self.shared is not None:
            return list(self._counted(shown, self.shared))
        return [(_scored(value, self.scale), _figure(value)) for value in self._typical(shown)]

    def _counted(self, shown: Sequence[int], shared: Bool[np.ndarray, "edge"]) -> Iterator[tuple[str, str]]:
        for colour, which, name in ((SHARED, True, "shared"), (OWN, False, "not shared")):
            number = sum(bool(shared[index]) is which for index in shown)
            yield _attributes(colour, _SAMPLE_WIDTH, 0.9), f"{number} {name}"

    def _typical(self, shown: Sequence[int]) -> list[float]:
        """Return a weak and the strongest value of each sign that is drawn; whole numbers if all values are."""
        drawn = np.zeros(0) if self.values is None else self.values[list(shown)]
        whole = bool((drawn == np.rint(drawn)).all()) and self.scale >= 1
        weak = max(1.0, round(0.3 * self.scale)) if whole else 0.3 * self.scale
        signs = [sign for sign, met in ((-1, (drawn < 0).any()), (1, (drawn > 0).any())) if met]
        return list(dict.fromkeys(sign * value for sign in signs for value in (weak, self.scale)[::sign]))


def _unscored() -> str:
    return f'stroke="{UNSCORED}" stroke-width="{_PLAIN_WIDTH}" stroke-opacity=".6"'


def _scored(value: float, scale: float) -> str:
    strength = min(abs(value) / scale, 1.0)
    return _attributes(edge_colour(value, scale), edge_width(value, scale), 0.55 + 0.4 * strength)


def _attributes(colour: str, width: float, opacity: float) -> str:
    return f'stroke="{colour}" stroke-width="{width:.2f}" stroke-opacity="{opacity:.2f}"'


def edge_width(value: float, scale: float) -> float:
    """Return the stroke width in pixels: linear in the magnitude up to `scale`."""
    thin, wide = _WIDTHS
    return thin + (wide - thin) * min(abs(value) / scale, 1.0)


def edge_colour(value: float, scale: float) -> str:
    """Return blue if the value raises the metric, orange if it lowers it, darker for larger magnitudes."""
    pale, dark = RAISES if value > 0 else LOWERS
    share = min(abs(value) / scale, 1.0) ** 0.6
    mixed = (round(p + (d - p) * share) for p, d in zip(pale, dark, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _figure(value: float) -> str:
    """Return a value with its sign and two digits, in full if that is short: `+170`."""
    return f"{value:+.0f}" if 100 <= abs(value) < 100_000 else f"{value:+.2g}"
