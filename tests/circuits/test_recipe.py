"""Identities: canonical, complete, and the same on every machine."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from typing import Any

import pytest
from circuitstore.circuits import (
    Condition,
    Corruption,
    MethodUse,
    Metric,
    Recipe,
    UniverseUse,
    Variant,
    WorkItem,
    digest,
)
from circuitstore.circuits.universes import LONGEST_KEY
from circuitstore.errors import InputError
from circuitstore.testing.factories import make_item
from hypothesis import given
from hypothesis import strategies as st

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_a_digest_survives_json(value: Any) -> None:
    assert digest(json.loads(json.dumps(value))) == digest(value)


@given(st.dictionaries(st.text(), st.integers(), max_size=5))
def test_a_digest_ignores_the_order_of_keys(value: dict[str, int]) -> None:
    assert digest(dict(reversed(value.items()))) == digest(value)


def test_a_digest_is_the_hash_of_canonical_json() -> None:
    # printf '{"a":[1,"ä"],"b":0.1}' | sha256sum
    assert digest({"b": 0.1, "a": [1, "ä"]}) == "68e0596f55d235ec31e653cf8d521619505db5a870669a6016bb33db8327b7de"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_json_cannot_represent_have_no_digest(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        digest(value)


def changed(value: Any) -> Any:
    """Return another value of the same type."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return value + "x"
        case tuple():
            return (*value, *value[:1])
        case Variant():
            return replace(value, version=value.version + 1)
    raise AssertionError(f"no other value of {type(value)}")


def test_every_field_of_the_recipe_is_part_of_the_identity() -> None:
    item = make_item()
    use = UniverseUse.of("neurons", {"layers": 4})
    names = [f.name for f in fields(Recipe) if f.name != "universe"]
    others = [replace(item.recipe, **{name: changed(getattr(item.recipe, name))}) for name in names]
    others += [replace(item.recipe, form=use.form), replace(item.recipe, form=use.form, universe=use)]
    ids = {item.recipe.id, *(r.id for r in others)}
    assert len(ids) == 1 + len(others)
    assert len({item.id, *(replace(item, recipe=r).id for r in others)}) == 1 + len(others)


def test_the_short_name_of_a_universe_distinguishes_its_parameters() -> None:
    split, plain, three, four = (
        UniverseUse.of(*args)
        for args in (("split",), ("neurons",), ("neurons", {"layers": 3}), ("neurons", {"layers": 4}))
    )
    assert (split.form, plain.form) == ("split", "neurons")
    forms = [three.form, four.form, UniverseUse.of("neurons", {"layers": 4}, 2).form]
    assert len(set(forms)) == 3 and all(re.fullmatch("neurons-[0-9a-f]{6}", form) for form in forms)
    assert len(UniverseUse.of("x" * LONGEST_KEY, {"layers": 4}).form) == 16


def test_a_universe_without_parameters_is_named_by_its_form() -> None:
    recipe = make_item().recipe
    assert replace(recipe, universe=UniverseUse.of("split")) == recipe
    assert recipe.over == UniverseUse.of("split")
    use = UniverseUse.of("neurons", {"layers": 4})
    assert replace(recipe, form=use.form, universe=use).over == use
    with pytest.raises(InputError, match=r"form: expected 'neurons-[0-9a-f]{6}', that of the universe, got 'split'"):
        replace(recipe, universe=use)


def test_every_field_of_class_images_and_condition_is_part_of_the_identity() -> None:
    item = make_item(attack="typographic")
    others = [
        replace(item, **{part: replace(value, **{f.name: changed(getattr(value, f.name))})})
        for part in ("target_class", "selection")
        for value in [getattr(item, part)]
        for f in fields(value)
    ]
    others += [replace(item, condition=Condition.of(c.kind + "x", dict(c.params), c.version)) for c in [item.condition]]
    others += [
        replace(item, condition=replace(item.condition, version=2)),
        replace(item, condition=Condition.of("typographic", {"text": "seven"})),
        replace(item, model=replace(item.model, id="other")),
        replace(item, selection=replace(item.selection, candidates=item.selection.candidates[::-1])),
    ]
    assert len({item.id, *(o.id for o in others)}) == 1 + len(others)


def test_the_name_of_a_model_is_not_its_identity() -> None:
    item = make_item()
    assert replace(item, model=replace(item.model, name="another name")).id == item.id


def test_work_items_survive_json() -> None:
    neurons = UniverseUse.of("neurons", {"layers": 4})
    over = replace(make_item().recipe, form=neurons.form, universe=neurons)
    items = (make_item(), make_item(3, attack="typographic", form="attention"), replace(make_item(), recipe=over))
    for item in items:
        back = WorkItem.from_dict(json.loads(json.dumps(item.to_dict())))
        assert back == item
        assert back.id == item.id


@given(st.dictionaries(st.text(min_size=1), st.integers() | st.text() | st.booleans(), max_size=4))
def test_parameters_have_no_order(params: dict[str, Any]) -> None:
    one, two = MethodUse.of("m", params), MethodUse.of("m", dict(reversed(params.items())))
    assert one == two
    assert one.text == two.text
    assert all(one[name] == value for name, value in params.items())


def test_canonical_text() -> None:
    recipe = Recipe(
        MethodUse.of("eap-ig", {"steps": 5, "rule": "midpoint"}), "split", Metric.of("logit"), Corruption.of("blur")
    )
    assert recipe.text == "eap-ig(rule=midpoint, steps=5), split, logit, noising, blur"


def test_variants_of_different_classes_differ() -> None:
    assert Condition.of("blur") != Corruption.of("blur")
