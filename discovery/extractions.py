"""All extractions by key: how circuits are taken from scores. A new extraction is one value here.

Those that search a size import their search, and with it torch, when they run circuits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log2
from typing import Any

from ..circuits import (
    SHARES,
    Circuit,
    EdgeScores,
    Extraction,
    connected,
    greedy,
    joining_order,
    size_grid,
    threshold,
    top,
)
from ..circuits.kinds import ABSENT, Kind, Param, Registry, choice, is_whole, number, whole
from ..circuits.recipe import Scalar


@dataclass(frozen=True, kw_only=True)
class ExtractionKind(Kind):
    """A way to take a circuit from the scores of all edges.

    Attributes:
        main: the parameter that a spec sets by the extraction's name: `top = 0.05` is `top(n=0.05)`.
        take: returns the circuit of a given size, given scores, the number of edges, and whether magnitudes count. None
            if the method itself selected the edges.
        extract: returns the circuit, given scores and the parameters by name; None if the size must be searched.
        find: returns the circuit with the size found by running circuits, given model, image pairs, scores, metric,
            execution, and the parameters by name.
        runs: number of circuits that a size search runs, given the number of edges of the graph.
        ranks_all: ranks edges of different receivers, so scores that are shares of a receiver raise an error.
    """

    main: str = ""
    take: Callable[[EdgeScores, int, bool], Circuit] | None = None
    extract: Callable[..., Circuit] | None = None
    find: Callable[..., Circuit] | None = None
    runs: Callable[[int], int] = lambda n_edges: 0
    ranks_all: bool = False

    def again(self, scores: EdgeScores, size: int, extraction: Extraction) -> Circuit:
        """Return the circuit of a given size, taken by the same rule."""
        assert self.take is not None
        return self.take(scores, size, is_absolute(extraction))


def is_absolute(extraction: Extraction) -> bool:
    """Return whether an extraction ranks edges by magnitude.

    Examples:
        >>> is_absolute(EXTRACTIONS.resolve("top", {"n": 24, "absolute": True}))
        True
    """
    return bool(dict(extraction.params).get("absolute", False))


def sized_by(extraction: Extraction, condition: str) -> Extraction:
    """Return the extraction that uses the size found under another condition.

    Examples:
        >>> sized_by(EXTRACTIONS.resolve("retention"), "natural").text
        'retention(size_of=natural, target=0.85)'
    """
    return Extraction.of(extraction.kind, {**dict(extraction.params), "size_of": condition}, extraction.version)


def _only_true(value: Any) -> Any:
    """Return True, or `ABSENT` for False."""
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
    """Return the best edges up to a size, also for scores that are shares."""
    order = joining_order(scores.universe, scores.mean, "top", absolute=absolute, limit=size)
    return Circuit.pruned(scores.universe, order, size_requested=size, scores=scores)


def _retention(model: Any, pairs: Any, scores: EdgeScores, *, size_of: str = "", **options: Any) -> Circuit:
    from .retention import smallest_with_retention

    return smallest_with_retention(model, pairs, scores, **options)


def _bisection(model: Any, pairs: Any, scores: EdgeScores, *, size_of: str = "", **options: Any) -> Circuit:
    from .bisection import smallest_by_bisection

    return smallest_by_bisection(model, pairs, scores, **options)


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
            name="the best edges, a number or a share of all edges, pruned",
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
            name="a number of edges, grown from `logits` upward, best first, pruned",
            params={"n": whole(24), "absolute": ABSOLUTE},
            main="n",
            take=lambda scores, size, absolute: greedy(scores, size, absolute=absolute),
            extract=lambda scores, *, n, absolute=False: greedy(scores, n, absolute=absolute),
        ),
        ExtractionKind(
            key="threshold",
            name="the edges with at least this score, in units of the metric, pruned",
            params={"t": number(0.0, "a finite number, in units of the metric"), "absolute": ABSOLUTE},
            main="t",
            take=_cut,
            extract=lambda scores, *, t, absolute=False: threshold(scores, t, absolute=absolute),
        ),
        ExtractionKind(
            key="bisection",
            name="the best edges, connected, with the smallest number found that keeps this share on selection images",
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
        ExtractionKind(key="found", name="the edges that the method itself selected"),
    ),
)
"""All extractions by key."""
