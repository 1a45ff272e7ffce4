"""All read-outs by key. A new read-out is one file and one line here."""

from __future__ import annotations

from ...circuits import ReadoutUse
from ...circuits.kinds import Registry
from .kind import ReadoutKind
from .logit_attribution import LOGIT_ATTRIBUTION
from .logit_lens import LOGIT_LENS

READOUTS: Registry[ReadoutKind, ReadoutUse] = Registry(
    "read-out",
    "readouts",
    ReadoutUse,
    (
        LOGIT_LENS,
        LOGIT_ATTRIBUTION,
    ),
)
"""All read-outs by key."""
