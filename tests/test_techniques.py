"""The names on the page of techniques exist, and every kind is on the page."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Collection
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import typer
from circuitstore.cli import app
from circuitstore.discovery import METHODS
from circuitstore.errors import CircuitStoreError
from circuitstore.evaluation import METRICS
from circuitstore.images import CONDITIONS, CORRUPTIONS
from circuitstore.ingest import parse_spec
from circuitstore.ingest.spec import kind_and_params
from circuitstore.query import named_queries

PAGE = (Path(__file__).parents[1] / "docs" / "techniques.md").read_text(encoding="utf-8")
ANSWERS = [cell for cell in re.findall(r"^\| .+? \| .+? \| (.+) \|$", PAGE, re.MULTILINE) if cell != "in circuitstore"]
"""The last cells of all techniques."""
NAMED = sorted({text for cell in ANSWERS for text in re.findall(r"`([^`]+)`", cell)})
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
FIELDS = {"condition": ("kind",), "extract": ("top", "edges", "threshold", "retention", "bisection")}
"""Tables of a spec by the fields that their texts begin with; all others are of a recipe."""


def check_command(text: str) -> None:
    """Check the name of a command, of a named query, and of options."""
    name, *words = text.split()[1:]
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
    assert name != "query" or words[0] in named_queries()


def check_fields(text: str) -> None:
    """Check fields of a spec: parse a spec that has them, and resolve its kinds."""
    tables = {"condition": 'kind = "natural"', "recipe": 'method = "eap-ig"', "extract": "top = 24"}
    table = next((table for table, fields in FIELDS.items() if text.startswith(fields)), "recipe")
    tables[table] = text if table != "recipe" or "method" in text else f'method = "eap-ig", {text}'
    lines = [f"{name} = [{{ {fields} }}]" for name, fields in tables.items()]
    spec = parse_spec("\n".join(['name = "all"', 'model = "digits"', 'images = { source = "digits" }', *lines]))
    [condition], [recipe], [extract] = spec.condition, spec.recipe, spec.extract
    CONDITIONS.resolve(condition.kind, condition.params)
    CORRUPTIONS.resolve(*kind_and_params(recipe.corruption))
    metric, method = METRICS.resolve(*kind_and_params(recipe.metric)), METHODS.resolve(recipe.method, recipe.params)
    METHODS[recipe.method].check(recipe.form, recipe.direction, metric.kind, dict(method.params))
    extract.extraction()


def check_python(text: str) -> None:
    """Check a dotted name, and the keywords if it is a call."""
    tree = ast.parse(text, mode="eval").body
    name, keywords = (tree.func, tree.keywords) if isinstance(tree, ast.Call) else (tree, [])
    room, *names = ast.unparse(name).split(".")
    module = importlib.import_module("circuitstore" if room == "cs" else f"circuitstore.{room}")
    value = reduce(attribute, names, module)
    assert not keywords or {keyword.arg for keyword in keywords} <= set(inspect.signature(value).parameters)


def attribute(value: Any, name: str) -> Any:
    """Return an attribute, or the field of a dataclass."""
    return (
        value.__dataclass_fields__[name] if name in getattr(value, "__dataclass_fields__", ()) else getattr(value, name)
    )


@pytest.mark.parametrize("text", NAMED)
def test_every_name_exists(text: str) -> None:
    check = check_command if text.startswith("circuitstore ") else check_fields if " = " in text else check_python
    check(text)


UNKNOWN = [
    "circuitstore find",
    "circuitstore compare --most",
    "circuitstore query best",
    'method = "eap-gp"',
    "cs.steer",
]
UNKNOWN += [
    "cs.patch_nodes(place=0)",
    'corruption = "nothing"',
    'kind = "patch"',
    'method = "eap", steps = 5',
    "bottom = 5",
]


@pytest.mark.parametrize("text", UNKNOWN)
def test_an_unknown_name_fails(text: str) -> None:
    with pytest.raises((AssertionError, AttributeError, KeyError, CircuitStoreError)):
        test_every_name_exists(text)


def test_every_technique_has_an_answer() -> None:
    known = re.compile("`|^not yet|^does not apply to image classifiers, because ")
    assert len(ANSWERS) > 100
    assert [cell for cell in ANSWERS if not known.search(cell)] == []


@pytest.mark.parametrize(
    ("field", "kinds"),
    [("method", METHODS), ("metric", METRICS), ("corruption", CORRUPTIONS), ("kind", set(CONDITIONS) - {"natural"})],
    ids=["methods", "metrics", "corruptions", "conditions"],
)
def test_every_kind_is_on_the_page(field: str, kinds: Collection[str]) -> None:
    assert [key for key in kinds if f'{field} = "{key}"' not in PAGE] == []
