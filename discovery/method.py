"""A discovery method is a value: what it is, what it promises, which parameters it takes, how it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..circuits import FORMS, Form, MethodUse
from ..circuits.recipe import Scalar
from ..errors import InputError, unknown
from ..models import ViT
from .batches import Pairs


@dataclass(frozen=True)
class Param:
    """A parameter of a method: its default, and which values it takes."""

    default: Scalar
    allowed: str
    accepts: Callable[[Any], bool]


@dataclass(frozen=True)
class BatchScores:
    """What a method finds for one batch.

    Attributes:
        scores: per image, in flat edge order.
        clean: the metric on the clean images.
        corrupted: the metric on the corrupted images.
    """

    scores: Float[Tensor, "image edge"]
    clean: Float[Tensor, "image"]
    corrupted: Float[Tensor, "image"]


@dataclass(frozen=True)
class Method:
    """How edges are scored.

    Attributes:
        key: what specs and calls name.
        name: for people.
        paper: where it comes from.
        function: scores of one batch of pairs on one form, given the resolved parameters by name.
        passes: forwards and backwards per image pair, given the resolved parameters.
        version: of what it computes; part of every identity.
        forms: on which it runs.
        params: by name.
        signed: positive means that the edge raises the metric; else magnitudes.
        additive: scores of merged edges are sums, so they project to coarser forms.
        selects: it selects edges itself.
        conserves: edges out of `input` sum to the metric's difference, in the limit of many steps.
    """

    key: str
    name: str
    paper: str
    function: Callable[..., BatchScores]
    passes: Callable[..., tuple[int, int]]
    version: int = 1
    forms: tuple[Form, ...] = FORMS
    params: Mapping[str, Param] = field(default_factory=dict)
    signed: bool = True
    additive: bool = True
    selects: bool = False
    conserves: bool = False

    def resolve(self, params: Mapping[str, Scalar]) -> MethodUse:
        """The method with defaults filled in.

        Raises:
            InputError: a parameter that it does not take, or a value out of range; names what is allowed.
        """
        for name, value in params.items():
            if name not in self.params:
                raise unknown(f"parameter of method {self.key!r}", name, self.params)
            if not self.params[name].accepts(value):
                raise InputError(f"{name}: method {self.key!r} takes {self.params[name].allowed}, got {value!r}")
        values = {name: params.get(name, param.default) for name, param in self.params.items()}
        return MethodUse.of(self.key, values, self.version)

    def score(self, model: ViT, pairs: Pairs, form: Form, use: MethodUse) -> BatchScores:
        """Scores of one batch."""
        if form not in self.forms:
            raise unknown(f"form for method {self.key!r}", form, self.forms)
        return self.function(model, pairs, form, **dict(use.params))
