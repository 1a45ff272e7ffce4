"""Answer one work item: its images, the scores of every edge, the circuits, how well they do."""

from __future__ import annotations

import platform
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata

import numpy as np
import torch
from jaxtyping import Float

from ..circuits import (
    ROLES,
    Circuit,
    CircuitRecord,
    ClassInfo,
    Condition,
    Corruption,
    Discovery,
    EdgeScores,
    Evaluation,
    Extraction,
    Response,
    Role,
    Trial,
    WorkItem,
    bootstrap_frequency,
    circuit_id,
    computation_graph,
    random_circuit,
    trials_of,
    universe_of,
)
from ..discovery import EXTRACTIONS, discover, is_absolute
from ..errors import CircuitStoreWarning, InputError
from ..evaluation import DEFAULT, Execution, ImagePairs, Outcome, evaluation_of, outcomes
from ..images import (
    SPLITS,
    BadImage,
    Split,
    attacked_file,
    build_pairs,
    printable,
)
from ..models import ViT
from ..store import rounded
from .choice import Choice
from .plan import Plan, Planned, metric_target

RANDOM_CIRCUITS = 10
"""Size-matched random connected circuits evaluated beside every circuit."""


@dataclass(frozen=True)
class _Question:
    """What image pairs depend on, besides the split."""

    cls: ClassInfo
    condition: Condition
    corruption: Corruption
    rule: str
    target: int | None


@dataclass(frozen=True)
class Known:
    """What is known of an item before it is answered.

    Attributes:
        discovery: its answer, as it is stored; None where there is none.
        circuits: extractions whose circuits are stored.
        sizes: sizes that circuits of another condition decided, by extraction.
        responses: that are stored, by id, as far as the item needs them.
    """

    discovery: Discovery | None = None
    circuits: frozenset[Extraction] = frozenset()
    sizes: Mapping[Extraction, int | None] = field(default_factory=dict)
    responses: Mapping[str, Response] = field(default_factory=dict)


