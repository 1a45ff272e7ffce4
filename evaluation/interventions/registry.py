"""All kinds of interventions by key. A new kind is one file and one line here."""

from __future__ import annotations

from ...circuits.kinds import Registry
from ...circuits.response import Intervention
from .ablation import ABLATE_COMPONENTS, ABLATE_EDGES
from .gated import GATED
from .kind import InterventionKind
from .neurons import SUPPRESS_NEURONS
from .new_head import REPLACE_HEAD
from .steering import STEER_EDGES, STEER_SENDERS

INTERVENTIONS: Registry[InterventionKind, Intervention] = Registry(
    "intervention",
    "interventions",
    Intervention,
    (STEER_EDGES, STEER_SENDERS, ABLATE_EDGES, ABLATE_COMPONENTS, SUPPRESS_NEURONS, REPLACE_HEAD, GATED),
)
"""All kinds of interventions that edit a model, by key."""
