"""Points of a straight path between two inputs, at which integrated gradients are taken."""

from __future__ import annotations

RULES = ("midpoint", "left", "right")


def points(steps: int, rule: str) -> list[float]:
    """Return where gradients are taken: 0 is the start of the path, 1 its end. Each point has weight 1 / steps."""
    shift = {"left": 0.0, "right": 1.0, "midpoint": 0.5}[rule]
    return [(k + shift) / steps for k in range(steps)]
