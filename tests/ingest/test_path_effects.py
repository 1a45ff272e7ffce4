"""Effects of neuron paths in a spec: one for each search, class and condition, and what is rejected."""

from __future__ import annotations

from pathlib import Path

import pytest
from circuitstore.analysis.overview import read_overview
from circuitstore.errors import InputError
from circuitstore.ingest import index, make_plan, parse_spec
from circuitstore.models import ViT
from circuitstore.query import run
from circuitstore.store import open_store

SPEC = """
name = "effects"
model = "digits"
[images]
source = "digits"
only = ["three"]
per_class = 12
examples = 0
[[condition]]
kind = "natural"
[[neuron_paths]]
search = "activation"
[[readout]]
kind = "path-effects"
draws = 2
"""


@pytest.mark.slow
def test_the_effects_of_a_stored_path_are_asked_for_and_shown(digits_model: ViT, tmp_path: Path) -> None:
    first = SPEC[: SPEC.index("[[readout]]")]
    assert index(parse_spec(first), model=digits_model, location=tmp_path, progress=False).done == 1
    later = index(parse_spec(SPEC), model=digits_model, location=tmp_path, progress=False)
    assert (later.done, later.skipped, later.failed) == (1, 1, {})
    with open_store(tmp_path) as store:
        (path,) = store.circuits()["id"]
        found = run(store, "path-effects").frame
        assert set(found["circuit"]) == {path} and set(found["images"]) == {3}
        assert found[["neurons", "change"]].to_numpy().tolist() == [
            [neurons, change] for neurons in ("path", "random") for change in ("removed", "enhanced")
        ]
        assert (found["low"] <= found["effect"]).all() and (found["effect"] <= found["high"]).all()
        (shown,) = read_overview(store).neuron_paths
        assert shown.table["removed"].tolist() == [found["effect"][0]]
        assert shown.table["random_removed"].tolist() == [found["effect"][2]]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('[[neuron_paths]]\nsearch = "activation"\n', "", r"about neuron paths, so the spec needs a \[\[neuron_p"),
        ("draws = 2", 'metric = "logit"', "metric: path-effects is about the neuron paths of each search"),
        ("draws = 2", "draws = 0", "draws: expected a whole number of at least 1, got 0"),
    ],
)
def test_what_a_spec_cannot_ask_is_named(old: str, new: str, expected: str, digits_model: ViT) -> None:
    text = SPEC.replace(old, new)
    if not new:
        text += '[[recipe]]\nmethod = "eap"\n[[extract]]\nedges = 9\n'
    with pytest.raises(InputError, match=expected):
        make_plan(parse_spec(text), digits_model)
