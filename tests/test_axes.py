"""The check of annotations that the tests install covers the package, and only what it must."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from beartype.roar import BeartypeCallHintParamViolation, BeartypeCallHintReturnViolation
from circuitstore.evaluation.curves import area
from circuitstore.models import load_model
from jaxtyping import Float, TypeCheckError

from .axes import all_checked, arrays, arrays_checked, jaxtyped

Sizes = Float[np.ndarray, "size"]
"""An array by another name."""
checking = jaxtyped(typechecker=all_checked)


@checking
def total(sizes: Sizes, values: Sizes | None = None, name: str = "") -> float:
    return float(sizes.sum())


@checking
@dataclass
class Curve:
    sizes: Sizes
    values: Float[np.ndarray, "size"]


@checking
def length(name: str, other: NotImportedHere | None = None) -> int:  # pyright: ignore[reportUndefinedVariable]
    return len(name)


def test_rooms_of_the_package_are_checked() -> None:
    with pytest.raises(BeartypeCallHintParamViolation):
        area(np.ones(3), np.ones(4))
    with pytest.raises(BeartypeCallHintParamViolation, match="pretrained"):
        load_model("digits", pretrained=0.5)


@pytest.mark.parametrize("function", [total, Curve])
def test_sizes_of_axes_are_equal_also_by_another_name(function: Callable[..., object]) -> None:
    assert function(np.ones(3), np.ones(3)) is not None
    for wrong in (np.ones(4), np.ones((3, 1)), np.ones(3, int)):
        with pytest.raises(BeartypeCallHintParamViolation):
            function(np.ones(3), wrong)


def test_other_annotations_are_checked_if_they_can_be_resolved() -> None:
    assert length("abc", 1) == 3
    with pytest.raises(BeartypeCallHintParamViolation):
        length(3)
    with pytest.raises(BeartypeCallHintParamViolation):
        total(np.ones(3), name=3)
    assert jaxtyped(typechecker=arrays_checked)(length) is length


def test_a_function_inside_another_one_is_checked_only_for_its_arrays() -> None:
    def plain(n: int) -> int:
        return n

    def shaped(sizes: Sizes) -> Sizes:
        return sizes[1:]

    assert checking(plain) is plain
    assert set(arrays(shaped)) == {"sizes", "return"}
    with pytest.raises(BeartypeCallHintReturnViolation):
        checking(shaped)(np.ones(3))


def test_arguments_of_a_generator_have_one_size_for_each_axis() -> None:
    @checking
    def both(sizes: Sizes, values: Sizes) -> Iterator[float]:
        yield from sizes + values

    assert list(both(np.ones(2), np.ones(2))) == [2.0, 2.0]
    with pytest.raises(TypeCheckError):
        both(np.ones(2), np.ones(1))


def test_axes_of_calls_inside_a_call_are_separate() -> None:
    @checking
    def outer(sizes: Sizes) -> float:
        return total(sizes[1:]) + total(sizes)

    assert outer(np.ones(3)) == 5
