"""All formats by key. A new format is one file in this folder and one line here."""

from __future__ import annotations

from ..circuits import Registry, Variant
from .acdc import ACDC_PTH
from .auto_circuit import AUTO_CIRCUIT
from .circuit_tracer import CIRCUIT_TRACER
from .csv_edges import CSV
from .cytoscape import CYTOSCAPE
from .dataset import DATASET
from .eap_ig import EAP_IG
from .eap_ig_pt import EAP_IG_PT
from .edge_pruning import EDGE_PRUNING_JSON
from .format import FormatKind
from .graphml import GRAPHML
from .matrix import MATRIX
from .mib import MIB
from .neo4j_csv import NEO4J_CSV
from .neuronpedia import NEURONPEDIA

FORMATS: Registry[FormatKind, Variant] = Registry(
    "format",
    "formats",
    Variant,
    (
        EAP_IG,
        EAP_IG_PT,
        MIB,
        NEURONPEDIA,
        CIRCUIT_TRACER,
        GRAPHML,
        CYTOSCAPE,
        CSV,
        MATRIX,
        NEO4J_CSV,
        DATASET,
        EDGE_PRUNING_JSON,
        AUTO_CIRCUIT,
        ACDC_PTH,
    ),
)
"""All formats by key."""
