"""A study with everything that a report and a summary show of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ..circuits import CircuitRecord, Discovery, Evaluation, StudyKind, short_names
from ..query import MEASURES, CrossResults, Floor, Similarity, Study, SwapFloor
from ..query.differences import other_contrast
from ..query.floors import left_out_of_floors, read_floors, spread
from ..query.measures import Circuits
from ..query.similarity import floors_of_pairs
from ..query.studies import COMMON
from ..store import Store
from .carriers import carriers
from .changes import Changes, changes
from .controls import Beyond, beyond_controls
from .cross_classes import cross_classes
from .faithfulness import faithfulness, random_faithfulness
from .side_by_side import hidden_gradients, side_by_side
from .stability import read_stability
from .swaps import read_swaps
from .wording import count, join_names

MAX_RECORDS = 60
"""Maximum number of circuits of a study that are shown in full: each random circuit, reasons, notes."""

MAX_STABILITY = 20
"""Maximum number of circuits of a study whose stability is computed, a tenth of a second each with 479 edges."""

JACCARD = MEASURES["jaccard"]
"""The measure with which classes are compared."""

KINDS: Mapping[StudyKind, str] = {"effect": "Effect study", "mechanism": "Mechanism study", "other": "Study"}


@dataclass(frozen=True, eq=False)
class StudyOverview:
    """A study with everything that is shown of it.

    Attributes:
        title: its kind, and what distinguishes it from other studies of this kind.
        study: its circuits.
        floors: the noise floors, by row.
        records: the circuits that are shown in full, by row: all conditions of the first classes.
        discoveries: the answers that they were extracted from, without scores per image, by row.
        cross: what is known of its circuits on images of other classes; None if nothing is.
        swaps: the swap floors of its circuits under other conditions than natural, by row.
        stability: the rows of `read_stability` for those of them under the first condition; empty if unknown.
    """

    title: str
    study: Study
    floors: Mapping[int, Floor]
    records: Mapping[int, CircuitRecord]
    discoveries: Mapping[int, Discovery]
    cross: CrossResults | None = None
    swaps: Mapping[int, SwapFloor] = field(default_factory=dict)
    stability: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def main_records(self) -> list[CircuitRecord]:
        """The circuits that are shown in full under the first condition, natural if there is one."""
        first = self.study.circuits["condition"].iloc[:1].tolist()
        return [record for record in self.records.values() if [record.item.condition.text] == first]

    @cached_property
    def similarities(self) -> Mapping[str, Similarity]:
        """The similarity of the classes' circuits, by condition with at least two classes."""
        return {c: self._similarity(c) for c in self.study.conditions if len(self.study.rows(c)) > 1}

    def _similarity(self, condition: str) -> Similarity:
        study, rows = self.study, self.study.rows(condition)
        circuits = Circuits(study.universe, study.members[rows], study.circuits["n_edges"].iloc[rows].tolist())
        own = np.array([self.floors[row].value if row in self.floors else np.nan for row in rows.tolist()])
        return Similarity(
            tuple(study.circuits["class"].iloc[rows]),
            JACCARD,
            JACCARD.matrix(circuits),
            JACCARD.chance_levels(circuits),
            floors_of_pairs(own),
        )

    @cached_property
    def cross_classes(self) -> Mapping[str, pd.DataFrame]:
        """The faithfulness of the circuit of each class on the images of each class, by condition; see there."""
        return dict(cross_classes(self.study, self.cross)) if self.cross else {}

    @cached_property
    def changes(self) -> tuple[Changes, ...]:
        """Gained and lost edges by condition; empty except for effect studies with the natural one."""
        if self.study.kind != "effect":
            return ()
        found = [changes(self.study, c, self.floors, self.swaps) for c in self.study.other_conditions]
        return tuple(c for c in found if c is not None)

    @cached_property
    def side_by_side(self) -> pd.DataFrame | None:
        """The conditions side by side; None except for effect studies with gained and lost edges."""
        return side_by_side(self.study, self.discoveries, self.changes) if self.changes else None

    @cached_property
    def beyond_controls(self) -> tuple[Beyond, ...]:
        """The edges that attacks add beyond their controls; empty except for effect studies."""
        return tuple(beyond_controls(self.study)) if self.study.kind == "effect" else ()

    @cached_property
    def carriers(self) -> Mapping[str, pd.DataFrame]:
        """The edges that carry each condition of a mechanism study."""
        if self.study.kind != "mechanism":
            return {}
        return {c: carriers(self.study, c) for c in self.study.other_conditions if len(self.study.rows(c))}

    @cached_property
    def faithfulness(self) -> pd.DataFrame:
        """The faithfulness of the circuits without a flag, in the order of the rows."""
        return faithfulness(self.study.circuits)

    @cached_property
    def listed(self) -> pd.DataFrame:
        """The faithfulness of all circuits, including flagged ones with their flag."""
        return faithfulness(self.study.listed)

    @property
    def notes(self) -> Iterator[str]:
        """What is left out of the study, and what else differs between its circuits."""
        yield from self.study.notes
        if len(self.study.flagged):
            yield _flagged(self.study)
        yield from other_contrast(entry.item for entry in self.study.entries)
        signs = list(hidden_gradients(self.study, self.discoveries.values()))
        if signs:
            yield f"the model may hide its gradients, so the success of attacks says little ({join_names(signs, 3)})"
        if self.floors:
            yield from left_out_of_floors([self.study.entries[row].item for row in self.floors])

    @property
    def random(self) -> dict[int, list[float]]:
        """The faithfulness of the random circuits, by row."""
        return {i: random_faithfulness(r.evaluation) for i, r in self.records.items() if r.evaluation}

    @property
    def reasons(self) -> dict[int, str]:
        """The reasons why circuits have no faithfulness, by row."""
        found = {}
        for row in np.flatnonzero(self.faithfulness["faithfulness"].isna()).tolist():
            record = self.records.get(row)
            evaluation = record.evaluation if record else None
            found[row] = "no report images" if record and not evaluation else _reason(evaluation, "faithfulness")
        return found


