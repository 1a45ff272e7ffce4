"""EAP-IG (activations): the output of one node moves from corrupted to clean, and the other nodes are recomputed.

The heads of a layer move together, as in the authors' code, and their edges sum to the patching effect of the whole
attention layer. The formula is in `own_node`. Costs S (L + 2/3) forward and backward passes in addition to the two
plain runs.

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

EAP_IG_ACTIVATIONS = per_image(
    partial(own_node, False),
    key="eap-ig-activations",
    name="Edge attribution patching with integrated gradients (activations, own node)",
    source="Hanna, Pezzelle & Belinkov 2024, arXiv 2403.17806; each node's edges from its own path",
    passes=partial(own_node_passes, False),
    directions=DIRECTIONS,
    params={"steps": path_steps(5), "rule": choice(*RULES), "gradient": GRADIENT},
    refuses=flat_in_one_step,
    conserves="nodes",
    tokens=True,
)
