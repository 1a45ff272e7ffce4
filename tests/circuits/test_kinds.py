"""Kinds: canonical values of parameters, and registries with their errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from circuitstore.circuits import Kind, Param, Registry, Variant, digest
from circuitstore.circuits.kinds import ABSENT, REQUIRED, choice, is_number, number, switch, whole
from circuitstore.discovery import EXTRACTIONS, METHODS
from circuitstore.errors import InputError
from circuitstore.evaluation import METRICS
from circuitstore.formats import FORMATS
from circuitstore.images import CONDITIONS, CORRUPTIONS, SOURCES

CIRCLE = Kind(
    key="circle",
    name="all points at one distance",
    version=3,
    params={
        "radius": number(1.0, "a length above 0", lambda value: value > 0),
        "limit": number(None, "a finite number"),
        "parts": whole(4),
        "rings": whole(2, 0, 8),
        "line": choice("solid", "dashed"),
        "place": choice("left", "right", default="right"),
        "filled": switch(False),
        "label": Param(ABSENT, "a text", str.upper),
    },
    lacks={"corners": "it is round"},
)
SQUARE = Kind(key="square", params={"side": Param.accepting(REQUIRED, "a length", is_number)})
NEAREST = {"point": "'point' has no size; the nearest is 'circle' with a small radius"}
SHAPES: Registry[Kind, Variant] = Registry("shape", "shapes", Variant, [CIRCLE, SQUARE], NEAREST)

DEFAULTS = {"radius": 1.0, "limit": None, "parts": 4, "rings": 2, "line": "solid", "place": "right", "filled": False}

REGISTRIES = (METHODS, METRICS, CONDITIONS, CORRUPTIONS, EXTRACTIONS, SOURCES, FORMATS)


def test_defaults_are_filled_in_and_the_version_is_that_of_the_kind() -> None:
    assert SHAPES.resolve("circle") == SHAPES.resolve("circle", {}) == Variant.of("circle", DEFAULTS, 3)
    changed = SHAPES.resolve("circle", {"parts": 5, "line": "dashed"})
    assert changed == Variant.of("circle", DEFAULTS | {"parts": 5, "line": "dashed"}, 3)


def test_a_parameter_without_a_default_is_left_out_or_must_be_given() -> None:
    assert "label" not in dict(SHAPES.resolve("circle").params)
    assert SHAPES.resolve("circle", {"label": "big"})["label"] == "BIG"
    assert SHAPES.resolve("square", {"side": 2}).params == (("side", 2),)
    with pytest.raises(InputError, match=r"^shape 'square': side is missing; expected a length$"):
        SHAPES.resolve("square")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("radius", [0.5, 1e300]),
        ("limit", [None, -1.0, 0.0]),
        ("parts", [1, 10**9]),
        ("rings", [0, 8]),
        ("line", ["solid", "dashed"]),
        ("filled", [True, False]),
    ],
)
def test_allowed_values_are_unchanged(name: str, values: list[Any]) -> None:
    for value in values:
        found = SHAPES.resolve("circle", {name: value})[name]
        assert found == value and type(found) is type(value)


def test_a_number_has_one_canonical_form() -> None:
    whole_number, decimal = (SHAPES.resolve("circle", {"radius": value, "limit": value}) for value in (2, 2.0))
    assert whole_number.text == decimal.text and "radius=2.0" in decimal.text
    assert digest(whole_number.to_dict()) == digest(decimal.to_dict())


@pytest.mark.parametrize(
    ("name", "values", "allowed"),
    [
        ("radius", [0, -1.0, True, None, "1", float("nan"), float("inf"), 10**400], "a length above 0"),
        ("limit", [True, "1", float("nan"), float("-inf")], "a finite number"),
        ("parts", [0, -1, 1.0, True, None, "1"], "a whole number of at least 1"),
        ("rings", [-1, 9, 2.0], "a whole number, 0 to 8"),
        ("line", ["dotted", "", None, 1], "solid or dashed"),
        ("filled", [0, 1, None, "true"], "true or false"),
    ],
)
def test_the_error_names_the_allowed_values(name: str, values: list[Any], allowed: str) -> None:
    for value in values:
        with pytest.raises(InputError) as caught:
            SHAPES.resolve("circle", {name: value})
        assert str(caught.value) == f"shape 'circle': {name}: expected {allowed}, got {value!r}"


def test_a_parameter_may_raise_its_own_reason() -> None:
    def read(value: Any) -> Any:
        raise InputError(f"{value!r} is too long; shorten it")

    shapes: Registry[Kind, Variant] = Registry(
        "shape", "shapes", Variant, [Kind(key="sign", params={"text": Param(ABSENT, "a text", read)})]
    )
    with pytest.raises(InputError, match=r"^shape 'sign': text: 'abc' is too long; shorten it$"):
        shapes.resolve("sign", {"text": "abc"})


def test_errors_for_unknown_names_list_the_nearest() -> None:
    with pytest.raises(InputError, match=r"^unknown shape 'cirle'; did you mean 'circle'\? \(valid: circle, square\)"):
        SHAPES.resolve("cirle")
    with pytest.raises(InputError, match=r"^shape 'circle': unknown parameter 'radios'; did you mean 'radius'"):
        SHAPES.resolve("circle", {"radios": 1})
    with pytest.raises(InputError, match=r"^shape 'square': unknown parameter 'height'; see the list \(valid: side"):
        SHAPES.resolve("square", {"height": 1})


def test_known_names_that_are_no_kinds_raise_with_a_hint() -> None:
    for ask in (lambda: SHAPES["point"], lambda: SHAPES.resolve("point", {"radius": 1})):
        with pytest.raises(InputError, match=f"^shape: {NEAREST['point']}$"):
            ask()
    assert "point" not in SHAPES and SHAPES.get("point") is None


def test_a_parameter_that_only_siblings_have_raises_with_the_reason() -> None:
    with pytest.raises(InputError, match=r"^shape 'circle': it has no parameter 'corners': it is round; leave it out$"):
        SHAPES.resolve("circle", {"corners": 4})


def test_a_registry_is_a_mapping_of_kinds_by_key() -> None:
    assert isinstance(SHAPES, Mapping) and dict(SHAPES) == {"circle": CIRCLE, "square": SQUARE}
    assert (list(SHAPES), len(SHAPES), list(SHAPES.values())) == (["circle", "square"], 2, [CIRCLE, SQUARE])
    assert SHAPES["circle"] is SHAPES.get("circle") is CIRCLE
    assert "circle" in SHAPES and "cirle" not in SHAPES and 3 not in SHAPES
    assert SHAPES.get("cirle") is None and SHAPES.get("cirle", SQUARE) is SQUARE


@pytest.mark.parametrize(
    ("registry", "key"), [pytest.param(r, key, id=f"{r.what}-{key}") for r in REGISTRIES for key in r]
)
def test_every_kind_is_described_and_resolved_in_full(registry: Registry[Kind, Variant], key: str) -> None:
    kind = registry[key]
    assert kind.key == key and kind.name and kind.version >= 1
    assert not kind.params.keys() & kind.lacks.keys()
    given = {name: "8/255" for name, param in kind.params.items() if param.default is REQUIRED}  # a name and a budget
    found = registry.resolve(key, given)
    assert (found.kind, found.version) == (key, kind.version)
    stated = {n: p for n, p in kind.params.items() if p.default is not ABSENT and not p.added_later}
    assert dict(found.params).keys() == stated.keys()
    assert registry.resolve(key, dict(found.params)) == found
    defaults = {name: param.default for name, param in stated.items() if param.default is not REQUIRED}
    assert all(type(found[name]) is type(default) for name, default in defaults.items())


def test_the_groups_of_entry_points_are_named_after_their_kinds() -> None:
    assert [r.group for r in REGISTRIES] == [f"circuitstore.{r.what.split()[0]}s" for r in REGISTRIES]
