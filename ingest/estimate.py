"""Estimated cost of a run: items, forward and backward passes, seconds, bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Unpack

import pandas as pd
import torch

from ..circuits import circuit_id, computation_graph, universe_of
from ..discovery import EXTRACTIONS, estimate_cost
from ..errors import StoreMissing
from ..images import Grouping, quotas
from ..models import ViT
from ..results import Table
from ..store import PartLocations, open_store
from .choice import Choice
from .evaluating import RANDOM_CIRCUITS
from .plan import Plan, Planned, make_plan
from .spec import Spec
from .survey import survey

CIRCUIT_RUN = 2.5
"""Cost of a patched run of a circuit, in forward passes of the same images: an upper bound of evaluation."""
BACKWARD = 1.0
"""Cost of a backward pass to activations, with frozen parameters, in forward passes."""
PATIENCE = 1.0
"""Seconds for a forward pass of one image above which only this one is timed."""
BYTES_PER_MEMBER = 160
"""Bytes per edge of a circuit in archive and graph together, measured by `benchmarks/store.py`."""


def dry_run(
    spec: Spec,
    *,
    location: str | Path | None = None,
    model: ViT | None = None,
    groups: Grouping | None = None,
    progress: bool = False,
    on_survey: Callable[[Table], None] | None = None,
    **locations: Unpack[PartLocations],
) -> Table:
    """Estimate the cost of a run, without computing or storing anything: one row per recipe and condition.

    Columns: `recipe, condition, items, done, images, forwards, backwards, seconds, megabytes`. The costs are those of
    items that are not done. Forward and backward passes are counted in images. The seconds follow from one timed
    forward pass on this device. The sizes of the circuits are not known yet, so `megabytes` is an upper bound that
    assumes a tenth of all edges per circuit.

    Args:
        spec: the run.
        location: folder of the store; default `./circuitstore-data`. It need not exist.
        model: a loaded model, used instead of the model in the spec.
        groups: how the images are divided into groups, used instead of `images.groups` in the spec; see `read_groups`.
        progress: show a bar on stderr if reading the images takes more than two seconds.
        on_survey: called with the `survey` of the items that are not done; if omitted, no images are read.
        locations: `graph`, `catalog`, `account` of the store, as for `open_store`.

    Raises:
        InputError: see `make_plan`.

    Examples:
        >>> dry_run(spec, location=folder).to_pandas()[["condition", "items", "done", "images"]].values.tolist()
        [['natural', 2, 0, 24]]
    """
    plan = make_plan(spec, model, groups=groups, progress=progress)
    stored = _stored(location, **locations)
    if on_survey is not None and (todo := [p.item for p in plan.items if not _is_done(p, stored)]):
        on_survey(survey(plan, Choice(plan), todo, progress=progress))
    forward_s = _seconds_per_forward(plan)
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for planned in plan.items:
        item = planned.item
        row = rows.setdefault(
            (item.recipe.text, item.condition.text),
            dict.fromkeys(("items", "done", "images", "forwards", "backwards", "seconds", "megabytes"), 0.0),
        )
        row["items"] += 1
        if _is_done(planned, stored):
            row["done"] += 1
            continue
        _add_cost(row, planned, forward_s)
    frame = pd.DataFrame([{"recipe": r, "condition": c, **row} for (r, c), row in rows.items()])
    whole = ["items", "done", "images", "forwards", "backwards"]
    frame = frame.astype(dict.fromkeys(whole, int)).round({"seconds": 1, "megabytes": 2})
    timed = f"one forward pass of {_sized_name(plan)} took {forward_s * 1e3:.3g} ms per image on {plan.model.device}"
    notes = (*plan.source.notices, *plan.notices, timed)
    return Table(frame, notes, {"seconds": sum(row["seconds"] for row in rows.values())})


def _is_done(planned: Planned, stored: frozenset[str]) -> bool:
    return stored.issuperset([planned.item.id, *(circuit_id(planned.item.id, e) for e in planned.extractions)])


def _add_cost(row: dict[str, float], planned: Planned, forward_s: float) -> None:
    item = planned.item
    count = min(item.selection.count, item.selection.n_candidates)
    share = quotas(count)
    discovery, rest = share["discovery"], share["report"]
    graph = computation_graph(universe_of(item.model, item.recipe.over))
    cost = estimate_cost(graph, item.recipe.method, discovery)
    runs = len(planned.extractions) * (1 + RANDOM_CIRCUITS)
    if planned.sized_by is None:
        runs += sum(EXTRACTIONS[extraction.kind].runs(graph.n_edges) for extraction in planned.extractions)
    forwards = cost.forwards + 2 * rest + CIRCUIT_RUN * runs * rest
    row["images"] += count
    row["forwards"] += forwards
    row["backwards"] += cost.backwards
    row["seconds"] += forward_s * (forwards + BACKWARD * cost.backwards)
    members = len(planned.extractions) * graph.n_edges / 10
    row["megabytes"] += (graph.n_edges * (8 + 2 * discovery) + members * BYTES_PER_MEMBER) / 1e6


def _stored(location: str | Path | None, **locations: Unpack[PartLocations]) -> frozenset[str]:
    """Return the ids of the answered items and the circuits of a store; empty if there is no store yet."""
    try:
        with open_store(location, **locations) as store:
            return frozenset(store.circuits()["id"]) | frozenset(store.items(state="done")["id"])
    except StoreMissing:
        return frozenset()


def _seconds_per_forward(plan: Plan) -> float:
    """Return the median of three forward passes of eight blank images, or the time of one image above `PATIENCE`."""
    first = _timed(plan, 1)
    if first > PATIENCE:
        return first
    return sorted(_timed(plan, 8) for _ in range(3))[1] / 8


def _timed(plan: Plan, count: int) -> float:
    images = torch.zeros(count, 3, *plan.model.image_size)
    began = time.perf_counter()
    plan.model.logits(images).cpu()
    return time.perf_counter() - began


def _sized_name(plan: Plan) -> str:
    height, width = plan.model.image_size
    return f"{plan.model.name} ({height}×{width})"
