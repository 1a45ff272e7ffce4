"""All discovery methods by key. A new method is one file in `methods/` and one line here."""

from __future__ import annotations

from ..circuits import IMPORTED, MethodUse
from ..circuits.kinds import Registry
from .method import Method
from .methods.acdc import ACDC
from .methods.atp_star import ATP_STAR
from .methods.conductance import CONDUCTANCE
from .methods.eap import EAP
from .methods.eap_ig import EAP_IG
from .methods.eap_ig_activations import EAP_IG_ACTIVATIONS
from .methods.eap_ig_activations_as_coded import EAP_IG_ACTIVATIONS_AS_CODED
from .methods.eap_ig_activations_heads import EAP_IG_ACTIVATIONS_HEADS
from .methods.edge_pruning import EDGE_PRUNING
from .methods.exact import EXACT
from .methods.flow_routes import FLOW_ROUTES
from .methods.gate_ig import GATE_IG
from .methods.grad_drop import GRAD_DROP
from .methods.iterative_expansion import ITERATIVE_EXPANSION
from .methods.iterative_pruning import ITERATIVE_PRUNING
from .methods.qk_fix import QK_FIX
from .methods.ugs import UGS
from .methods.vi_cd import VI_CD

METHODS: Registry[Method, MethodUse] = Registry(
    "method",
    "methods",
    MethodUse,
    (
        EAP,
        EAP_IG,
        EAP_IG_ACTIVATIONS,
        EAP_IG_ACTIVATIONS_HEADS,
        EAP_IG_ACTIVATIONS_AS_CODED,
        CONDUCTANCE,
        GATE_IG,
        GRAD_DROP,
        QK_FIX,
        ATP_STAR,
        FLOW_ROUTES,
        EXACT,
        ACDC,
        VI_CD,
        UGS,
        EDGE_PRUNING,
        ITERATIVE_PRUNING,
        ITERATIVE_EXPANSION,
    ),
    {
        IMPORTED: "results of the method 'imported' were read from a file of another tool and cannot be computed; name "
        "a method that computes scores, or import the file with circuitstore import"
    },
)
"""All methods by key."""
