"""Stores that tests of summaries and reports read, and studies as they show them."""

from __future__ import annotations

from circuitstore.analysis.study_overview import JACCARD, StudyOverview
from circuitstore.query.floors import floor_of

from ..toy_studies import Answers, store_of, study_of, toy_store, toys  # noqa: F401


def overview_of(made: Answers) -> StudyOverview:
    """One study with its noise floors, made without a store."""
    records = sorted(made.records, key=lambda r: r.item.condition.kind != "natural")
    by_id = {d.id: d for d in made.discoveries}
    floors = {i: floor_of(r, by_id[r.discovery_id], JACCARD) for i, r in enumerate(records)}
    return StudyOverview("Study", study_of(records), {i: f for i, f in floors.items() if f}, dict(enumerate(records)))