class Workbench:
    """Answers the items of one plan, and never sees a store; keeps the images of the class in hand.

    Attributes:
        plan: what is asked.
        choice: of which images.
    """

    def __init__(self, plan: Plan, choice: Choice) -> None:
        self.plan, self.choice = plan, choice
        self._sets: dict[tuple[_Question, str], tuple[ImagePairs, tuple[str, ...]]] = {}
        """Image pairs, and what was warned of when they were made."""
        self._responses: dict[str, Response] = {}
        """Responses of the class in hand, by id: items that differ in method or size share them."""

    def answer(self, planned: Planned, known: Known, execution: Execution | None = None) -> Iterator[Part]:
        """What an item lacks, part by part as it is found: its discovery, then each circuit after its responses.

        The parts follow from the plan, the item and what is known of it. Circuits come from the discovery as it is
        stored, so rounded, whether it was found now or before.

        Args:
            execution: its progress is in the method's unit; by default the plan's batch size and no journal.

        Raises:
            InputError: no image qualifies, or an extraction that cannot be taken.
        """
        discovery = known.discovery
        if discovery is None:
            discovery = rounded(self._discover(planned.item, execution or self.execution))
            yield discovery
        for extraction in planned.extractions:
            if extraction not in known.circuits:
                circuit = self._extract(discovery, extraction, known.sizes.get(extraction))
                found = self._evaluate(planned.item, extraction, circuit, known.responses)
                yield from found.responses.values() if found else ()
                yield circuit_record(discovery, extraction, circuit, found)

    @property
    def execution(self) -> Execution:
        """As the plan's spec asks."""
        return Execution(self.plan.spec.batch_size)

    def _discover(self, item: WorkItem, execution: Execution) -> Discovery:
        """What the item's method finds on its discovery images."""
        pairs = self._images(item, "discovery")
        if pairs is None:
            name, chosen = item.target_class.name, self.choice.of_item(item)
            raise InputError(f"class {name!r}: no discovery images qualify ({item.selection.rule}): {chosen.why}")
        began = time.monotonic()
        recipe = item.recipe
        with _recorded() as said:
            found = discover(
                self._model(item),
                pairs,
                recipe.method,
                form=computation_graph(universe_of(item.model, recipe.over)).form,
                metric=recipe.metric,
                direction=recipe.direction,
                selection=self._images(item, "selection"),
                seed=recipe.seed,
                execution=execution,
            )
        scores = found.scores
        if scores is not None and self.plan.spec.keep == "mean":
            scores = replace(scores, per_image=None)
        provenance = {
            **versions(self._model(item)),
            "seconds": round(time.monotonic() - began, 3),
            "warnings": [*self._warnings_of(item), *said],
            "image_warnings": list(self.choice.of_item(item).warnings),
            "tally": self._tally(item),
            "images": self._provenance(item),
        }
        return Discovery(item, scores, pairs.hashes, found.members, found.trace, provenance)

    def _tally(self, item: WorkItem) -> dict[str, int | None] | None:
        """How the model reads the candidates that were tried; None where one that was not chosen cannot be decoded."""
        with suppress(BadImage):
            return asdict(self.choice.tally(item))
        return None

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
        """The circuit whose size is found on selection images."""
        pairs = self._images(item, "selection")
        if pairs is None:
            raise InputError(
                f"class {item.target_class.name!r}: no selection images to find a size on; "
                "raise images.per_class or extract by edges or threshold"
            )
        kind, execution = EXTRACTIONS[extraction.kind], self.execution
        assert kind.find is not None
        options = dict(extraction.params)
        return kind.find(self._model(item), pairs, scores, metric=item.recipe.metric, execution=execution, **options)

    def _evaluate(
        self, item: WorkItem, extraction: Extraction, circuit: Circuit, stored: Mapping[str, Response]
    ) -> Evaluated | None:
        """On report images, where there are any."""
        pairs = self._images(item, "report")
        if pairs is None:
            return None
        trials = trials_of(item, circuit_id(item.id, extraction))
        known = {**self._responses, **stored}
        found = evaluated(self._model(item), pairs, circuit, trials, known=known, execution=self.execution)
        self._responses |= {response.id: response for response in found.responses.values()}
        return found

    def _model(self, item: WorkItem) -> ViT:
        return self.plan.models[item.recipe.dtype]

    def _provenance(self, item: WorkItem) -> list[dict[str, str]]:
        """Every image of the item: split, hash and file, those of its attacked twin, and those of its partner."""
        rows = []
        for split in SPLITS:
            refs = getattr(self.choice.of_item(item), split)
            partners = self.choice.partners(item, split, len(refs))
            for i, ref in enumerate(refs):
                row = {"split": split, "hash": ref.hash, "file": printable(ref.origin)}
                if twin := attacked_file(item.condition, self.plan.source, ref):
                    row |= {"attacked_hash": twin.hash, "attacked_file": printable(twin.origin)}
                if partners:
                    partner = partners[i]
                    row["against"] = self.plan.source.class_of(partner).name
                    row |= {"against_hash": partner.hash, "against_file": printable(partner.origin)}
                rows.append(row)
        return rows

    def _images(self, item: WorkItem, split: Split) -> ImagePairs | None:
        """The image pairs of one split, attacked and corrupted as the item asks; None where there are none."""
        made = self._made(item, split)
        return made and made[0]

    def _warnings_of(self, item: WorkItem) -> tuple[str, ...]:
        """What was warned of when the pairs were made that a discovery rests on."""
        return tuple(text for split in ("discovery", "selection") for text in (self._made(item, split) or ((), ()))[1])

    def _made(self, item: WorkItem, split: Split) -> tuple[ImagePairs, tuple[str, ...]] | None:
        refs = getattr(self.choice.of_item(item), split)
        if not refs:
            return None
        recipe = item.recipe
        target = metric_target(self.plan.source, recipe.metric)
        question = _Question(item.target_class, item.condition, recipe.corruption, item.selection.rule, target)
        if any(known.cls != item.target_class for known, _ in self._sets):
            self._sets.clear()
            self._responses.clear()
        if (question, split) not in self._sets:
            with _recorded() as said:
                pairs = build_pairs(
                    self.plan.source,
                    self._model(item),
                    item.target_class,
                    refs,
                    item.condition,
                    recipe.corruption,
                    seed=recipe.seed,
                    partners=self.choice.partners(item, split, len(refs)),
                    target=target,
                )
            self._sets[question, split] = pairs, tuple(said)
        return self._sets[question, split]


