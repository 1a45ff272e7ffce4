"""Estimated cost of a run: items, forward and backward passes, seconds, bytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Unpack

import pandas as pd
import torch

from ..circuits import READOUT, Corruption, WorkItem, asks_for_paths, circuit_id, computation_graph, universe_of
from ..discovery import EXTRACTIONS, estimate_cost
from ..errors import StoreMissing
from ..evaluation import READOUTS
from ..images import Grouping, changes_images, draws_on, has_image, quotas
from ..models import ViT
from ..results import Table
from ..store import PartLocations, open_store
from .choice import Choice
from .evaluating import RANDOM_CIRCUITS
from .examples import lacking_examples
from .neuron_paths import path_runs
from .plan import Plan, check_questions, make_plan
from .planned import Planned
from .readout_sizes import n_report_images, readout_bytes
from .spec import Spec
from .survey import survey, survey_row

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
    items that are not done, and of the example images that are not stored. Forward and backward passes are counted in
    images; those of sender means are in the first row that uses them. The seconds follow from one timed forward pass on
    this device. The sizes of the circuits are not known yet, so `megabytes` is an upper bound that assumes a tenth of
    all edges per circuit, and example images and read-outs that cannot be compressed.

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
    check_questions(spec)
    plan = make_plan(spec, model, groups=groups, progress=progress)
    stored = _stored(location, **locations)
    if on_survey is not None and (todo := [p.item for p in plan.items if not _is_done(p, stored)]):
        on_survey(survey(plan, todo, partial(map, partial(survey_row, Choice(plan))), progress=progress))
    forward_s = _seconds_per_forward(plan)
    shown, averaged = {item.id for item in lacking_examples(plan, stored)}, set[Corruption]()
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for planned in plan.items:
        item = planned.item
        row = rows.setdefault(
            (item.recipe.text, item.condition.text),
            dict.fromkeys(("items", "done", "images", "forwards", "backwards", "seconds", "megabytes"), 0.0),
        )
        row["items"] += 1
        row["megabytes"] += _example_bytes(plan, item) / 1e6 if item.id in shown else 0.0
        if _is_done(planned, stored):
            row["done"] += 1
            continue
        _add_cost(row, _cost(plan, planned), forward_s)
        if not has_image(item.recipe.corruption) and item.recipe.corruption not in averaged:
            averaged.add(item.recipe.corruption)
            _add_cost(row, {"forwards": _passes_of_means(plan, item), "backwards": 0}, forward_s)
    frame = pd.DataFrame([{"recipe": r, "condition": c, **row} for (r, c), row in rows.items()])
    whole = ["items", "done", "images", "forwards", "backwards"]
    frame = frame.astype(dict.fromkeys(whole, int)).round({"seconds": 1, "megabytes": 2})
    timed = f"one forward pass of {_sized_name(plan)} took {forward_s * 1e3:.3g} ms per image on {plan.model.device}"
    notes = (*plan.source.notices, *plan.notices, timed)
    return Table(frame, notes, {"seconds": sum(row["seconds"] for row in rows.values())})


def _is_done(planned: Planned, stored: frozenset[str]) -> bool:
    return stored.issuperset([planned.item.id, *(circuit_id(planned.item.id, e) for e in planned.extractions)])


def _add_cost(row: dict[str, float], cost: Mapping[str, float], forward_s: float) -> None:
    for name, value in cost.items():
        row[name] += value
    row["seconds"] += forward_s * (cost["forwards"] + BACKWARD * cost["backwards"])


def _cost(plan: Plan, planned: Planned) -> dict[str, float]:
    """Return the columns of `dry_run` that an item adds to."""
    if planned.item.recipe.form == READOUT:
        return _cost_of_readout(plan, planned)
    return _cost_of_paths(plan, planned) if asks_for_paths(planned.item) else _cost_of_edges(planned)


def _cost_of_edges(planned: Planned) -> dict[str, float]:
    item = planned.item
    count = min(item.selection.count, item.selection.n_candidates)
    share = quotas(count)
    discovery, rest = share["discovery"], share["report"]
    graph = computation_graph(universe_of(item.model, item.recipe.over))
    cost = estimate_cost(graph, item.recipe.method, discovery)
    runs = len(planned.extractions) * (1 + RANDOM_CIRCUITS)
    if planned.sized_by is None:
        runs += sum(EXTRACTIONS[extraction.kind].runs(graph.n_edges) for extraction in planned.extractions)
    members = len(planned.extractions) * graph.n_edges / 10
    return {
        "images": count,
        "forwards": cost.forwards + 2 * rest + CIRCUIT_RUN * runs * rest,
        "backwards": cost.backwards,
        "megabytes": (graph.n_edges * (8 + 2 * discovery) + members * BYTES_PER_MEMBER) / 1e6,
    }


def _cost_of_paths(plan: Plan, planned: Planned) -> dict[str, float]:
    item = planned.item
    discovery = quotas(min(item.selection.count, item.selection.n_candidates))["discovery"]
    runs = discovery * path_runs(plan.models[item.recipe.dtype], item.recipe.method)
    return {"images": discovery, "forwards": runs, "backwards": runs}


def _cost_of_readout(plan: Plan, planned: Planned) -> dict[str, float]:
    """Return the cost of a read-out."""
    item, model = planned.item, plan.models[planned.item.recipe.dtype]
    method, report = item.recipe.method, n_report_images(item)
    forwards, backwards = READOUTS[method.kind].passes(model, **dict(method.params))
    size = readout_bytes(model, item, per_image=planned.per_image) / 1e6
    return {"images": report, "forwards": forwards * report, "backwards": backwards * report, "megabytes": size}


def _passes_of_means(plan: Plan, item: WorkItem) -> int:
    """Return the number of images that the constants of an item's corruption are averaged over."""
    corruption, seed, cls = item.recipe.corruption, item.recipe.seed, item.target_class
    return len(draws_on(corruption, plan.source, cls, seed=seed, count=item.selection.count))


def _example_bytes(plan: Plan, item: WorkItem) -> int:
    """Return the bytes of the pixels of an item's example images, clean and attacked, without compression."""
    height, width = plan.model.image_size
    views = 2 if changes_images(item.condition) else 1
    return 3 * height * width * views * min(plan.spec.images.examples, item.selection.n_candidates)


def _stored(location: str | Path | None, **locations: Unpack[PartLocations]) -> frozenset[str]:
    """Return the ids of the answered items, circuits and example images of a store; empty without a store."""
    try:
        with open_store(location, **locations) as store:
            tables = store.circuits(), store.items(state="done"), store.examples()
            return frozenset(id for table in tables for id in table["id"])
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
