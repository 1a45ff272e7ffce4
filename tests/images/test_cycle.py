"""The cyclic order of classes."""

from __future__ import annotations

from circuitstore.circuits import ClassInfo
from circuitstore.images import class_cycle
from circuitstore.images.cycle import ClassCycle
from hypothesis import given
from hypothesis import strategies as st

CLASSES = st.lists(st.integers(0, 99), min_size=1, max_size=12, unique=True).map(
    lambda numbers: [ClassInfo("toys", f"class-{i}", i) for i in numbers]
)


@given(CLASSES, st.integers(0, 5), st.randoms())
def test_the_cycle_goes_through_all_classes_whatever_their_order(classes: list[ClassInfo], seed: int, random) -> None:
    cycle = class_cycle(classes, seed)
    assert sorted(c.class_index for c in cycle) == sorted(c.class_index for c in classes)
    random.shuffle(classes)
    assert class_cycle(classes, seed) == cycle
    visited, cls = [], classes[0]
    for _ in classes:
        cls = ClassCycle(classes, seed).later(cls, 1)
        visited.append(cls)
    assert set(visited) == set(classes) and cls == classes[0]


@given(CLASSES, st.integers(0, 5))
def test_a_new_class_changes_the_successor_of_one_class(classes: list[ClassInfo], seed: int) -> None:
    """Adding a class changes the partner of only one other class."""
    more = [*classes, ClassInfo("toys", "new", 1000)]
    changed = [c for c in classes if ClassCycle(classes, seed).later(c, 1) != ClassCycle(more, seed).later(c, 1)]
    assert len(changed) == 1


def test_seeds_give_different_cycles() -> None:
    classes = [ClassInfo("toys", str(i), i) for i in range(10)]
    assert len({class_cycle(classes, seed)[0] for seed in range(20)}) > 4
