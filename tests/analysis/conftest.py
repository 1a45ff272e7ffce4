"""Stores and studies for the tests of summaries and reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from circuitstore.analysis.study_overview import JACCARD, StudyOverview
from circuitstore.query import SwapFloor, swap_floor
from circuitstore.query.floors import floor_of

from ..toy_models import model_store  # noqa: F401
from ..toy_studies import Answers, store_of, study_of, toy_store, toys  # noqa: F401


def overview_of(answers: Answers) -> StudyOverview:
    """Return one study with its noise floors and swap floors, without a store."""
    records = sorted(answers.records, key=lambda r: r.item.condition.kind != "natural")
    by_id = {d.id: d for d in answers.discoveries}
    floors = {i: floor_of(r, by_id[r.discovery_id], JACCARD) for i, r in enumerate(records)}
    discoveries = {i: by_id[r.discovery_id] for i, r in enumerate(records)}
    known = {i: f for i, f in floors.items() if f}
    shown = StudyOverview("Study", study_of(records), known, dict(enumerate(records)), discoveries)
    return replace(shown, swaps=dict(swaps_of(shown)))


def swaps_of(shown: StudyOverview) -> Iterator[tuple[int, SwapFloor]]:
    """Yield the swap floors from the natural circuit of each class to its other circuits."""
    of_class = {record.item.target_class: row for row, record in reversed(shown.records.items())}
    for row, record in shown.records.items():
        natural = of_class[record.item.target_class]
        pair = [(shown.records[i], shown.discoveries[i]) for i in (natural, row)]
        floor = swap_floor(*pair) if record.item.condition.kind != "natural" else None
        if floor is not None:
            yield row, floor
