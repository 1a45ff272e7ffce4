"""circuitstore: a graph-database-backed store of circuits of vision transformers.

The public names, listed once; each is loaded when it is first used, so that importing the package
costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analysis.baselines import magnitude_scores as magnitude_scores
    from .analysis.baselines import random_curves as random_curves
    from .analysis.circuit_tests import hypothesis_tests as hypothesis_tests
    from .analysis.completeness import completeness as completeness
    from .analysis.completeness import minimality as minimality
    from .analysis.curves import faithfulness_curve as faithfulness_curve
    from .circuits import Circuit as Circuit
    from .circuits import ComputationGraph as ComputationGraph
    from .circuits import Drawing as Drawing
    from .circuits import EdgeScores as EdgeScores
    from .discovery import discover as discover
    from .discovery import evaluate as evaluate
    from .discovery import head_to_head as head_to_head
    from .discovery import patch_edges as patch_edges
    from .discovery import patch_nodes as patch_nodes
    from .discovery import patch_path as patch_path
    from .discovery import score_edges as score_edges
    from .discovery import token_groups as token_groups
    from .errors import CircuitStoreError as CircuitStoreError
    from .errors import CircuitStoreWarning as CircuitStoreWarning
    from .ingest import OwnImages as OwnImages
    from .ingest import OwnResult as OwnResult
    from .ingest import index as index
    from .ingest import load_spec as load_spec
    from .ingest import store_results as store_results
    from .models import load_clip as load_clip
    from .models import load_model as load_model
    from .results import Table as Table
    from .store import Account as Account
    from .store import open_store as open_store

_WHERE = {
    "Account": "store",
    "Circuit": "circuits",
    "CircuitStoreError": "errors",
    "CircuitStoreWarning": "errors",
    "ComputationGraph": "circuits",
    "Drawing": "circuits",
    "EdgeScores": "circuits",
    "OwnImages": "ingest",
    "OwnResult": "ingest",
    "Table": "results",
    "completeness": "analysis.completeness",
    "discover": "discovery",
    "evaluate": "discovery",
    "faithfulness_curve": "analysis.curves",
    "head_to_head": "discovery",
    "hypothesis_tests": "analysis.circuit_tests",
    "index": "ingest",
    "load_clip": "models",
    "load_model": "models",
    "load_spec": "ingest",
    "magnitude_scores": "analysis.baselines",
    "minimality": "analysis.completeness",
    "open_store": "store",
    "patch_edges": "discovery",
    "patch_nodes": "discovery",
    "patch_path": "discovery",
    "random_curves": "analysis.baselines",
    "score_edges": "discovery",
    "store_results": "ingest",
    "token_groups": "discovery",
}

__all__ = sorted(_WHERE)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'circuitstore' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"circuitstore.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, *globals()]
