"""Circuit discovery: methods that score or select edges, and extractions that find a circuit's size.

Names are loaded when they are first used: extractions from stored scores need no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .answer import Cost as Cost
    from .answer import discover as discover
    from .answer import estimate_cost as estimate_cost
    from .answer import score_edges as score_edges
    from .bisection import smallest_by_bisection as smallest_by_bisection
    from .conserved import RESIDUAL_LIMIT as RESIDUAL_LIMIT
    from .extractions import EXTRACTIONS as EXTRACTIONS
    from .extractions import ExtractionKind as ExtractionKind
    from .extractions import is_absolute as is_absolute
    from .extractions import sized_by as sized_by
    from .method import Method as Method
    from .method import MethodOutput as MethodOutput
    from .registry import METHODS as METHODS
    from .retention import smallest_with_retention as smallest_with_retention

_WHERE = {
    "Cost": "answer",
    "EXTRACTIONS": "extractions",
    "ExtractionKind": "extractions",
    "METHODS": "registry",
    "Method": "method",
    "MethodOutput": "method",
    "RESIDUAL_LIMIT": "conserved",
    "discover": "answer",
    "estimate_cost": "answer",
    "is_absolute": "extractions",
    "score_edges": "answer",
    "sized_by": "extractions",
    "smallest_by_bisection": "bisection",
    "smallest_with_retention": "retention",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
    globals()[name] = value
    return value
