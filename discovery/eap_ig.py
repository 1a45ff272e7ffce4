"""EAP and EAP-IG: sender differences times the metric's gradient at receivers.

EAP (Syed et al. 2023) takes the gradient on the clean run. EAP-IG (Hanna et al. 2024, inputs) averages
it over points between the corrupted and the clean stream that enter block 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..circuits import Form
from ..models import ReceiverGradients, SenderDifferences, ViT
from .batches import Pairs
from .contraction import Contraction
from .method import BatchScores, Method, Param

_PENDING = 8
"""Runs whose normalised streams are kept before they are contracted: bounds memory for many steps."""

RULES = ("left", "right", "midpoint")


def points(steps: int, rule: str) -> list[float]:
    """Where gradients are taken: 0 is the corrupted stream, 1 the clean one; all weigh 1 / steps."""
    shift = {"left": 0.0, "right": 1.0, "midpoint": 0.5}[rule]
    return [(k + shift) / steps for k in range(steps)]


def along_path(model: ViT, pairs: Pairs, form: Form, at: Sequence[float]) -> BatchScores:
    """Scores with the gradient averaged over the points `at`.

    Runs that are end points of the path serve for the senders' differences too, so it takes
    `len(at)` backwards and as many forwards, plus one for each end point that is not in `at`.
    """
    clean, corrupted = model.embed(pairs.clean), model.embed(pairs.corrupted)
    differences = SenderDifferences(model, form, clean)
    gradients = ReceiverGradients(model, form, clean)
    ends = {}
    for end, sign, stream in ((1.0, 1, clean), (0.0, -1, corrupted)):
        with differences.recording(sign, stream):
            if end in at:
                ends[end] = gradients.add(stream, pairs.values, 1 / len(at))
            else:
                with torch.no_grad():
                    ends[end] = pairs.values(model.readout(model.through_blocks(stream)))
    differences.finish()
    contraction = Contraction(model.graph(form), differences, gradients)
    between = [point for point in at if point not in ends]
    for index, point in enumerate(between, 1):
        gradients.add(torch.lerp(corrupted, clean, point), pairs.values, 1 / len(at))
        if index % _PENDING == 0:
            contraction.take_centres()
    contraction.take_centres()
    return BatchScores(contraction.finish(), ends[1.0], ends[0.0])


def _eap(model: ViT, pairs: Pairs, form: Form) -> BatchScores:
    return along_path(model, pairs, form, [1.0])


def _eap_ig(model: ViT, pairs: Pairs, form: Form, *, steps: int, rule: str) -> BatchScores:
    return along_path(model, pairs, form, points(steps, rule))


EAP = Method(
    key="eap",
    name="Edge attribution patching",
    paper="Syed, Rager & Conmy 2023, arXiv 2310.10348",
    function=_eap,
    passes=lambda: (2, 1),
)

EAP_IG = Method(
    key="eap-ig",
    name="Edge attribution patching with integrated gradients (inputs)",
    paper="Hanna, Pezzelle & Belinkov 2024, arXiv 2403.17806",
    function=_eap_ig,
    passes=lambda steps, rule: (steps + (2 if rule == "midpoint" else 1), steps),
    params={
        "steps": Param(
            5, "a whole number from 1 on", lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 1
        ),
        "rule": Param("midpoint", " or ".join(RULES), lambda v: v in RULES),
    },
    conserves=True,
)
