"""The circuits that a request selects, by their properties."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query

# no `from __future__ import annotations`: FastAPI reads the types of the fields of a class

Values = Annotated[list[str] | None, Query(description="repeat it to allow several values")]


@dataclass(frozen=True)
class Filters:
    """Values that properties of circuits must have; None lets all values pass.

    Attributes:
        counts: whether circuits must be the newest answer to their question, without a flag.
    """

    model: Values = None
    model_id: Values = None
    dataset: Values = None
    class_: Annotated[list[str] | None, Query(alias="class")] = None
    image_group: Values = None
    condition: Values = None
    attack: Values = None
    method: Values = None
    form: Values = None
    metric: Values = None
    corruption: Values = None
    extraction: Values = None
    flag: Values = None
    counts: bool | None = None

    @property
    def equals(self) -> dict[str, Any]:
        """The values by the name of the property, as `Store.circuits` takes them."""
        given = {name.removesuffix("_"): value for name, value in vars(self).items()}
        return {name: value for name, value in given.items() if value is not None}


Filtered = Annotated[Filters, Depends()]
"""The type of a route's parameter that gets the filters."""

FIELDS = tuple(name.removesuffix("_") for name in Filters.__dataclass_fields__ if name not in ("counts", "model_id"))
"""The properties that select circuits, for people; `model_id` tells models of one name apart."""
