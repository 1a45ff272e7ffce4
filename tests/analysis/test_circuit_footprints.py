"""Footprints of circuits in the report: the stored numbers, on the example images, above the circuits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from circuitstore.analysis.circuit_footprints import footprint_facts, footprint_numbers, footprints_of_class
from circuitstore.analysis.overview import read_overview
from circuitstore.analysis.readout_numbers import over_components
from circuitstore.analysis.readouts import ReadoutSet, read_readouts
from circuitstore.analysis.report.circuit_footprints import footprint_drawing
from circuitstore.analysis.report.page import render
from circuitstore.circuits import Axis
from circuitstore.circuits.image_maps import map_of
from circuitstore.store import Store, create_store
from circuitstore.testing.factories import make_discovery, make_record

from ..toy_studies import effect_items
from .html_page import Page
from .readout_records import EXAMPLES, TOKENS, records

EDGES = Axis("edges", ("out of input", "into layer 0", "into logits", "input->m0", "m0->logits"))
SHOWN = ("out of input", "input->m0", "m0->logits")
DISCOVERIES = [make_discovery(item=item) for item in effect_items(2)]
CIRCUITS = [make_record(discovery) for discovery in DISCOVERIES]
"""A circuit of each class and condition."""

MADE = [
    replace(record, provenance={**record.provenance, "circuit": circuit.id})
    for record, circuit in zip(records("circuit-footprint", EDGES, TOKENS, per_image=True), CIRCUITS, strict=True)
]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with create_store(tmp_path_factory.mktemp("footprints") / "data") as store:
        with store.writer() as writer:
            writer.start_run("run", "", [answer.item for answer in (*DISCOVERIES, *MADE)])
            writer.put(*DISCOVERIES, *CIRCUITS, *MADE, *EXAMPLES, run="run")
        yield store


@pytest.fixture(scope="module")
def shown(store: Store) -> ReadoutSet:
    seen = {example.hash for images in EXAMPLES for example in images.examples}
    (found,) = read_readouts(store, images=seen)
    return found


def test_each_footprint_has_the_circuit_that_it_is_about(shown: ReadoutSet) -> None:
    stored = {record.id: circuit.circuit.edges for record, circuit in zip(MADE, CIRCUITS, strict=True)}
    assert {id: circuit.edges for id, circuit in shown.circuits.items()} == stored


def test_maps_are_the_stored_parts_at_patches(shown: ReadoutSet) -> None:
    for name, by_condition in shown.by_class.items():
        for one in footprints_of_class(shown, name, EXAMPLES):
            record = by_condition[one.condition]
            values = record.mean.select(edges=SHOWN).values
            assert one.edges == SHOWN and np.array_equal(one.mean, values[:, 1:].reshape(3, 2, 3))
            assert one.scores == pytest.approx(values.sum(axis=1), abs=1e-6)
            examples = next(e for r, e in zip(MADE, EXAMPLES, strict=True) if r.id == record.id).examples
            assert sorted(one.maps) == sorted(example.hash for example in examples)
            for hash_, maps in one.maps.items():
                assert record.per_image is not None
                of_image = record.per_image.select(image=hash_, edges=SHOWN).values
                assert np.array_equal(maps, of_image[:, 1:].reshape(3, 2, 3))


def test_it_is_shown_in_no_other_section() -> None:
    assert [over_components(record) for record in MADE] == [map_of(record, record.mean) for record in MADE]
    assert over_components(MADE[0]) is None


def test_scores_are_divided_into_patches_and_other_tokens(shown: ReadoutSet) -> None:
    facts = footprint_facts(shown)
    assert facts["edges"].tolist() == list(EDGES.labels) * 4
    assert (facts["patches"] + facts["others"]).tolist() == pytest.approx(facts["score"].tolist())
    for record, (_, rows) in zip(shown.records, facts.groupby(["class", "condition"], sort=False), strict=True):
        assert rows["others"].to_numpy() == pytest.approx(record.mean.values[:, 0], abs=1e-6)
        largest = record.mean.values[np.arange(5), 1 + 3 * rows["row"].to_numpy() + rows["column"].to_numpy()]
        assert np.abs(largest) == pytest.approx(np.abs(record.mean.values[:, 1:]).max(axis=1))


def test_every_map_is_on_its_image_above_the_circuits(shown: ReadoutSet) -> None:
    drawn = footprint_drawing(shown, "class-0", EXAMPLES, "here")
    root = ET.fromstring(str(drawn.svg))
    images = {image.get("id") for image in root.iter(f"{SVG}image")} - {None}
    assert images == {f"here-{block}-{row}" for block in (1, 2) for row in (1, 2)}
    uses = [use.get("href") for use in root.iter(f"{SVG}use")]
    assert sorted(uses) == sorted(f"#{image}" for image in images for _ in SHOWN)
    assert len(list(root.iter(f"{SVG}svg"))) == 1 + 2  # the circuits of both conditions
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert words.count("input->m0") == 2 and "circuit, natural" in words and "circuit, typographic" in words


def test_without_numbers_of_images_only_means_are_drawn(shown: ReadoutSet) -> None:
    means = ReadoutSet(shown.title, tuple(replace(record, per_image=None) for record in shown.records))
    drawn = footprint_drawing(means, "class-0", EXAMPLES, "here")
    root = ET.fromstring(str(drawn.svg))
    assert not list(root.iter(f"{SVG}use")) and len(list(root.iter(f"{SVG}svg"))) == 1
    assert "numbers of images are not stored" in drawn.caption


def test_the_page_has_a_drawing_of_each_class_with_its_numbers(store: Store, shown: ReadoutSet) -> None:
    page = Page(render(read_overview(store)))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    names = [name.removesuffix(".csv") for name in page.files if name.startswith("where-") and "table" not in name]
    assert len(names) == 2
    for name, cls in zip(sorted(names), shown.by_class, strict=True):
        expected = footprint_numbers(footprints_of_class(shown, cls, EXAMPLES))
        assert np.allclose(page.csv(name)[list(SHOWN)], expected[list(SHOWN)])


def test_a_circuit_that_is_gone_is_not_drawn(shown: ReadoutSet) -> None:
    gone = replace(shown, circuits={})
    assert "circuit, natural" not in footprint_drawing(gone, "class-0", EXAMPLES, "here").svg
