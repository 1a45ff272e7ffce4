"""A small run over the digits: three classes, both studies."""

import pytest
from circuitstore.ingest import Spec, parse_spec

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
