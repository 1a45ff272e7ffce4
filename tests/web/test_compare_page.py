"""The comparison page in a browser."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from circuitstore.query import similarity_matrix
from circuitstore.store import open_store
from PIL import Image
from playwright.sync_api import Browser, expect

from .browsing import visit
from .explored import CLASSES, HOSTILE


def test_a_cell_is_reached_by_keys_and_opens_the_difference(browser: Browser, explorer: str, explored: Path) -> None:
    with open_store(explored) as store:
        matrix = similarity_matrix(store, condition="natural").to_pandas()
        ids = store.circuits(condition="natural").set_index("class")["id"]
    with visit(browser, explorer) as seen:
        page = seen.open("/compare?order=stored")
        seen.check()
        page.locator(".heatmap").focus()
        for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowRight"):
            page.keyboard.press(key)
        expected = f"{CLASSES[1]} and {CLASSES[2]}: jaccard {matrix.loc[CLASSES[1], CLASSES[2]]:.3f}; noise floor "
        expect(page.locator(".heatmap [aria-live]")).to_contain_text(expected)
        with page.expect_navigation(url=f"{explorer}/diff?a={ids[CLASSES[1]]}&b={ids[CLASSES[2]]}"):
            page.keyboard.press("Enter")


def test_the_choice_of_circuits_is_in_the_url_and_refusals_say_why(browser: Browser, explorer: str) -> None:
    with visit(browser, explorer) as seen:
        page = seen.open("/compare")
        page.get_by_label("compare by").select_option("condition")
        page.get_by_role("combobox", name="class", exact=True).select_option(HOSTILE)
        page.get_by_label("measure").select_option("spearman")
        page.wait_for_load_state("networkidle")
        expect(page.locator("table")).to_contain_text("typographic")
        seen.check()
        again = seen.open(page.url.removeprefix(explorer))
        expect(again.get_by_role("combobox", name="class", exact=True)).to_have_value(HOSTILE)
        expect(again.get_by_label("measure")).to_have_value("spearman")
        again.get_by_label("compare by").select_option("method")
        expect(again.get_by_role("alert")).to_contain_text("no two of the 8 circuits differ in method only")
        expect(again.locator(".heatmap")).to_be_hidden()
        assert [problem for problem in seen.told() if "400 (Bad Request)" not in problem] == []


def test_the_view_is_downloaded_as_picture_and_as_rows(browser: Browser, explorer: str) -> None:
    with visit(browser, explorer, width=380, dark=True) as seen:
        page = seen.open("/compare")
        seen.check()
        with page.expect_download() as picture:
            page.get_by_role("button", name="PNG").click()
        assert picture.value.suggested_filename == "jaccard-by-class.png"
        assert len(Image.open(picture.value.path()).convert("RGB").getcolors(100_000)) > 10
        with page.expect_download() as rows:
            page.get_by_role("link", name="CSV").click()
        read = list(csv.DictReader(io.StringIO(Path(rows.value.path()).read_text(encoding="utf-8"))))
        assert len(read) == 6 and {row["a"] for row in read} | {row["b"] for row in read} == set(CLASSES)
