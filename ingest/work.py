"""Answers to work items: scores of every edge, circuits with their evaluation, and read-outs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..circuits import (
    READOUT,
    Circuit,
    CircuitRecord,
    ClassInfo,
    Condition,
    Corruption,
    Discovery,
    EdgeScores,
    Extraction,
    ReadoutRecord,
    Response,
    WorkItem,
    asks_for_paths,
    circuit_id,
    computation_graph,
    path_record,
    readout_use,
    trials_of,
    universe_of,
)
from ..discovery import EXTRACTIONS, discover
from ..errors import InputError, recorded
from ..evaluation import READOUTS, Execution, ImagePairs, measure
from ..evaluation.readouts.patch_grid import PatchGrid
from ..images import Split, build_pairs
from ..models import ViT
from ..store import rounded
from .choice import Choice
from .evaluating import Evaluated, circuit_record, evaluate_circuit
from .neuron_paths import find_paths
from .plan import Plan, metric_target
from .planned import Planned
from .provenance import image_provenance, versions


@dataclass(frozen=True)
class _Question:
    """The values that image pairs depend on, in addition to the split."""

    cls: ClassInfo
    group: str
    condition: Condition
    corruption: Corruption
    rule: str
    target: int | None


@dataclass(frozen=True)
class StoredParts:
    """The stored parts of an item, before it is answered.

    Attributes:
        discovery: its stored answer, or None.
        circuits: extractions whose circuits are stored.
        sizes: sizes found under another condition, by extraction.
        responses: the stored responses that the item needs, by id.
        about: the circuit that a read-out is about; None if it is about none.
    """

    discovery: Discovery | None = None
    circuits: frozenset[Extraction] = frozenset()
    sizes: Mapping[Extraction, int | None] = field(default_factory=dict)
    responses: Mapping[str, Response] = field(default_factory=dict)
    about: Circuit | None = None


class Workbench:
    """Computes the answers to the items of one plan, without a store; caches the images of the current class.

    Attributes:
        plan: the plan.
        choice: the images of its items.
    """

    def __init__(self, plan: Plan, choice: Choice) -> None:
        self.plan, self.choice = plan, choice
        self._sets: dict[tuple[_Question, str], tuple[ImagePairs, tuple[str, ...]]] = {}
        """Image pairs, and the warnings raised when they were built."""
        self._responses: dict[str, Response] = {}
        """Responses of the current class, by id: items that differ in method or size share them."""

    def answer(self, planned: Planned, known: StoredParts, execution: Execution | None = None) -> Iterator[Part]:
        """Yield the missing parts of an item as they are computed: its discovery, then responses and circuits.

        The responses of a circuit come before it. The only part of a read-out is its record.

        The parts depend only on the plan, the item and `known`. Circuits are extracted from the rounded scores that are
        stored, whether the discovery is new or not.

        Args:
            planned: the item.
            known: the parts that are stored.
            execution: its progress is in the method's unit; by default the plan's batch size and no journal.

        Raises:
            InputError: no image qualifies, or an extraction does not apply.
        """
        execution = execution or self.execution
        if planned.item.recipe.form == READOUT:
            yield self._read_out(planned, known, execution)
            return
        discovery = known.discovery
        if discovery is None:
            find = self._find_paths if asks_for_paths(planned.item) else self._discover
            discovery = rounded(self._kept(find(planned.item, execution)))
            yield discovery
        for extraction in planned.extractions:
            if extraction in known.circuits:
                continue
            if asks_for_paths(planned.item):
                yield path_record(discovery)
            else:
                circuit = self._extract(discovery, extraction, known.sizes.get(extraction))
                outcome = self._evaluate(planned.item, extraction, circuit, known.responses)
                yield from outcome.responses.values() if outcome else ()
                yield circuit_record(discovery, extraction, circuit, outcome)

    @property
    def execution(self) -> Execution:
        """The execution that the spec describes."""
        return Execution(self.plan.spec.batch_size)

    def _discover(self, item: WorkItem, execution: Execution) -> Discovery:
        """Run the item's method on its discovery images."""
        pairs, began, recipe = self._needed_pairs(item, "discovery"), time.monotonic(), item.recipe
        with recorded() as texts:
            answer = discover(
                self.model_of(item),
                pairs,
                recipe.method,
                form=computation_graph(universe_of(item.model, recipe.over)).form,
                metric=recipe.metric,
                direction=recipe.direction,
                selection=self.pairs(item, "selection"),
                seed=recipe.seed,
                execution=execution,
            )
        provenance = self._provenance(item, began, [*self._warnings_of(item, "discovery", "selection"), *texts])
        return Discovery(item, answer.scores, pairs.hashes, answer.members, answer.trace, provenance)

    def _kept(self, discovery: Discovery) -> Discovery:
        """Return a discovery with the scores that the spec keeps."""
        if discovery.scores is None or self.plan.spec.keep == "per-image":
            return discovery
        return replace(discovery, scores=replace(discovery.scores, per_image=None))

    def _find_paths(self, item: WorkItem, execution: Execution) -> Discovery:
        """Find the neuron paths of the discovery images of an item."""
        pairs, began = self._needed_pairs(item, "discovery"), time.monotonic()
        with recorded() as texts:
            answer = find_paths(self.model_of(item), pairs, item, execution)
        warnings = [*self._warnings_of(item, "discovery"), *texts]
        return replace(answer, provenance=self._provenance(item, began, warnings))

    def _read_out(self, planned: Planned, known: StoredParts, execution: Execution) -> ReadoutRecord:
        """Read the report images of an item."""
        item, began = planned.item, time.monotonic()
        pairs, use = self._needed_pairs(item, "report"), readout_use(item)
        with recorded() as texts:
            measured = measure(self.model_of(item), pairs, item.recipe.metric)
            readout = READOUTS[use.kind].read(self.model_of(item), measured, use, execution, known.about)
        provenance = self._provenance(item, began, [*self._warnings_of(item, "report"), *texts])
        if planned.about is not None:
            provenance["circuit"] = circuit_id(planned.about[0].id, planned.about[1])
        provenance["patches"] = [len(axis) for axis in PatchGrid.of(self.model_of(item)).axes]
        return ReadoutRecord.of(item, pairs.hashes, readout, per_image=planned.per_image, provenance=provenance)

    def _provenance(self, item: WorkItem, began: float, warnings: list[str]) -> dict[str, Any]:
        return {
            **versions(self.model_of(item)),
            "seconds": round(time.monotonic() - began, 3),
            "warnings": warnings,
            **image_provenance(self.choice, item),
            "constants": self.choice.constants(item),
        }

    def _extract(self, discovery: Discovery, extraction: Extraction, size: int | None) -> Circuit:
        item, scores = discovery.item, discovery.scores
        kind = EXTRACTIONS[extraction.kind]
        if kind.take is None:
            return discovery.circuit
        if scores is None:
            raise InputError(f"{item.recipe.method.kind} gives no scores to extract from")
        if kind.extract is not None:
            return kind.extract(scores, **dict(extraction.params))
        return self._sized(item, scores, extraction) if size is None else kind.again(scores, size, extraction)

    def _sized(self, item: WorkItem, scores: EdgeScores, extraction: Extraction) -> Circuit:
        """Return the circuit whose size is found on selection images."""
        pairs = self.pairs(item, "selection")
        if pairs is None:
            raise InputError(
                f"class {item.target_class.name!r}: no selection images to find a size on; "
                "raise images.per_class or extract by edges or threshold"
            )
        kind, execution = EXTRACTIONS[extraction.kind], self.execution
        assert kind.find is not None
        options = dict(extraction.params)
        return kind.find(self.model_of(item), pairs, scores, metric=item.recipe.metric, execution=execution, **options)

    def _evaluate(
        self, item: WorkItem, extraction: Extraction, circuit: Circuit, stored: Mapping[str, Response]
    ) -> Evaluated | None:
        """Evaluate a circuit on report images; None if there are none."""
        pairs = self.pairs(item, "report")
        if pairs is None:
            return None
        trials = trials_of(item, circuit_id(item.id, extraction))
        known = {**self._responses, **stored}
        outcome = evaluate_circuit(self.model_of(item), pairs, circuit, trials, known=known, execution=self.execution)
        self._responses |= {response.id: response for response in outcome.responses.values()}
        return outcome

    def model_of(self, item: WorkItem) -> ViT:
        """Return the model in the type of the item's recipe."""
        return self.plan.models[item.recipe.dtype]

    def pairs(self, item: WorkItem, split: Split) -> ImagePairs | None:
        """Return the image pairs of one split, attacked and corrupted; None if the split has no images."""
        built = self._build(item, split)
        return built and built[0]

    def _needed_pairs(self, item: WorkItem, split: Split) -> ImagePairs:
        """Return the image pairs of one split.

        Raises:
            InputError: it has no images.
        """
        pairs = self.pairs(item, split)
        if pairs is None:
            name, chosen = item.target_class.name, self.choice.of_item(item)
            group = f", group {item.selection.group!r}" if item.selection.group else ""
            raise InputError(f"class {name!r}{group}: no {split} images qualify ({item.selection.rule}): {chosen.why}")
        return pairs

    def _warnings_of(self, item: WorkItem, *splits: Split) -> tuple[str, ...]:
        """Return the warnings raised when the pairs of these splits were built."""
        return tuple(text for split in splits for text in (self._build(item, split) or ((), ()))[1])

    def _build(self, item: WorkItem, split: Split) -> tuple[ImagePairs, tuple[str, ...]] | None:
        """Build the image pairs of one split, once for all items with the same question, and record warnings."""
        refs = getattr(self.choice.of_item(item), split)
        if not refs:
            return None
        recipe = item.recipe
        target = metric_target(self.plan.source, recipe.metric)
        chosen = item.selection
        question = _Question(item.target_class, chosen.group, item.condition, recipe.corruption, chosen.rule, target)
        if any(known.cls != item.target_class for known, _ in self._sets):
            self._sets.clear()
            self._responses.clear()
        if (question, split) not in self._sets:
            with recorded() as texts:
                pairs = build_pairs(
                    self.choice.predictions,
                    item.target_class,
                    refs,
                    item.condition,
                    recipe.corruption,
                    partners=self.choice.partners(item, split, len(refs)),
                    target=target,
                )
            self._sets[question, split] = pairs, tuple(texts)
        return self._sets[question, split]


Part = Discovery | Response | CircuitRecord | ReadoutRecord
"""A part of the answer to an item."""
