"""A run whose images are divided into groups: items, circuits and responses per group, and what compares them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from circuitstore.errors import InputError
from circuitstore.images import ImageRef, ImageSource
from circuitstore.ingest import index, make_plan, parse_spec, preview
from circuitstore.ingest.titles import titles
from circuitstore.query import compare, run
from circuitstore.query.studies import read_studies
from circuitstore.store import Store, open_store, rebuild_store
from PIL import Image

pytestmark = pytest.mark.slow

SPEC = """
name = "groups"
model = "digits"
[images]
source = "digits"
only = ["three", "eight"]
per_class = 16
[[condition]]
kind = "natural"
[[condition]]
kind = "typographic"
[[recipe]]
method = "eap"
form = "block"
[[extract]]
edges = 30
"""


def halves(source: ImageSource, ref: ImageRef) -> str:
    return "high" if ref.hash > "8" else "low"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("groups")
    assert index(parse_spec(SPEC), location=folder, groups=halves, progress=False).circuits == 8
    whole = parse_spec(SPEC.replace('"groups"', '"whole"'))
    assert index(whole, location=folder, progress=False).circuits == 4
    return folder


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with open_store(folder) as opened:
        yield opened


def test_an_item_for_each_class_group_and_condition() -> None:
    plan = make_plan(parse_spec(SPEC), groups=halves)
    items = [planned.item for planned in plan.items]
    assert [(i.target_class.name, i.selection.group, i.condition.kind) for i in items] == [
        (cls, group, condition)
        for cls in ("three", "eight")
        for group in ("high", "low")
        for condition in ("natural", "typographic")
    ]
    assert len({i.id for i in items}) == 8
    assert all(p.sized_by is None or p.sized_by.selection.group == p.item.selection.group for p in plan.items)
    assert list(titles(items).values())[:2] == ["three · high · natural", "three · high · typographic"]
    assert items[0].text.endswith("digits 'three' in 'high', natural")
    whole = [planned.item for planned in make_plan(parse_spec(SPEC)).items]
    assert {i.selection.group for i in whole} == {""} and not {i.id for i in whole} & {i.id for i in items}


def test_circuits_and_responses_have_groups(store: Store) -> None:
    for table in (store.circuits(), store.responses(), store.items()):
        assert set(table["image_group"]) == {"high", "low", ""}
    assert store.circuits(image_group="high", counts=True)["class"].tolist() == ["three", "three", "eight", "eight"]
    source = make_plan(parse_spec(SPEC), groups=halves).source
    for _, row in store.circuits(image_group=["high", "low"]).iterrows():
        images = set(store.images(row["id"]).frame["hash"])
        assert images and {source.groups[image] for image in images} == {str(row["image_group"])}
        assert store.circuit(row["id"]).item.selection.group == row["image_group"]


def test_queries_studies_and_comparison(store: Store) -> None:
    listed = run(store, "studies").frame
    assert sorted(listed["image_group"]) == ["", "", "high", "high", "low", "low"]
    assert run(store, "faithfulness", {}).facts["parameters"]["image_group"] == ""
    ids = run(store, "faithfulness", {"image_group": "high"}).frame["id"]
    assert sorted(ids) == sorted(store.circuits(image_group="high")["id"])
    assert [study.common["image_group"] for study in read_studies(store)] == ["", "high", "low"]
    table = compare(store, by="image_group", condition="natural")
    assert {frozenset(pair) for pair in table.frame[["a", "b"]].to_numpy().tolist()} == {
        frozenset(pair) for pair in (("", "high"), ("", "low"), ("high", "low"))
    }
    assert "the circuits have different images" not in table.notes
    by_class = compare(store, by="class", image_group="high", condition="natural").frame
    assert by_class[["a", "b"]].to_numpy().tolist() == [["three", "eight"]]


def test_a_second_run_computes_nothing_and_a_rebuilt_store_has_groups(folder: Path, store: Store) -> None:
    again = index(parse_spec(SPEC), location=folder, groups=halves, progress=False)
    assert (again.done, again.skipped) == (0, 4 * 2)
    before = store.circuits()[["id", "image_group"]]
    rebuild_store(folder)
    with open_store(folder) as rebuilt:
        assert rebuilt.circuits()[["id", "image_group"]].equals(before)
        assert run(rebuilt, "circuits-of-class", {"class": "three"}).frame["image_group"].nunique() == 3


def test_survey_and_sheet_show_groups() -> None:
    seen = preview(parse_spec(SPEC), groups=halves)
    assert seen.survey.frame["image_group"].tolist() == ["high", "high", "low", "low"] * 2
    samples = list(seen.samples(seen.classes[0]))
    assert [s.item.selection.group for s in samples] == ["high", "high", "low", "low"]
    assert "image_group" not in preview(parse_spec(SPEC)).survey.frame


def manifest(tmp_path: Path, groups: dict[str, list[str]]) -> str:
    """Write images and their table; return a spec with this source."""
    rows = ["path,class,place"]
    for digit, places in groups.items():
        for i, place in enumerate(places):
            name = f"{digit}-{i}.png"
            Image.new("RGB", (32, 32), (int(digit) * 20, i * 10, 90)).save(tmp_path / name)
            rows.append(f"{name},{digit},{place}")
    (tmp_path / "images.csv").write_text("\n".join(rows))
    source = 'source = { kind = "manifest", path = "images.csv" }\nchoose = "all"\ngroups = "place"'
    return SPEC.replace('source = "digits"', source).replace('only = ["three", "eight"]', "")


def test_a_column_of_a_manifest(tmp_path: Path) -> None:
    text = manifest(tmp_path, {"3": ["land"] * 8 + ["sea"] * 5 + ["sky", ""], "8": ["sea"] * 4})
    plan = make_plan(parse_spec(text, folder=tmp_path))
    counts = {(p.item.target_class.name, p.item.selection.group): p.item.selection.n_candidates for p in plan.items}
    assert counts == {("3", "land"): 8, ("3", "sea"): 5, ("8", "sea"): 4}
    assert "class '3': left out, because they have one image: groups sky" in plan.notices
    assert "class '3': 1 images are in no group and only serve as a contrast to others" in plan.notices


def test_a_file_of_groups(tmp_path: Path) -> None:
    text = manifest(tmp_path, {"3": [""] * 6, "8": [""] * 6})
    rows = [f"{digit}-{i}.png,{'ab'[i % 2]}" for digit in "38" for i in range(6)]
    (tmp_path / "groups.csv").write_text("\n".join(["path,group", *rows]))
    text = text.replace('groups = "place"', 'groups = { path = "groups.csv" }')
    plan = make_plan(parse_spec(text, folder=tmp_path))
    assert [p.item.selection.group for p in plan.items] == ["a", "a", "b", "b"] * 2


@pytest.mark.parametrize(
    ("places", "groups", "message"),
    [
        (
            ["land", "sea"],
            '"place"',
            "images.groups: class '3': left out, because they have one image: groups land, sea",
        ),
        (["", ""], '"place"', "images.groups: images: column 'place': no image of images has a group"),
        (["a", "a"], '"places"', "images.groups: images: there is no column 'places'; its columns are: place"),
        (["a", "a"], '{ path = "gone.csv" }', "images.groups: .*gone.csv: cannot be read"),
        (["a", "a"], "{ file = 1 }", "images.groups.file: unknown field.*valid: path"),
    ],
)
def test_bad_groups(tmp_path: Path, places: list[str], groups: str, message: str) -> None:
    text = manifest(tmp_path, {"3": places, "8": places}).replace('groups = "place"', f"groups = {groups}")
    with pytest.raises(InputError, match=message):
        make_plan(parse_spec(text, folder=tmp_path))
