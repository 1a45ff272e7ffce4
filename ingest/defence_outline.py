"""What a defence study would compute, and what of it is stored, without computing or storing anything."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import pandas as pd

from ..circuits import FitUse
from ..defence.rows import ROWS, Row
from ..errors import StoreMissing
from ..images import SPLITS
from ..models import ViT
from ..results import Table
from ..store import PartLocations, open_store
from .defence_fits import study_question
from .defence_images import StudyImages
from .knowing import can_know
from .plan import make_plan
from .spec import Spec


def outline_defence(
    spec: Spec, *, model: ViT | None = None, location: str | Path | None = None, **locations: Unpack[PartLocations]
) -> Table:
    """Return what `defend` would compute: a row per attack and defence.

    Columns: `against`, `defence`, `conditions` (with the attack that knows the defence), `responses` (one per class,
    condition and draw of a control; at most, before a control's settings are chosen), `stored`. The facts are the
    numbers of classes, and of images in each split.

    Args:
        spec: the spec of the study.
        model: a loaded model, used instead of the model in the spec.
        location: folder of the store; default `./circuitstore-data`. It need not exist.
        locations: `graph`, `catalog`, `account` of the store, as for `open_store`.

    Raises:
        InputError: as for `defend`, as far as it follows from the spec.

    Examples:
        >>> attack = cs.ingest.spec.ConditionSpec(kind="fgsm", eps="8/255")
        >>> study = spec.model_copy(update={"condition": (attack,), "defence": cs.ingest.spec.DefenceSpec()})
        >>> outline_defence(study, location=folder).frame.astype(object).iloc[0].tolist()
        ['fgsm', 'none', 3, 6, 0]
    """
    images = StudyImages(make_plan(spec, model))
    try:
        with open_store(location, **locations) as store:
            fits, responses = store.fits(thing="defence"), set(store.responses()["id"])
            known = {use: store.fit(id).facts["cells"] for use, id in zip(fits["fit"], fits["id"], strict=True)}
    except StoreMissing:
        known, responses = {}, set()
    rows = []
    for attack in images.against:
        for row in ROWS:
            conditions = len(images.conditions) + (row.attacked_knowing and can_know(attack))
            use = FitUse.of(row.name, {"question": study_question(images, attack, row.name)})
            ids = [id for cell in known.get(use.text, ()) for draw in cell["responses"] for id in draw]
            count = len(ids) or conditions * len(images.classes) * _draws(row, images)
            stored = sum(id in responses for id in ids)
            rows.append((images.names[attack], row.name, conditions, count, stored))
    frame = pd.DataFrame(rows, columns=["against", "defence", "conditions", "responses", "stored"])
    counts = [f"{sum(len(images.refs(cls, split)) for cls in images.classes)} {split}" for split in SPLITS]
    facts = {"classes": str(len(images.classes)), "images": ", ".join(counts)}
    return Table(frame, (*images.plan.source.notices, *images.plan.notices, *images.notices), facts)


def _draws(row: Row, images: StudyImages) -> int:
    return 1 if row.control is None else images.settings.draws
