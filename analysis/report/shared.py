"""What the classes of a study share, and what is specific to some, laid out for the page."""

from __future__ import annotations

from dataclasses import dataclass

from ..shared import SHARES, core_edges, core_sizes, specific_edges, usage_by_kind
from ..study_overview import StudyOverview
from ..wording import count
from .tables import ROWS, HtmlTable, frame_table


@dataclass(frozen=True)
class SharedView:
    """Consensus circuits, edges specific to classes, and the use of components."""

    sizes: HtmlTable
    core: HtmlTable | None
    specific: HtmlTable | None
    usage: HtmlTable


def shared_view(shown: StudyOverview) -> SharedView | None:
    """Lay out what the circuits of several classes share under the first condition; None for a single circuit."""
    records = shown.main_records
    if len(records) < 2:
        return None
    circuits, names = [r.circuit for r in records], [r.item.target_class.name for r in records]
    of = f"{count(len(records), 'circuit')} under {shown.study.short(records[0].item.condition.text)}"
    core, specific = core_edges(circuits), specific_edges(names, circuits)
    return SharedView(
        frame_table(
            core_sizes(circuits),
            f"Consensus circuits of {of}: edges that at least this share has. By chance: the expected number for "
            "random circuits of these sizes.",
        ),
        frame_table(core, f"Edges in at least {SHARES[-1]:.0%} of {of}. Mean rank: 1 is first.", max_rows=ROWS)
        if len(core)
        else None,
        frame_table(
            specific,
            f"Edges that few of {of} have. Log ratio: log2 of the share in the class and elsewhere, half a circuit "
            "added to each count; p: hypergeometric, not below 1 / number of circuits with one circuit per class.",
            max_rows=ROWS,
        )
        if len(specific)
        else None,
        frame_table(
            usage_by_kind(circuits),
            f"Share of the ends of edges at each kind of component and layer, mean over {of}; even: the same if every "
            "edge were in the circuit.",
        ),
    )