@contextmanager
def _recorded() -> Iterator[list[str]]:
    """Collects the texts of our own warnings; those of torch and timm may say that a number is wrong, and go on."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CircuitStoreWarning)
        yield said
    for warning in caught:
        if issubclass(warning.category, CircuitStoreWarning):
            said.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


Part = Discovery | Response | CircuitRecord
"""What the answer to an item consists of."""


@dataclass(frozen=True)
class Evaluated:
    """How a circuit does on images that chose nothing.

    Attributes:
        evaluation: the figures.
        responses: image by image, what they were computed from; empty for an evaluation that was given.
    """

    evaluation: Evaluation
    responses: Mapping[Role, Response] = field(default_factory=dict)


def circuit_record(
    discovery: Discovery, extraction: Extraction, circuit: Circuit, found: Evaluated | None
) -> CircuitRecord:
    """A circuit of a discovery as it is stored."""
    item, scores = discovery.item, discovery.scores
    return CircuitRecord(
        item=item,
        extraction=extraction,
        circuit=replace(circuit, score=None, std=None) if scores is None else circuit.scored(scores),
        n_images=len(discovery.images),
        evaluation=found and found.evaluation,
        frequency=scores and _frequency(scores, extraction, circuit, item.recipe.seed),
        full_in=scores and scores.inflow,
        full_out=scores and scores.outflow,
        notes=(*_warnings(discovery), *_shortfall(circuit)),
        responses={role: response.id for role, response in found.responses.items()} if found else {},
    )


def evaluated(
    model: ViT,
    pairs: ImagePairs,
    circuit: Circuit,
    trials: Mapping[Role, Trial],
    *,
    known: Mapping[str, Response] | None = None,
    execution: Execution = DEFAULT,
) -> Evaluated:
    """Run a circuit on images that chose nothing, and random connected circuits of the same size.

    Args:
        trials: what is run, as `trials_of` gives it.
        known: responses by id that stay as they are, so that an evaluation always follows from those that are stored.

    Raises:
        InputError: pairs or a circuit that do not fit the model.
    """
    metric, seed = trials["full"].metric, trials["full"].seed
    seeds = range(seed, seed + RANDOM_CIRCUITS)
    rivals = [random_circuit(circuit.universe, circuit.n_edges, seed=s) for s in seeds] if circuit.n_edges else []
    found = outcomes(model, pairs, [circuit, *rivals], metric=metric, execution=execution)
    responses: dict[Role, Response] = {}
    for role, outcome in zip(ROLES, found, strict=False):
        trial = trials[role]
        there = known.get(trial.id) if known else None
        responses[role] = there or outcome.response(trial, pairs, versions(model))
    evaluation = evaluation_of(*(Outcome.of(responses[role]) for role in ROLES))
    random = tuple(float(outcome.metric.mean()) for outcome in found[len(ROLES) :])
    return Evaluated(replace(evaluation, metric_random=random), responses)


def _frequency(
    scores: EdgeScores, extraction: Extraction, circuit: Circuit, seed: int
) -> Float[np.ndarray, "edge"] | None:
    """How often each edge is among the best; None where edges have no order, or scores per image were not kept."""
    size = circuit.size_requested
    ordered = extraction.kind in EXTRACTIONS and EXTRACTIONS[extraction.kind].take is not None
    if scores.per_image is None or scores.shares or not ordered or not size:
        return None
    return bootstrap_frequency(scores.per_image, size, absolute=is_absolute(extraction), seed=seed)


def _warnings(discovery: Discovery) -> Iterator[str]:
    for kind in ("image_warnings", "warnings"):
        yield from discovery.provenance.get(kind, ())


def _shortfall(circuit: Circuit) -> Iterator[str]:
    """What is to be said of a circuit that is the whole graph: that it tells nothing, and why it came out so."""
    if circuit.n_edges == circuit.universe.n_edges:
        why = circuit.extraction if "all edges" in circuit.extraction else f"{circuit.extraction} leaves nothing out"
        yield f"the circuit is every edge of the graph: {why}"


def versions(model: ViT) -> Mapping[str, str]:
    """Of what the answers come from: device, platform and packages."""
    packages = ("circuitstore", "torch", "timm", "numpy")
    return {
        "device": str(model.device),
        "threads": str(torch.get_num_threads()),
        "platform": platform.platform(),
        **{name: metadata.version(name) for name in packages},
    }
