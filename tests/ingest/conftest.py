"""A small run over the digits: three classes, both studies. A user's own results, and a run that `index` computed."""

from pathlib import Path

import pytest
from circuitstore.images import open_source
from circuitstore.ingest import Spec, index, parse_spec
from circuitstore.models import ViT

from .own_world import SPEC, World

SMALL = """
name = "small"
model = "digits"
[images]
source = "digits"
per_class = 12
only = ["three", "seven"]
[[condition]]
kind = "natural"
[[condition]]
kind = "typographic"
text = "other class"
[[recipe]]
method = "eap-ig"
steps = 2
[[recipe]]
method = "eap"
corruption = "unattacked-twin"
metric = "logit-diff"
conditions = ["typographic"]
[[extract]]
retention = 0.8
[[extract]]
edges = 30
"""


@pytest.fixture(scope="session")
def small() -> Spec:
    return parse_spec(SMALL)


@pytest.fixture(scope="module")
def world(digits_model: ViT) -> World:
    return World(digits_model, open_source("digits", digits_model))


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("computed")
    index(parse_spec(SPEC), location=folder, progress=False)
    return folder