def titles(studies: Sequence[Study]) -> list[str]:
    """Return the kind of each study, with the shortest text that distinguishes it from others of its kind."""
    found = []
    for study in studies:
        same_kind = [s.common for s in studies if s.kind == study.kind]
        varying = [f for f in COMMON if f != "model_id" and len({common[f] for common in same_kind}) > 1]
        texts = [", ".join(_field_text(f, common) for f in varying) for common in [study.common, *same_kind]]
        found.append(": ".join(filter(None, (KINDS[study.kind], short_names(texts)[texts[0]]))))
    return found


def _field_text(field: str, common: Mapping[str, str]) -> str:
    """Return a value as it is read in a title; a group and a seed with the name of the field."""
    named = {"seed": "seed", "image_group": "group"}
    return f"{named[field]} {common[field]}" if common[field] and field in named else str(common[field])


def read_study(store: Store, title: str, study: Study, cross: CrossResults | None = None) -> StudyOverview:
    """Read the noise floors and swap floors of a study, and the circuits that are shown in full."""
    first = set(study.classes[: max(1, MAX_RECORDS // len(study.conditions))])
    rows = [i for i, name in enumerate(study.circuits["class"]) if name in first]
    halved = spread([len(study.entries)], study.universe.n_edges)[0] if study.entries else []
    floors = read_floors(store, study.entries, JACCARD, halved)
    records = {i: store.circuit(study.entries[i].id) for i in rows}
    discoveries = {i: _without_images(store.discovery(study.entries[i].discovery_id)) for i in rows}
    shown = StudyOverview(title, study, floors, records, discoveries, cross, read_swaps(store, study))
    few = shown.main_records[: min(len(halved), MAX_STABILITY)]
    return replace(shown, stability=read_stability(store, few))


def _without_images(discovery: Discovery) -> Discovery:
    """Return the discovery without scores per image, which take most of its memory."""
    return (
        discovery if discovery.scores is None else replace(discovery, scores=replace(discovery.scores, per_image=None))
    )


def _flagged(study: Study) -> str:
    """Return how many circuits are flagged, why, and which."""
    reasons = [
        f"{flag}: {join_names([_circuit_name(study, row) for row in rows.to_dict('records')])}"
        for flag, rows in study.flagged.groupby("flag", sort=False)
    ]
    return (
        f"{len(study.flagged)} of {count(len(study.listed), 'circuit')} are flagged ({'; '.join(reasons)}): listed "
        "only in the table of faithfulness, and left out of everything else"
    )


def _circuit_name(study: Study, row: Mapping[str, Any]) -> str:
    return f"{row['class']} ({study.short(row['condition'])})" if len(study.conditions) > 1 else row["class"]


def _reason(evaluation: Evaluation | None, figure: str) -> str:
    return evaluation.reasons.get(figure, "no reason is stored") if evaluation else "see the circuit's record"
