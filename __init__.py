"""circuitstore: discovers circuits of vision transformers and stores them in a graph database.

Public names are loaded when they are first used, so that importing the package is fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .circuits import Circuit as Circuit
    from .circuits import ComputationGraph as ComputationGraph
    from .circuits import Drawing as Drawing
    from .circuits import EdgeScores as EdgeScores
    from .circuits import Readout as Readout
    from .defence import DETECTORS as DETECTORS
    from .defence import CuedImages as CuedImages
    from .defence import LabelledImages as LabelledImages
    from .defence import correct_confusion as correct_confusion
    from .defence import correct_groups as correct_groups
    from .defence import fit_detector as fit_detector
    from .defence import score_images as score_images
    from .discovery import EXTRACTIONS as EXTRACTIONS
    from .discovery import METHODS as METHODS
    from .discovery import discover as discover
    from .discovery import score_edges as score_edges
    from .errors import CircuitStoreError as CircuitStoreError
    from .errors import CircuitStoreWarning as CircuitStoreWarning
    from .evaluation import METRICS as METRICS
    from .evaluation import READOUTS as READOUTS
    from .evaluation import Execution as Execution
    from .evaluation import ImagePairs as ImagePairs
    from .evaluation import MapEvaluation as MapEvaluation
    from .evaluation import PathSearch as PathSearch
    from .evaluation import ablate_components as ablate_components
    from .evaluation import ablate_edges as ablate_edges
    from .evaluation import agreement as agreement
    from .evaluation import attention_flow as attention_flow
    from .evaluation import attention_patterns as attention_patterns
    from .evaluation import attention_relevance as attention_relevance
    from .evaluation import attention_rollout as attention_rollout
    from .evaluation import attention_times_gradient as attention_times_gradient
    from .evaluation import circuit_footprint as circuit_footprint
    from .evaluation import class_neurons as class_neurons
    from .evaluation import completeness as completeness
    from .evaluation import edit_neurons as edit_neurons
    from .evaluation import evaluate as evaluate
    from .evaluation import evaluate_map as evaluate_map
    from .evaluation import faithfulness_curve as faithfulness_curve
    from .evaluation import fit_affine_lens as fit_affine_lens
    from .evaluation import fit_directions as fit_directions
    from .evaluation import fit_group_directions as fit_group_directions
    from .evaluation import footprint as footprint
    from .evaluation import footprint_by_layer as footprint_by_layer
    from .evaluation import gated as gated
    from .evaluation import greedy_components as greedy_components
    from .evaluation import head_to_head as head_to_head
    from .evaluation import hypothesis_tests as hypothesis_tests
    from .evaluation import key_positions as key_positions
    from .evaluation import lens_divergence as lens_divergence
    from .evaluation import logit_attribution as logit_attribution
    from .evaluation import logit_lens as logit_lens
    from .evaluation import magnitude_scores as magnitude_scores
    from .evaluation import minimality as minimality
    from .evaluation import neuron_attack_effects as neuron_attack_effects
    from .evaluation import neuron_conductance as neuron_conductance
    from .evaluation import neuron_paths as neuron_paths
    from .evaluation import neuron_similarity as neuron_similarity
    from .evaluation import neuron_usage as neuron_usage
    from .evaluation import on_patches as on_patches
    from .evaluation import patch_attribution as patch_attribution
    from .evaluation import patch_edges as patch_edges
    from .evaluation import patch_head_pairs as patch_head_pairs
    from .evaluation import patch_heads as patch_heads
    from .evaluation import patch_nodes as patch_nodes
    from .evaluation import patch_path as patch_path
    from .evaluation import patch_stream as patch_stream
    from .evaluation import path_changes as path_changes
    from .evaluation import path_effects as path_effects
    from .evaluation import path_stability as path_stability
    from .evaluation import perturbation as perturbation
    from .evaluation import projection_gate as projection_gate
    from .evaluation import prune_by_class as prune_by_class
    from .evaluation import prune_neurons as prune_neurons
    from .evaluation import random_curves as random_curves
    from .evaluation import random_edges as random_edges
    from .evaluation import replace_head as replace_head
    from .evaluation import score_paths as score_paths
    from .evaluation import steer_edges as steer_edges
    from .evaluation import steer_senders as steer_senders
    from .evaluation import suppress_neurons as suppress_neurons
    from .evaluation import token_groups as token_groups
    from .formats import FORMATS as FORMATS
    from .formats import export_circuits as export_circuits
    from .images import CONDITIONS as CONDITIONS
    from .images import CORRUPTIONS as CORRUPTIONS
    from .images import image_pairs as image_pairs
    from .ingest import OwnImages as OwnImages
    from .ingest import OwnResult as OwnResult
    from .ingest import correct as correct
    from .ingest import cross_evaluate as cross_evaluate
    from .ingest import defend as defend
    from .ingest import detect as detect
    from .ingest import imported_result as imported_result
    from .ingest import index as index
    from .ingest import load_spec as load_spec
    from .ingest import store_results as store_results
    from .ingest import train_probe as train_probe
    from .models import drawn_outputs as drawn_outputs
    from .models import load_clip as load_clip
    from .models import load_model as load_model
    from .models import mean_outputs as mean_outputs
    from .models import zero_outputs as zero_outputs
    from .query import add_note as add_note
    from .results import Table as Table
    from .store import Account as Account
    from .store import merge_stores as merge_stores
    from .store import open_store as open_store

_WHERE = {
    "Account": "store",
    "CONDITIONS": "images",
    "CORRUPTIONS": "images",
    "Circuit": "circuits",
    "CircuitStoreError": "errors",
    "CircuitStoreWarning": "errors",
    "ComputationGraph": "circuits",
    "CuedImages": "defence",
    "DETECTORS": "defence",
    "Drawing": "circuits",
    "EXTRACTIONS": "discovery",
    "EdgeScores": "circuits",
    "Execution": "evaluation",
    "FORMATS": "formats",
    "ImagePairs": "evaluation",
    "LabelledImages": "defence",
    "METHODS": "discovery",
    "METRICS": "evaluation",
    "MapEvaluation": "evaluation",
    "OwnImages": "ingest",
    "OwnResult": "ingest",
    "PathSearch": "evaluation",
    "READOUTS": "evaluation",
    "Readout": "circuits",
    "Table": "results",
    "ablate_components": "evaluation",
    "ablate_edges": "evaluation",
    "add_note": "query",
    "agreement": "evaluation",
    "attention_flow": "evaluation",
    "attention_patterns": "evaluation",
    "attention_relevance": "evaluation",
    "attention_rollout": "evaluation",
    "attention_times_gradient": "evaluation",
    "circuit_footprint": "evaluation",
    "class_neurons": "evaluation",
    "completeness": "evaluation",
    "correct_confusion": "defence",
    "correct_groups": "defence",
    "correct": "ingest",
    "cross_evaluate": "ingest",
    "defend": "ingest",
    "detect": "ingest",
    "discover": "discovery",
    "drawn_outputs": "models",
    "edit_neurons": "evaluation",
    "evaluate": "evaluation",
    "evaluate_map": "evaluation",
    "export_circuits": "formats",
    "faithfulness_curve": "evaluation",
    "fit_affine_lens": "evaluation",
    "fit_detector": "defence",
    "fit_directions": "evaluation",
    "fit_group_directions": "evaluation",
    "footprint": "evaluation",
    "footprint_by_layer": "evaluation",
    "gated": "evaluation",
    "greedy_components": "evaluation",
    "head_to_head": "evaluation",
    "hypothesis_tests": "evaluation",
    "image_pairs": "images",
    "imported_result": "ingest",
    "index": "ingest",
    "key_positions": "evaluation",
    "lens_divergence": "evaluation",
    "load_clip": "models",
    "load_model": "models",
    "load_spec": "ingest",
    "logit_attribution": "evaluation",
    "logit_lens": "evaluation",
    "magnitude_scores": "evaluation",
    "mean_outputs": "models",
    "merge_stores": "store",
    "minimality": "evaluation",
    "neuron_attack_effects": "evaluation",
    "neuron_conductance": "evaluation",
    "neuron_paths": "evaluation",
    "neuron_similarity": "evaluation",
    "neuron_usage": "evaluation",
    "on_patches": "evaluation",
    "open_store": "store",
    "patch_attribution": "evaluation",
    "patch_edges": "evaluation",
    "patch_head_pairs": "evaluation",
    "patch_heads": "evaluation",
    "patch_nodes": "evaluation",
    "patch_path": "evaluation",
    "patch_stream": "evaluation",
    "path_changes": "evaluation",
    "path_effects": "evaluation",
    "path_stability": "evaluation",
    "perturbation": "evaluation",
    "projection_gate": "evaluation",
    "prune_by_class": "evaluation",
    "prune_neurons": "evaluation",
    "random_curves": "evaluation",
    "random_edges": "evaluation",
    "replace_head": "evaluation",
    "score_edges": "discovery",
    "score_images": "defence",
    "score_paths": "evaluation",
    "steer_edges": "evaluation",
    "steer_senders": "evaluation",
    "store_results": "ingest",
    "suppress_neurons": "evaluation",
    "token_groups": "evaluation",
    "train_probe": "ingest",
    "zero_outputs": "models",
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
