"""Read-outs in the report: where it is decided, and where in the image, with the numbers of the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from circuitstore.analysis.image_maps import map_numbers, maps_of_class
from circuitstore.analysis.overview import read_overview
from circuitstore.analysis.readout_numbers import over_components
from circuitstore.analysis.readouts import read_readouts
from circuitstore.analysis.report import decided, image_maps
from circuitstore.analysis.report.page import render
from circuitstore.circuits import Axis, ReadoutRecord
from circuitstore.circuits.image_maps import map_of
from circuitstore.store import Store, create_store

from .html_page import Page
from .readout_records import CLASSES, EXAMPLES, GRID, TOKENS, records

POINTS = Axis("point", ("resid_pre.0", "resid_mid.0", "resid_post.0"))
LAYERS, HEADS = Axis("layer", (0, 1)), Axis("head", (0, 1))
COMPONENTS = Axis("component", ("input", "a0.h0", "m0", "bias"))

MADE = {
    "lens": records("logit-lens", POINTS, CLASSES),
    "direct": records("logit-attribution", COMPONENTS, CLASSES),
    "patching": records("stream-patching", POINTS, TOKENS),
    "footprint": records("footprint", LAYERS, TOKENS),
    "occlusion": records("occlusion", *GRID, per_image=True),
    "patterns": records("attention-patterns", LAYERS, HEADS, TOKENS),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with create_store(tmp_path_factory.mktemp("looked") / "data") as store:
        with store.writer() as writer:
            every = [record for made in MADE.values() for record in made]
            writer.start_run("run", "", [record.item for record in every])
            writer.put(*every, *EXAMPLES, run="run")
        yield store


@pytest.fixture(scope="module")
def page(store: Store) -> Page:
    return Page(render(read_overview(store)))


def of(made: list[ReadoutRecord], name: str, kind: str) -> ReadoutRecord:
    """Return the record of a class under a kind of condition."""
    return next(r for r in made if (r.item.target_class.name, r.item.condition.kind) == (name, kind))


def test_read_outs_are_grouped_by_their_question_natural_first(store: Store) -> None:
    found = {shown.kind: shown for shown in read_readouts(store)}
    assert set(found) == {made[0].item.recipe.method.kind for made in MADE.values()}
    for made in MADE.values():
        shown = found[made[0].item.recipe.method.kind]
        assert shown.title == made[0].item.recipe.method.text
        assert list(shown.by_class) == ["class-0", "class-1"]
        assert [list(of_class) for of_class in shown.by_class.values()] == [["natural", "typographic"]] * 2
        assert {record.id for record in shown.records} == {record.id for record in made}


def test_numbers_of_single_images_are_read_for_the_wanted_images_only(store: Store) -> None:
    first = EXAMPLES[0].examples[0].hash
    found = {shown.kind: shown for shown in read_readouts(store, images={first})}["occlusion"]
    kept = found.by_class["class-0"]["natural"].per_image
    assert kept is not None and kept.axis("image").labels == (first,)
    whole = of(MADE["occlusion"], "class-0", "natural").per_image
    assert whole is not None and np.array_equal(kept.values[0], whole.select(image=first).values)
    assert found.by_class["class-1"]["natural"].per_image is None


def test_a_footprint_is_the_sum_over_layers_on_the_patches() -> None:
    for record in MADE["footprint"]:
        found = map_of(record, record.mean)
        assert found is not None
        assert found.values == pytest.approx(record.mean.values.sum(axis=0)[1:].reshape(2, 3), rel=1e-5)
        assert map_of(replace(record, provenance={}), record.mean) is None  # the grid of patches is not known


def test_direct_logits_by_source_token_are_those_of_the_true_class_over_all_heads() -> None:
    for record in records("logit-attribution", LAYERS, HEADS, TOKENS, CLASSES):
        found, true = map_of(record, record.mean), record.item.target_class.class_index
        assert found is not None and over_components(record) is None
        expected = record.mean.values.sum(axis=(0, 1))[1:, true].reshape(2, 3)
        assert found.values == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", MADE)
def test_a_read_out_is_shown_once(kind: str) -> None:
    record = MADE[kind][0]
    shown = over_components(record) is not None, map_of(record, record.mean) is not None
    assert shown == (kind in ("lens", "direct", "patching"), kind in ("footprint", "occlusion"))


def test_maps_are_beside_the_images_of_the_same_hash_as_the_model_sees_them() -> None:
    made = {kind: of(MADE["occlusion"], "class-0", kind) for kind in ("natural", "typographic")}
    clean, attacked = maps_of_class(made, EXAMPLES[1:])  # attacked example images include the clean ones
    for example in EXAMPLES[1].examples:
        assert np.array_equal(clean.images[example.hash], example.clean.pixels)
        assert example.attacked and np.array_equal(attacked.images[example.hash], example.attacked.pixels)
        for found, record in ((clean, made["natural"]), (attacked, made["typographic"])):
            assert record.per_image is not None
            assert np.array_equal(found.maps[example.hash], record.per_image.select(image=example.hash).values)
    assert "third" not in clean.maps
    assert [one.maps for one in maps_of_class({"natural": MADE["footprint"][0]}, EXAMPLES)] == [{}]
    assert [one.images for one in maps_of_class(made, EXAMPLES[2:])] == [{}, {}]


def test_a_page_of_read_outs_names_the_model_and_the_versions_and_explains_its_own_terms(store: Store) -> None:
    overview, item = read_overview(store), MADE["lens"][0].item
    assert overview.models == {item.model.id: f"{item.model.name}: 3 layers of 2 heads, width 64, 10 classes"}
    assert overview.provenance == {"device": "cpu"}
    text = Page(render(overview)).text
    assert all(term in text for term in (overview.models[item.model.id], "Token.", "Point of the residual stream."))
    assert not any(term in text for term in ("Edge.", "Faithfulness.", "Neuron."))


def test_the_sections_have_charts_drawings_tables_and_downloads(page: Page) -> None:
    for stated in ("Where it is decided", "Where in the image", "It is no effect", "Not drawn, because they have more"):
        assert stated in page.text
    assert page.count("figcaption") == page.count("figure")
    buttons = [a["data-svg"] for tag, a in page.tags if tag == "button"]
    assert len(buttons) == len(set(buttons)) == page.count("figure") - 4  # but for the example images
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert any("plotly.js v" in script for script in page.scripts)


def test_the_table_of_a_lens_has_the_stored_logits(page: Page) -> None:
    tables = [page.csv(name.removesuffix(".csv")) for name in page.files if name.startswith("decided-table")]
    lens = next(table for table in tables if "rival" in table)
    for record in MADE["lens"]:
        name, condition = record.item.target_class.name, record.item.condition.kind
        rows = lens.loc[(lens["class"] == name) & (lens["condition"] == condition)]
        true = record.item.target_class.class_index
        assert rows["point"].tolist() == list(POINTS.labels)
        assert rows["logit"].to_numpy() == pytest.approx(record.mean.values[:, true], rel=1e-6)
        assert rows["rival_logit"].to_numpy() == pytest.approx(record.mean.values[:, 1 - true], rel=1e-6)


def test_heat_maps_of_a_class_have_one_scale_and_the_stored_effects(page: Page) -> None:
    maps = [f["data"][0] for f in page.figures if f["data"][0]["type"] == "heatmap"]
    assert len(maps) == 4
    for heat, record in zip(maps, MADE["patching"], strict=True):
        assert np.array(heat["z"], float) == pytest.approx(record.mean.values, abs=6e-5)
        both = [r.mean.values for r in MADE["patching"] if r.item.target_class == record.item.target_class]
        assert heat["zmax"] == -heat["zmin"] == pytest.approx(np.abs(both).max())


def test_a_drawing_of_maps_can_be_downloaded_as_numbers(page: Page, store: Store) -> None:
    drawings = [
        page.csv(name.removesuffix(".csv")) for name in page.files if name.startswith("where-") and "table" not in name
    ]
    found = maps_of_class({k: of(MADE["occlusion"], "class-0", k) for k in ("natural", "typographic")}, EXAMPLES)
    expected = map_numbers(found)
    assert any(len(table) == len(expected) and np.allclose(table["value"], expected["value"]) for table in drawings)
    assert set(expected["image"]) == {"mean", *(example.hash[:12] for example in EXAMPLES[0].examples)}


def test_what_there_is_no_room_for_is_counted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    overview = read_overview(store)
    monkeypatch.setattr(decided, "DECIDED_BYTES", 0)
    monkeypatch.setattr(image_maps, "IMAGES_BYTES", 0)
    page = Page(render(overview))
    assert page.text.count("2 more classes are not drawn") == 5 and not page.figures


def test_a_store_without_read_outs_has_no_such_sections(toy_store: Store) -> None:
    html = render(read_overview(toy_store))
    for id in ("neurons", "decided", "where"):
        assert f'id="{id}"' not in html and f'href="#{id}"' not in html


def test_names_are_escaped(store: Store) -> None:
    overview = read_overview(store)
    hostile = [replace(shown, title="</script><script>alert(1)</script>") for shown in overview.readouts]
    html = render(replace(overview, readouts=tuple(hostile)))
    assert "<script>alert(1)" not in html
