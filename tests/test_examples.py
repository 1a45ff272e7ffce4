"""Every public function has an example in its docstring, and the examples run.

Examples may use these names without defining them: `cs` (the package), `np`, `torch`, `Path`; `model` (of the digits),
`source` (the digits), `pairs` (eight threes, each with a corrupted image), `scores`, `circuit` and `graph` (of that
model), `clip` and `tokenizer` (of a tiny CLIP), `spec` (of a small run), `store` (circuits of four classes, natural and
attacked), `models` (a store with circuits of the models `base`, `tuned` and `control`), `folder` (an empty folder), and
the names in the module of the function.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import circuitstore as cs
import numpy as np
import open_clip
import pytest
import torch
from circuitstore.images import ImageSource
from circuitstore.ingest import parse_spec
from circuitstore.models import ViT
from circuitstore.store import Store

from .families import build_clip
from .toy_models import model_store  # noqa: F401
from .toy_studies import toy_store, toys  # noqa: F401

ROOMS = (
    *("circuits", "models", "evaluation", "images", "discovery", "defence", "store", "ingest", "query", "analysis"),
    "formats",
    "results",
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
SPEC = """
name = "two-digits"
model = "digits"
[images]
source = "digits"
only = ["three", "eight"]
per_class = 12
[[condition]]
kind = "natural"
[[recipe]]
method = "eap"
form = "block"
corruption = "other-class"
metric = "logit"
[[extract]]
edges = 20
"""


def _functions() -> dict[str, Callable[..., Any]]:
    """Return the public functions of all rooms, by room and name."""
    found: dict[str, Callable[..., Any]] = {}
    for room in ROOMS:
        offered = {n: v for n, v in vars(importlib.import_module(f"circuitstore.{room}")).items() if n[0] != "_"}
        found |= {f"{room}.{name}": value for name, value in offered.items() if inspect.isfunction(value)}
    return {name: function for name, function in found.items() if function.__module__.startswith("circuitstore.")}


FUNCTIONS = _functions()


@pytest.fixture(scope="module")
def at_hand(
    digits_model: ViT,
    digits: ImageSource,
    toy_store: Store,  # noqa: F811
    model_store: Store,  # noqa: F811
) -> dict[str, Any]:
    """The names that examples may use."""
    pairs = cs.image_pairs(digits, digits_model, "three", n=8)
    scores = cs.score_edges(digits_model, pairs)
    modules = {"cs": cs, "np": np, "torch": torch, "Path": Path, "spec": parse_spec(SPEC)}
    asked = {"model": digits_model, "source": digits, "pairs": pairs, "store": toy_store}
    asked |= {"models": model_store}
    clips = {"clip": build_clip("CLIP"), "tokenizer": open_clip.SimpleTokenizer(context_length=16)}
    return {**modules, **asked, **clips, "scores": scores, "graph": scores.graph, "circuit": scores.top(0.1)}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_has_an_example(name: str) -> None:
    assert ">>> " in (FUNCTIONS[name].__doc__ or "")


@pytest.mark.parametrize("name", [name for name, it in FUNCTIONS.items() if ">>> " in (it.__doc__ or "")])
def test_examples_run(name: str, at_hand: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    function = inspect.unwrap(FUNCTIONS[name])
    known = {**vars(sys.modules[function.__module__]), **at_hand, "folder": tmp_path}
    example = doctest.DocTestParser().get_doctest(FUNCTIONS[name].__doc__ or "", known, name, None, None)
    failures: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(example, out=failures.append)
    assert not failures, "".join(failures)
