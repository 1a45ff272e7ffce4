"""Example images in the report: the pictures of the store, with their predictions, within the page's room."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from circuitstore.analysis.examples import read_examples
from circuitstore.analysis.overview import read_overview
from circuitstore.analysis.report import examples as section
from circuitstore.analysis.report.page import render
from circuitstore.circuits import Example, ExampleImages, SeenImage
from circuitstore.store import open_store
from circuitstore.testing.factories import make_examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ..toy_studies import HOSTILE, Answers, effect_items, fill
from .html_page import Page


def images_of(answers: Answers) -> list[ExampleImages]:
    return [make_examples(d.item, 2) for d in answers.discoveries]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, answers = tmp_path_factory.mktemp("shown"), Answers.to(effect_items(2))
    fill(folder, answers)
    with open_store(folder) as store, store.writer() as writer:
        writer.put(*images_of(answers), run="toys")
    return folder


def pictures(page: Page) -> list[np.ndarray]:
    found = [str(attributes["src"]) for tag, attributes in page.tags if tag == "img"]
    assert all(source.startswith("data:image/webp;base64,") for source in found)
    return [np.array(Image.open(io.BytesIO(base64.b64decode(source.split(",")[1])))) for source in found]


def test_attacked_images_are_shown_beside_clean_ones(folder: Path) -> None:
    with open_store(folder) as store:
        overview = read_overview(store)
    assert [images.condition.kind for images in overview.examples] == ["typographic"] * 2  # they include the clean ones
    page = Page(render(overview))
    shown = pictures(page)
    assert len(shown) == 2 * 2 * 3 and {picture.shape for picture in shown} == {(6, 5, 3)}
    for images in overview.examples:
        for example in images.examples:
            assert f"{example.file}; L∞ {example.linf:.3f}, L2 {example.l2:.2f}" in page.text
            assert f"attacked: {example.attacked.predicted} {example.attacked.probability:.0%}" in page.text
    captions = [a["alt"] for tag, a in page.tags if tag == "img"]
    assert all(caption and len(str(caption)) > 5 for caption in captions)
    assert ("a", {"href": "#examples"}) in page.tags and page.count("figcaption") == page.count("figure")


def test_images_of_a_run_are_read(folder: Path) -> None:
    with open_store(folder) as store:
        assert {images.id for images in read_examples(store, "toys")} == set(store.examples(attack="typographic")["id"])


def test_natural_images_are_shown_if_there_are_no_attacked_ones(tmp_path: Path) -> None:
    answers = Answers.to(effect_items(2, attacks=["natural"]))
    fill(tmp_path, answers)
    with open_store(tmp_path) as store:
        assert read_examples(store) == ()
        with store.writer() as writer:
            writer.put(*images_of(answers), run="toys")
        found = read_examples(store)
    assert [images.condition.kind for images in found] == ["natural"] * 2
    assert [len(e.pictures) for one in section.class_examples(found) for e in one.examples] == [1] * 4


def test_the_pictures_have_a_limit_and_every_class_comes_before_second_images(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(folder) as store:
        found = read_examples(store)
    whole = section.class_examples(found)
    assert section.left_out(found, whole) == 0
    first = sum(len(picture.source) for one in whole for picture in one.examples[0].pictures)
    monkeypatch.setattr(section, "EXAMPLES_BYTES", first)
    shown = section.class_examples(found)
    assert [len(one.examples) for one in shown] == [1, 1] and section.left_out(found, shown) == 2
    monkeypatch.setattr(section, "EXAMPLES_BYTES", 0)
    assert section.class_examples(found) == []


def test_hostile_names_are_escaped(folder: Path) -> None:
    with open_store(folder) as store:
        overview = read_overview(store)
    images = overview.examples[0]
    named = [replace(e, file=HOSTILE, clean=replace(e.clean, predicted=HOSTILE)) for e in images.examples]
    html = render(replace(overview, examples=(replace(images, examples=tuple(named)),)))
    assert "<script>alert(1)" not in html and HOSTILE in Page(html).text


def test_signs_of_hidden_gradients_are_reported(folder: Path) -> None:
    with open_store(folder) as store:
        images = read_examples(store)[0]
    rates = dict.fromkeys(("success", "one_step", "more_steps", "more_restarts", "large"), 0.25)
    checks = {"images": 4, "suspicious": ["more steps do worse"], **rates}
    (shown,) = section.class_examples([replace(images, checks=checks)])
    assert shown.checks.startswith("Success on 4 discovery images: this attack 25%")
    assert shown.checks.endswith("Signs of hidden gradients: more steps do worse.")


@given(st.integers(1, 4), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_the_difference_is_amplified_to_full_contrast(height: int, width: int, seed: int) -> None:
    clean, attacked = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    example = Example("ab", "1.png", SeenImage(clean, "a", 1.0), SeenImage(attacked, "b", 1.0))
    pixels, factor = example.amplified
    offset = attacked.astype(int) - clean
    strongest = np.abs(offset) == np.abs(offset).max()
    assert set(pixels[strongest & (offset > 0)]) <= {255} and set(pixels[strongest & (offset < 0)]) <= {0}
    assert np.array_equal(np.sign(pixels.astype(float) - 127.5), np.where(offset == 0, 1, np.sign(offset)))
    assert example.linf is None or example.linf * factor == pytest.approx(0.5)


def test_equal_images_have_a_grey_difference() -> None:
    same = SeenImage(np.full((2, 3, 3), 7, np.uint8), "a", 1.0)
    pixels, factor = Example("ab", "1.png", same, same).amplified
    assert set(pixels.ravel()) == {128} and factor == 1


def test_a_large_picture_is_reduced() -> None:
    large = SeenImage(np.zeros((300, 200, 3), np.uint8), "a", 1.0)
    view = section._view(Example("ab", "1.png", large), "attacked")
    (picture,) = view.pictures
    read = Image.open(io.BytesIO(base64.b64decode(picture.source.split(",")[1])))
    assert max(read.size) == section.SIDE
