"""Answer one work item: its images, the scores of every edge, the circuits, how well they do."""

from __future__ import annotations

import platform
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from ..circuits import (
    Circuit,
    CircuitRecord,
    ClassInfo,
    Condition,
    Corruption,
    Discovery,
    EdgeScores,
    Evaluation,
    Extraction,
    WorkItem,
    bootstrap_frequency,
    connected,
    first,
    random_circuit,
    threshold,
)
from ..discovery import Images, Journal, bisected, discover, evaluate_many, get_metric, smallest_with_retention
from ..errors import CircuitStoreWarning, InputError
from ..images import (
    SPLITS,
    BadImage,
    ImageSet,
    Split,
    attacked_file,
    build_set,
    shown,
)
from ..models import ViT
from .choice import Choice
from .plan import Plan, metric_target

RANDOM_CIRCUITS = 10
"""Size-matched random connected circuits evaluated beside every circuit."""


@dataclass(frozen=True)
class _Question:
    """What an image set depends on, besides the split."""

    cls: ClassInfo
    condition: Condition
    corruption: Corruption
    rule: str
    target: int | None


class Workbench:
    """Answers the items of one plan; keeps the images of the class in hand.

    Attributes:
        plan: what is asked.
        choice: of which images.
    """

    def __init__(self, plan: Plan, choice: Choice) -> None:
        self.plan, self.choice = plan, choice
        self._sets: dict[tuple[_Question, str], ImageSet] = {}

    def discover(
        self, item: WorkItem, journal: Journal | None = None, progress: Callable[[int, int], None] | None = None
    ) -> Discovery:
        """What the item's method finds on its discovery images.

        Args:
            journal: where a long method keeps what it has found so far.
            progress: called with how much is done and of how much, in the method's unit.

        Raises:
            InputError: no image qualifies.
        """
        images = self._images(item, "discovery")
        if images is None:
            name, chosen = item.target_class.name, self.choice.of_item(item)
            raise InputError(f"class {name!r}: no discovery images qualify ({item.selection.rule}): {chosen.why}")
        began = time.monotonic()
        recipe = item.recipe
        params: dict[str, Any] = dict(recipe.method.params)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", CircuitStoreWarning)
            found = discover(
                self._model(item),
                images.clean,
                images.corrupted,
                images.labels,
                targets=self._targets(item, images),
                method=recipe.method.kind,
                form=recipe.form,
                metric=recipe.metric.kind,
                direction=recipe.direction,
                selection=self._selection_images(item),
                seed=recipe.seed,
                batch_size=self.plan.spec.batch_size,
                journal=journal,
                progress=progress,
                **params,
            )
        own = [w for w in caught if issubclass(w.category, CircuitStoreWarning)]
        for other in (w for w in caught if w not in own):  # of torch and timm: they may say that a number is wrong
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
        scores = found.scores
        if scores is not None and self.plan.spec.keep == "mean":
            scores = replace(scores, per_image=None)
        provenance = {
            **versions(self._model(item)),
            "seconds": round(time.monotonic() - began, 3),
            "warnings": [str(w.message) for w in own],
            "image_warnings": list(self.choice.of_item(item).warnings),
            "tally": self._tally(item),
            "images": self._provenance(item),
        }
        return Discovery(item, scores, images.hashes, found.members, found.trace, provenance)

    def _tally(self, item: WorkItem) -> dict[str, int | None] | None:
        """How the model reads the candidates that were tried; None where one that was not chosen cannot be decoded."""
        with suppress(BadImage):
            return asdict(self.choice.tally(item))
        return None

    def circuit(self, discovery: Discovery, extraction: Extraction, size: int | None) -> CircuitRecord:
        """One circuit of a discovery, evaluated on report images.

        Args:
            size: greedy size that another item has decided; None: the extraction decides.
        """
        circuit = self._extract(discovery, extraction, size)
        return circuit_record(discovery, extraction, circuit, self._evaluate(discovery.item, circuit))

    def _extract(self, discovery: Discovery, extraction: Extraction, size: int | None) -> Circuit:
        item, scores = discovery.item, discovery.scores
        if extraction.kind == "found":
            return discovery.circuit
        if scores is None:
            raise InputError(f"{item.recipe.method.kind} gives no scores to extract from")
        params, absolute = dict(extraction.params), _absolute(extraction)
        match extraction.kind:
            case "retention" if size is not None:
                return first(scores, size, "greedy", absolute=absolute)
            case "bisection" if size is not None:
                return connected(scores, size, absolute=absolute)
            case "retention" | "bisection":
                return self._sized(item, scores, extraction)
            case "top":
                return first(scores, _number(params["n"]), "top", absolute=absolute)
            case "edges":
                return first(scores, _number(params["n"]), "greedy", absolute=absolute)
            case _:
                return threshold(scores, _number(params["t"]), absolute=absolute)

    def _sized(self, item: WorkItem, scores: EdgeScores, extraction: Extraction) -> Circuit:
        """The circuit whose size is found on selection images."""
        images = self._images(item, "selection")
        if images is None:
            raise InputError(
                f"class {item.target_class.name!r}: no selection images to find a size on; "
                "raise images.per_class or extract by edges or threshold"
            )
        params: dict[str, Any] = {k: v for k, v in extraction.params if k != "size_of"}
        find = smallest_with_retention if extraction.kind == "retention" else bisected
        return find(
            self._model(item),
            scores,
            images.clean,
            images.corrupted,
            images.labels,
            targets=self._targets(item, images),
            metric=item.recipe.metric.kind,
            batch_size=self.plan.spec.batch_size,
            **params,
        )

    def _evaluate(self, item: WorkItem, circuit: Circuit) -> Evaluation | None:
        """On report images, where there are any."""
        images = self._images(item, "report")
        if images is None:
            return None
        pairs = Images(images.clean, images.corrupted, images.labels, self._targets(item, images))
        metric, size = item.recipe.metric.kind, self.plan.spec.batch_size
        return evaluated(self._model(item), circuit, pairs, metric=metric, seed=item.recipe.seed, batch_size=size)

    def _model(self, item: WorkItem) -> ViT:
        return self.plan.models[item.recipe.dtype]

    @staticmethod
    def _targets(item: WorkItem, images: ImageSet) -> torch.Tensor | None:
        return images.targets if get_metric(item.recipe.metric.kind).needs_targets else None

    def _selection_images(self, item: WorkItem) -> Images | None:
        images = self._images(item, "selection")
        return images and Images(images.clean, images.corrupted, images.labels, self._targets(item, images))

    def _provenance(self, item: WorkItem) -> list[dict[str, str]]:
        """Every image of the item: split, hash and file, those of its attacked twin, and those of its partner."""
        rows = []
        for split in SPLITS:
            refs, images = getattr(self.choice.of_item(item), split), self._images(item, split)
            for i, ref in enumerate(refs):
                row = {"split": split, "hash": ref.hash, "file": shown(ref.origin)}
                if twin := attacked_file(item.condition, self.plan.source, ref):
                    row |= {"attacked_hash": twin.hash, "attacked_file": shown(twin.origin)}
                if images is not None and images.partners:
                    partner = images.partners[i]
                    row["against"] = self.plan.source.class_of(partner).name
                    row |= {"against_hash": partner.hash, "against_file": shown(partner.origin)}
                rows.append(row)
        return rows

    def _images(self, item: WorkItem, split: Split) -> ImageSet | None:
        """The images of one split, attacked and corrupted as the item asks; None where there are none."""
        refs = getattr(self.choice.of_item(item), split)
        if not refs:
            return None
        recipe = item.recipe
        target = metric_target(self.plan.source, recipe.metric)
        question = _Question(item.target_class, item.condition, recipe.corruption, item.selection.rule, target)
        if any(known.cls != item.target_class for known, _ in self._sets):
            self._sets.clear()
        if (question, split) not in self._sets:
            self._sets[question, split] = build_set(
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
        return self._sets[question, split]


def circuit_record(
    discovery: Discovery, extraction: Extraction, circuit: Circuit, evaluation: Evaluation | None
) -> CircuitRecord:
    """A circuit of a discovery as it is stored."""
    item, scores = discovery.item, discovery.scores
    return CircuitRecord(
        item=item,
        extraction=extraction,
        circuit=circuit,
        n_images=len(discovery.images),
        evaluation=evaluation,
        score=scores and scores.mean,
        std=scores and scores.std,
        frequency=scores and _frequency(scores, extraction, circuit, item.recipe.seed),
        full_in=scores and scores.inflow,
        full_out=scores and scores.outflow,
        notes=(*_warnings(discovery), *_shortfall(circuit)),
    )


def evaluated(
    model: ViT, circuit: Circuit, images: Images, *, metric: str, seed: int, batch_size: int | None = None
) -> Evaluation:
    """How a circuit does on images that chose nothing, beside random connected circuits of the same size.

    Raises:
        InputError: images, classes or a circuit that do not fit the model.
    """
    seeds = range(seed, seed + RANDOM_CIRCUITS)
    rivals = [random_circuit(circuit.graph, circuit.n_edges, seed=s) for s in seeds] if circuit.n_edges else []
    clean, corrupted, labels, targets = images
    own, *others = evaluate_many(
        model, [circuit, *rivals], clean, corrupted, labels, targets=targets, metric=metric, batch_size=batch_size
    )
    return replace(own, metric_random=tuple(e.metric_circuit for e in others))


ORDERED = ("retention", "bisection", "top", "edges", "threshold")
"""Extractions that take the best of an order of all edges."""


def _frequency(
    scores: EdgeScores, extraction: Extraction, circuit: Circuit, seed: int
) -> Float[np.ndarray, "edge"] | None:
    """How often each edge is among the best; None where edges have no order, or scores per image were not kept."""
    size = circuit.size_requested
    if scores.per_image is None or scores.shares or extraction.kind not in ORDERED or not size:
        return None
    return bootstrap_frequency(scores.per_image, size, absolute=_absolute(extraction), seed=seed)


def _absolute(extraction: Extraction) -> bool:
    return bool(dict(extraction.params).get("absolute", False))


def _warnings(discovery: Discovery) -> Iterator[str]:
    for kind in ("image_warnings", "warnings"):
        yield from discovery.provenance.get(kind, ())


def _shortfall(circuit: Circuit) -> Iterator[str]:
    """What is to be said of a circuit that is the whole graph: that it tells nothing, and why it came out so."""
    if circuit.n_edges == circuit.graph.n_edges:
        why = circuit.extraction if "all edges" in circuit.extraction else f"{circuit.extraction} leaves nothing out"
        yield f"the circuit is every edge of the graph: {why}"


def _number(value: object) -> int | float:
    assert isinstance(value, int | float)
    return value


def versions(model: ViT) -> Mapping[str, str]:
    """Of what the answers come from: device, platform and packages."""
    packages = ("circuitstore", "torch", "timm", "numpy")
    return {
        "device": str(model.device),
        "threads": str(torch.get_num_threads()),
        "platform": platform.platform(),
        **{name: metadata.version(name) for name in packages},
    }
