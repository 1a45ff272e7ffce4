"""EAP-IG (activations): the output of one node is taken from corrupted to clean, while the others run on.

The heads of a layer move together, as in the authors' code, and their edges sum to the patch of the whole attention.
The formula is in `own_node`; S (L + 2/3) forwards and backwards beside the two plain runs.

Hanna, Pezzelle & Belinkov 2024, arXiv 2403.17806.
"""

from __future__ import annotations

from functools import partial

from ...circuits.kinds import choice
from ...circuits.recipe import DIRECTIONS
from ..flat_gradients import flat_in_one_step
from ..interpolation import RULES
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
