"""The specs in `examples/` run; here with few images, with `make examples` as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from circuitstore.analysis import write_report
from circuitstore.images import ImageSource
from circuitstore.images.digits import load_digits
from circuitstore.ingest import Spec, index, parse_spec
from circuitstore.models import ViT
from circuitstore.store import Store, open_store

EXAMPLES = Path(__file__).parent.parent / "examples"
SPECS = {file.stem: file for file in sorted(EXAMPLES.glob("*.toml"))}


def shrunk(name: str) -> Spec:
    """The spec with twelve images of two classes, and fewer steps."""
    text = re.sub(r"^per_class = .*$", "per_class = 12", SPECS[name].read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = re.sub(r"^only = .*$", 'only = ["three", "eight"]', text, flags=re.MULTILINE)
    return parse_spec(text.replace('steps = "auto"', "steps = 2"), folder=EXAMPLES)


def indexed(name: str, model: ViT, location: Path) -> Store:
    result = index(shrunk(name), model=model, location=location, progress=False)
    assert result.failed == {} and result.done > 0
    return open_store(location)


@pytest.mark.slow
def test_attacks_and_their_twins_in_both_studies(digits_model: ViT, tmp_path: Path) -> None:
    with indexed("attacks", digits_model, tmp_path) as store:
        circuits = store.circuits("attacks")
        counted = circuits.groupby(["metric", "attack"]).size().to_dict()
        assert counted == {
            **{("logit", kind): 2 * n for kind, n in {"natural": 1, "typographic": 3, "fgsm": 1, "pgd": 2}.items()},
            ("logit", "random-signs"): 2,
            **{("logit-diff", kind): 2 * n for kind, n in {"typographic": 3, "fgsm": 1, "pgd": 2}.items()},
        }
        examples = store.examples("attacks")
        assert len(examples) == 2 * 8 and set(examples["n_images"]) == {3}


@pytest.mark.slow
def test_groups_have_their_own_circuits(digits_model: ViT, tmp_path: Path) -> None:
    with indexed("groups", digits_model, tmp_path) as store:
        circuits = store.circuits("groups")
        assert circuits.groupby(["class", "image_group"]).size().to_dict() == {
            (cls, group): 2 for cls in ("three", "eight") for group in ("bold", "thin")
        }


@pytest.mark.slow
def test_report_images_have_words_that_discovery_images_lack(digits_model: ViT, tmp_path: Path) -> None:
    with indexed("held_out_words", digits_model, tmp_path) as store:
        words = store.circuits("held-out-words")["word"]
        assert sorted(word.count(" / ") for word in words) == [0, 0, 1, 1]


@pytest.mark.slow
def test_read_outs_and_neuron_paths_are_stored_and_shown(digits_model: ViT, tmp_path: Path) -> None:
    with indexed("readouts", digits_model, tmp_path / "store") as store:
        listed = store.readouts("readouts")
        kinds = {"logit-lens", "logit-attribution", "occlusion", "footprint", "circuit-footprint", "path-effects"}
        assert listed.groupby("kind").size().to_dict() == dict.fromkeys(kinds, 4) | {"stream-patching": 2}
        assert len(store.circuits("readouts")) == 4 + 4
        text = write_report(store, tmp_path / "r.html", run="readouts").read_text(encoding="utf-8")
    assert all(f'<h2 id="{id}"' in text for id in ("neurons", "decided", "where", "examples"))
    # occlusion also has a map of each of three images; footprints of circuits are on two of them
    assert text.count('href="data:image/webp') == 2 * 2 * (6 + 3 + 2)


def test_the_groups_of_digits_are_by_their_ink(digits: ImageSource) -> None:
    groups = pd.read_csv(EXAMPLES / "groups.csv").set_index("path")["group"]
    for name in ("three", "eight"):
        refs = digits.candidates(digits.class_named(name))
        ink = pd.Series(
            {ref.origin: load_digits().images[int(ref.origin.split()[1])].astype(int).sum() for ref in refs}
        )
        assert groups[ink.index].tolist() == ["bold" if bold else "thin" for bold in ink > ink.median()]


def test_every_example_is_named_in_the_documentation() -> None:
    text = (EXAMPLES.parent / "docs" / "spec.md").read_text(encoding="utf-8")
    assert [name for name in SPECS if f"examples/{name}.toml" not in text] == []
