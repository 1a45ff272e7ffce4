"""Maps and footprints drawn on images: SVG that can be parsed, with the image and the values in it."""

from __future__ import annotations

import base64
import io
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from circuitstore import footprint, patch_attribution, score_edges
from circuitstore.analysis import draw_footprint, draw_map
from circuitstore.errors import InputError
from circuitstore.evaluation import ImagePairs
from PIL import Image

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def seen(toy_vit):
    """A model, and pairs with 8-bit pixels, of which the third patch of the corrupted images differs."""
    model = toy_vit(img_size=(8, 12), depth=2)
    views = np.random.default_rng(0).integers(0, 256, (3, 8, 12, 3), dtype=np.uint8)
    clean = model.preprocess.normalise(views)
    corrupted = clean.clone()
    corrupted[:, :, :4, 8:] = 0
    return model, ImagePairs.of(model, clean, corrupted, [0, 1, 2]), views


def pictures(root: ET.Element) -> list[np.ndarray]:
    """Return the embedded pictures."""
    sources = [element.get("href", "").split("base64,")[1] for element in root.iter(f"{SVG}image")]
    return [np.array(Image.open(io.BytesIO(base64.b64decode(source)))) for source in sources]


def test_a_map_is_drawn_on_its_image(seen):
    model, pairs, views = seen
    found = patch_attribution(model, pairs, "occlusion", baseline="corrupted")
    image, overlay = pictures(ET.fromstring(draw_map(model, pairs, found, image=1).svg))
    assert np.array_equal(image, views[1]) and overlay.shape == (2, 3, 4)
    opaque = overlay[..., 3] > 0
    assert opaque.sum() == 1 and opaque[0, 2] and overlay[0, 2, 3] == 204
    assert (overlay[0, 2, 2] > overlay[0, 2, 0]) == (found.values[1, 0, 2] > 0)  # blue or orange
    pixels = patch_attribution(model, pairs, "saliency", by="pixel")
    assert pictures(ET.fromstring(draw_map(model, pairs, pixels).svg))[1].shape == (8, 12, 4)


def test_a_footprint_is_drawn_above_its_circuit(seen):
    model, pairs, views = seen
    circuit = score_edges(model, pairs, "eap", form="block").top(8)
    found = footprint(model, pairs, circuit, steps=1, rule="right")
    root = ET.fromstring(draw_footprint(model, pairs, circuit, found, image=2).svg)
    drawn = pictures(root)
    layers = {edge.partition("->")[2].strip("am") for edge in circuit.edges}
    assert len(drawn) == 2 * len(layers) and all(np.array_equal(image, views[2]) for image in drawn[::2])
    titles = [title.text or "" for title in root.iter(f"{SVG}title")]
    for name, score in zip(circuit.edges, found.values[2].sum(axis=1), strict=True):
        assert any(title.startswith(f"{name} {score:+.4g},") for title in titles)


def test_what_does_not_fit_raises(seen):
    model, pairs, _ = seen
    found = patch_attribution(model, pairs, "random-map")
    with pytest.raises(InputError, match=r"expected a map .* got patch_row, patch_column"):
        draw_map(model, pairs, found.mean())
    with pytest.raises(InputError, match="axis 'image'"):
        draw_map(model, pairs, found, image=3)
    circuit = score_edges(model, pairs, "eap", form="block").top(8)
    with pytest.raises(InputError, match="expected the footprint of the"):
        draw_footprint(model, pairs, circuit, found)
    parts = footprint(model, pairs, circuit)
    with pytest.raises(InputError, match=r"axis 'image'.*3|expected 0 to 2, got 3"):
        draw_footprint(model, pairs, circuit, parts, image=3)


def test_views_are_the_inverse_of_normalise(seen):
    model, pairs, views = seen
    assert np.array_equal(model.preprocess.views(pairs.clean), views)
    assert np.array_equal(model.preprocess.views(torch.full((1, 3, 8, 12), 9.0)), np.full((1, 8, 12, 3), 255, np.uint8))
