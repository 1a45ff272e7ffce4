"""The logits."""

from __future__ import annotations

from ..kind import Feature, Features
from ..seen import Seen


def _read(seen: Seen, base: object) -> Features:
    return seen.logits


LOGITS = Feature(read=_read)
"""The logits."""
