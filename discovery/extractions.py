"""How circuits are taken from scores: all extractions, by key. A new one is one value here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log2
from typing import Any

from ..circuits import Circuit, EdgeScores, Extraction, connected, greedy, joining_order, size_grid, threshold, top
from ..circuits.kinds import ABSENT, Kind, Param, Registry, choice, is_whole, number, whole
from ..circuits.recipe import Scalar
from .bisection import SHARES, bisected
from .retention import smallest_with_retention


@dataclass(frozen=True, kw_only=True)
class ExtractionKind(Kind):
    """A way to take a circuit from the scores of all edges.

    Attributes:
        main: the parameter that a spec gives beside the name: `top = 0.05` is `top(n=0.05)`.
        take: returns the circuit of a number of edges, given scores, the number, and whether magnitudes count. None
            where a method has selected the edges itself.
        extract: returns the circuit, given scores and the parameters by name; None where the size must be found.
        find: returns the circuit whose size is found by running circuits, given model, image pairs, scores, the metric,
            the execution, and the parameters by name.
        runs: how many circuits finding a size runs, given the edges of the graph.
        ranks_all: orders edges of different receivers, so that scores which are shares of a receiver are refused.
    """

    main: str = ""
    take: Callable[[EdgeScores, int, bool], Circuit] | None = None
    extract: Callable[..., Circuit] | None = None
    find: Callable[..., Circuit] | None = None
    runs: Callable[[int], int] = lambda n_edges: 0
    ranks_all: bool = False

    def again(self, scores: EdgeScores, size: int, extraction: Extraction) -> Circuit:
        """The circuit of a given number of edges, taken as the extraction takes it."""
        assert self.take is not None
        return self.take(scores, size, is_absolute(extraction))


def is_absolute(extraction: Extraction) -> bool:
    """Whether edges are ranked by magnitude."""
    return bool(dict(extraction.params).get("absolute", False))


def sized_by(extraction: Extraction, condition: str) -> Extraction:
    """The extraction whose size is found under another condition."""
    return Extraction.of(extraction.kind, {**dict(extraction.params), "size_of": condition}, extraction.version)


def _only_true(value: Any) -> Any:
    """Left out where it is false."""
    if not isinstance(value, bool):
        raise ValueError(value)
    return True if value else ABSENT


def _count_or_share(value: Any) -> Scalar:
    if not ((is_whole(value) and value >= 1) or (isinstance(value, float) and 0 < value <= 1)):
        raise ValueError(value)
    return value


ABSOLUTE = Param(ABSENT, "true or false: rank by magnitude", _only_true)
TARGET = number(0.85, "a share in (0, 1]", lambda value: 0 < value <= 1)


def _cut(scores: EdgeScores, size: int, absolute: bool) -> Circuit:
    """The best edges up to a cut. Scores that have no order over receivers may have a cut too."""
    order = joining_order(scores.graph, scores.mean, "top", absolute=absolute, limit=size)
    return Circuit.pruned(scores.graph, order, size_requested=size, scores=scores)


def _retention(model: Any, pairs: Any, scores: EdgeScores, *, size_of: str = "", **options: Any) -> Circuit:
    return smallest_with_retention(model, pairs, scores, **options)


def _bisection(model: Any, pairs: Any, scores: EdgeScores, *, size_of: str = "", **options: Any) -> Circuit:
    return bisected(model, pairs, scores, **options)


EXTRACTIONS: Registry[ExtractionKind, Extraction] = Registry(
    "extraction",
    "extractions",
    Extraction,
    (
        ExtractionKind(
            key="retention",
            name="the smallest greedy circuit that keeps this share of the accuracy on selection images",
            params={"target": TARGET, "absolute": ABSOLUTE},
            main="target",
            take=lambda scores, size, absolute: greedy(scores, size, absolute=absolute),
            find=_retention,
            runs=lambda n_edges: len(size_grid(n_edges)),
        ),
        ExtractionKind(
            key="top",
            name="the best edges: a count, or a share of all edges, pruned",
            params={
                "n": Param(0.05, "a whole number of edges, or a fraction in (0, 1]", _count_or_share),
                "absolute": ABSOLUTE,
            },
            main="n",
            take=lambda scores, size, absolute: top(scores, size, absolute=absolute),
            extract=lambda scores, *, n, absolute=False: top(scores, n, absolute=absolute),
            ranks_all=True,
        ),
        ExtractionKind(
            key="edges",
            name="this many edges, grown from `logits` upward, best first, pruned",
            params={"n": whole(24), "absolute": ABSOLUTE},
            main="n",
            take=lambda scores, size, absolute: greedy(scores, size, absolute=absolute),
            extract=lambda scores, *, n, absolute=False: greedy(scores, n, absolute=absolute),
        ),
        ExtractionKind(
            key="threshold",
            name="the edges that score at least this, in units of the metric, pruned",
            params={"t": number(0.0, "a finite number, in units of the metric"), "absolute": ABSOLUTE},
            main="t",
            take=_cut,
            extract=lambda scores, *, t, absolute=False: threshold(scores, t, absolute=absolute),
        ),
        ExtractionKind(
            key="bisection",
            name="the best edges, connected, whose number is searched until they keep this share on selection images",
            version=2,
            params={
                "target": TARGET,
                "of": choice(*SHARES),
                "buffer": number(0.1, "a share in [0, 1)", lambda value: 0 <= value < 1),
                "absolute": ABSOLUTE,
            },
            main="target",
            take=lambda scores, size, absolute: connected(scores, size, absolute=absolute),
            find=_bisection,
            runs=lambda n_edges: ceil(log2(n_edges)),
            ranks_all=True,
        ),
        ExtractionKind(key="found", name="the edges that the method selected itself"),
    ),
)
"""All extractions by key."""
