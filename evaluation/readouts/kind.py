"""A read-out as a value: its parameters, its cost, and the function that reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ...circuits import Circuit, Kind, Readout, ReadoutUse, Registry
from ...circuits.recipe import Scalar
from ...errors import InputError
from ...models import ViT, runs_model
from ..execution import DEFAULT, Execution
from ..measured import MeasuredPairs


@dataclass(frozen=True, kw_only=True)
class ReadoutKind(Kind):
    """A kind of read-out.

    Attributes:
        function: returns the read-out, given the model, the measured pairs, `execution`, and the resolved parameters by
            name.
        passes: forward and backward passes per image, given the model and the resolved parameters by name.
        numbers: how many numbers it has per image, given the same; None if that is known only when it is read.
        reads_metric: whether it depends on the metric of the pairs; otherwise it reads their clean images only.
        about: whether it is about a `circuit` of edges or the neuron `path` of a class, which its function also gets,
            as `members`. A spec asks for it once per recipe and extraction, or per search, and names that in the
            parameter `circuit`. None: it is about neither.
    """

    function: Callable[..., Readout]
    passes: Callable[..., tuple[int | float, int | float]]
    numbers: Callable[..., int] | None = None
    reads_metric: bool = False
    about: Literal["circuit", "path"] | None = None

    def use(self, **params: Scalar) -> ReadoutUse:
        """Return the read-out with all its parameters; None leaves one out.

        Raises:
            InputError: a parameter with a value that is not allowed.
        """
        given = {name: value for name, value in params.items() if value is not None}
        return Registry("read-out", "readouts", ReadoutUse, (self,)).resolve(self.key, given)

    def read(
        self,
        model: ViT,
        pairs: MeasuredPairs,
        use: ReadoutUse,
        execution: Execution = DEFAULT,
        circuit: Circuit | None = None,
    ) -> Readout:
        """Return the read-out of pairs.

        Args:
            model: the model.
            pairs: the images, with a metric.
            use: the read-out with its resolved parameters.
            execution: batch size and progress.
            circuit: the circuit or path that it is about, if there is one.

        Raises:
            InputError: such a kind without a circuit, and whatever the function raises.
        """
        if self.about and circuit is None:
            raise InputError(f"read-out {self.key!r}: expected the {self.about} that it is about, got none")
        about = {"members": circuit} if self.about else {}
        return runs_model(self.function)(model, pairs, execution=execution, **about, **dict(use.params))


def of_clean(function: Callable[..., Readout]) -> Callable[..., Readout]:
    """Return a function of pairs that reads their clean images by a function of images."""

    def read(model: ViT, pairs: MeasuredPairs, **keywords: object) -> Readout:
        return function(model, pairs.clean, **keywords)

    return read


def of_measured(function: Callable[..., Readout]) -> Callable[..., Readout]:
    """Return a function of measured pairs that calls a function of pairs and a metric."""

    def read(model: ViT, pairs: MeasuredPairs, **keywords: object) -> Readout:
        return function(model, pairs, metric=pairs.metric, **keywords)

    return read
