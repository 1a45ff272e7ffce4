"""EAP-IG (activations) with heads moved one at a time, so that each head's edges sum to its own patching effect.

The formula is in `own_node`. Costs about S H L / 2 forward and backward passes in addition to the two plain runs.

Hanna, Pezzelle & Belinkov 2024, arXiv 2403.17806.
"""

from __future__ import annotations

from functools import partial

from ...circuits.kinds import choice
from ...circuits.recipe import DIRECTIONS
from ...evaluation.path_points import RULES
from ..flat_gradients import flat_in_one_step
from ..method import GRADIENT, path_steps
from ..own_node import own_node, own_node_passes
from ..scoring import per_image

EAP_IG_ACTIVATIONS_HEADS = per_image(
    partial(own_node, True),
    key="eap-ig-activations-heads",
    name="Edge attribution patching with integrated gradients (activations, own node, head by head)",
    source="Hanna, Pezzelle & Belinkov 2024, arXiv 2403.17806; each node's edges from its own path",
    passes=partial(own_node_passes, True),
    forms=("split", "head", "attention"),
    directions=DIRECTIONS,
    params={"steps": path_steps(5), "rule": choice(*RULES), "gradient": GRADIENT},
    additive=False,
    refuses=flat_in_one_step,
    conserves="nodes",
    tokens=True,
)
