"""What a kind of intervention is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...circuits.kinds import REQUIRED, Kind, Param, Registry, number, whole
from ...circuits.recipe import Scalar
from ...circuits.response import Intervention
from .edit import Edit


@dataclass(frozen=True, kw_only=True)
class InterventionKind(Kind):
    """A kind of intervention. Its parameters are what identifies an edit of this kind, hashes included.

    Attributes:
        function: returns an edit of this kind; its arguments are the kind's own.
    """

    function: Callable[..., Edit]

    def use(self, **params: Scalar) -> Intervention:
        """Return the identity of an edit: the kind with its parameters and its version.

        Raises:
            InputError: a missing parameter, or one with a value that is not allowed.
        """
        return Registry("intervention", "interventions", Intervention, (self,)).resolve(self.key, params)


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef")


HASH = Param.accepting(REQUIRED, "a SHA-256 in hexadecimal", _is_hash)
"""Parameter for a set of edges, components, neurons or directions, by the hash of its content."""

COUNT = whole(REQUIRED)
"""Parameter for the number of edges, components or neurons."""

STRENGTH = number(REQUIRED, "a number of at least 0", lambda value: value >= 0)
"""Parameter for the strength of steering."""
