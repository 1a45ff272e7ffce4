"""All universes by key: the forms of the computation graph, and those of other packages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

from ..errors import InputError, unknown
from .graph import FORMS, ComputationGraph, Form
from .kinds import Kind, Registry
from .neurons import NEURONS, PARAMS, make_neurons
from .recipe import ModelInfo, UniverseUse
from .universe import Universe

LONGEST_KEY = 9
"""Maximum letters of a key: a universe's short name (`UniverseUse.form`) has 16 in the catalog, 7 for parameters."""


@dataclass(frozen=True, kw_only=True)
class UniverseKind(Kind):
    """A kind of universe.

    Attributes:
        key: at most `LONGEST_KEY` letters.
        make: returns the universe of a model (`ModelInfo`), given the parameters by name.

    Raises:
        InputError: the key is too long.
    """

    make: Callable[..., Universe]

    def __post_init__(self) -> None:
        if len(self.key) > LONGEST_KEY:
            raise InputError(f"universe {self.key!r}: expected a key of at most {LONGEST_KEY} letters")


def _graph(form: Form, model: ModelInfo) -> ComputationGraph:
    return ComputationGraph(model.n_layers, model.n_heads, form)


UNIVERSES: Registry[UniverseKind, UniverseUse] = Registry(
    "universe",
    "universes",
    UniverseUse,
    [
        *(UniverseKind(key=form, name=f"computation graph, {form} form", make=partial(_graph, form)) for form in FORMS),
        UniverseKind(key=NEURONS, name="neurons of the MLPs", params=PARAMS, make=make_neurons),
    ],
)


@lru_cache(maxsize=64)
def universe_of(model: ModelInfo, use: UniverseUse) -> Universe:
    """Return the universe of a model; cached, so its tables are computed once.

    Raises:
        InputError: no installed package has this universe.

    Examples:
        >>> info = ModelInfo("3f2a81", "tiny", n_layers=1, n_heads=2, d_model=8, n_classes=2)
        >>> universe_of(info, UniverseUse.of("block")).edge_names
        ('input->a0', 'input->m0', 'a0->m0', 'input->logits', 'a0->logits', 'm0->logits')
    """
    if use.kind not in UNIVERSES:
        raise InputError(f"{use.text}: {unknown('universe', use.kind, UNIVERSES)}; install the package that adds it")
    return UNIVERSES[use.kind].make(model, **dict(use.params))
