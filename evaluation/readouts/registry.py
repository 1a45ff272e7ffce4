"""All read-outs by key. A new read-out is one file and one line here."""

from __future__ import annotations

from ...circuits import ReadoutUse
from ...circuits.kinds import Registry
from .affine_lens import AFFINE_LENS
from .attention_flow import ATTENTION_FLOW
from .attention_patterns import ATTENTION_PATTERNS
from .attention_relevance import ATTENTION_RELEVANCE
from .attention_rollout import ATTENTION_ROLLOUT
from .attention_times_gradient import ATTENTION_TIMES_GRADIENT
from .circuit_footprint import CIRCUIT_FOOTPRINT
from .footprint import FOOTPRINT
from .gradient_maps import INPUT_X_GRADIENT, SALIENCY
from .head_patching import HEAD_PAIRS, HEAD_PATCHING
from .integrated_gradients import INTEGRATED_GRADIENTS
from .kind import ReadoutKind
from .logit_attribution import LOGIT_ATTRIBUTION
from .logit_lens import LOGIT_LENS
from .occlusion import OCCLUSION
from .path_effects import PATH_EFFECTS
from .perturbation import PERTURBATION
from .random_map import RANDOM_MAP
from .rise import RISE
from .smoothgrad import SMOOTHGRAD
from .stream_patching import STREAM_PATCHING

READOUTS: Registry[ReadoutKind, ReadoutUse] = Registry(
    "read-out",
    "readouts",
    ReadoutUse,
    (
        LOGIT_LENS,
        AFFINE_LENS,
        LOGIT_ATTRIBUTION,
        ATTENTION_PATTERNS,
        ATTENTION_ROLLOUT,
        ATTENTION_FLOW,
        ATTENTION_RELEVANCE,
        ATTENTION_TIMES_GRADIENT,
        INTEGRATED_GRADIENTS,
        SMOOTHGRAD,
        INPUT_X_GRADIENT,
        SALIENCY,
        OCCLUSION,
        RISE,
        RANDOM_MAP,
        STREAM_PATCHING,
        HEAD_PATCHING,
        HEAD_PAIRS,
        FOOTPRINT,
        CIRCUIT_FOOTPRINT,
        PERTURBATION,
        PATH_EFFECTS,
    ),
)
"""All read-outs by key."""
