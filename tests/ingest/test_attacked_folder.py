"""A folder of attacked images as a condition: planned, indexed, and recognised after it was moved."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from circuitstore.errors import InputError
from circuitstore.ingest import index, load_spec, make_plan, parse_spec
from circuitstore.models import ViT
from circuitstore.query import compare
from circuitstore.results import Table
from circuitstore.store import open_store
from PIL import Image

SPEC = """
name = "attacks"
[images]
source = { folder = "photos/" }
per_class = 8
choose = "all"
[[condition]]
kind = "natural"
[[condition]]
kind = "folder"
path = "attacked/"
name = "my-pgd"
target = "tench"
[[recipe]]
method = "eap"
form = "block"
[[recipe]]
method = "eap"
form = "block"
corruption = "unattacked-twin"
metric = "logit-diff"
conditions = ["my-pgd"]
[[extract]]
edges = 4
"""


@pytest.fixture
def attacked(photos: Path) -> Path:
    """A folder next to the photos, with every photo turned upside down."""
    root = photos.parent / "attacked"
    for path in sorted(photos.rglob("*.*")):
        twin = root / path.parent.name / f"{path.stem}.png"
        twin.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).convert("RGB").rotate(180).save(twin)
    (photos.parent / "spec.toml").write_text(SPEC)
    return root


@pytest.mark.slow
def test_it_is_a_condition_like_others(attacked: Path, imagenet_model: ViT, tmp_path: Path) -> None:
    spec = load_spec(attacked.parent / "spec.toml")
    done = index(spec, model=imagenet_model, location=tmp_path / "store", progress=False)
    assert (done.done, done.failed) == (9, {}) and done.survey is not None
    rows = done.survey.frame.set_index("condition").loc["folder(name=my-pgd, target=tench)"]
    assert set(rows["target"]) == {"tench"} and rows["word"].isna().all()
    with open_store(tmp_path / "store") as store:
        assert store.verify().to_pandas().empty
        mechanism = store.circuits(corruption="unattacked-twin")
        assert set(mechanism["target"]) == {"tench"} and len(mechanism) == 3
        notes = compare(store, "condition", flagged=True, metric="logit", **{"class": "207"}).notes
        assert not [note for note in notes if "different images" in note]
        images = store.images(mechanism["id"][0]).to_pandas()
        assert images["attacked_file"].tolist() == [f"{Path(file).with_suffix('.png')}" for file in images["file"]]
        assert (images["attacked_hash"] != images["hash"]).all()
        assert store.images(store.circuits(attack="natural")["id"][0]).to_pandas()["attacked_file"].isna().all()


def test_only_the_content_of_the_folder_matters_not_its_place(attacked: Path, imagenet_model: ViT) -> None:
    def ids(path: str) -> list[str]:
        (attacked.parent / "spec.toml").write_text(SPEC.replace("attacked/", path))
        return [p.item.id for p in make_plan(load_spec(attacked.parent / "spec.toml"), imagenet_model).items]

    before = ids("attacked/")
    shutil.copytree(attacked, attacked.parent / "elsewhere" / "pgd")
    assert ids("elsewhere/pgd") == before
    path = attacked / "207" / "4.png"
    Image.open(path).rotate(180).save(path)
    assert sum(a != b for a, b in zip(ids("attacked/"), before, strict=True)) == 2  # one class, in both studies


def test_images_without_a_twin_are_left_out_under_all_conditions(attacked: Path, imagenet_model: ViT) -> None:
    (attacked / "207" / "4.png").unlink()
    shutil.rmtree(attacked / "Tiger cat")
    plan = make_plan(load_spec(attacked.parent / "spec.toml"), imagenet_model)
    assert {p.item.target_class.name for p in plan.items} == {"n02123045", "207"}
    counts = {(p.item.target_class.name, p.item.selection.n_candidates) for p in plan.items}
    assert counts == {("n02123045", 10), ("207", 9)}
    assert (
        f"no attacked image in {attacked} (my-pgd) of: Tiger cat; these classes only serve as a contrast"
        in plan.notices[0]
    )
    assert f"skipped 207/4.jpg: no attacked twin of the same name in {attacked}" in plan.source.notices
    against = {name for p in plan.items for name in p.item.contrast.against}
    assert "Tiger cat" in against


def test_only_successful_images(attacked: Path, imagenet_model: ViT, tmp_path: Path) -> None:
    """No image is classified as the target of the attack, and the message says so."""
    text = SPEC.replace('choose = "all"', 'choose = "successful"').replace("photos/", str(attacked.parent / "photos"))
    spec = parse_spec(text.replace("attacked/", str(attacked)))
    failed = index(spec, model=imagenet_model, location=tmp_path / "store", progress=False).failed
    assert all("no discovery images qualify" in error for error in failed.values()) and failed


@pytest.mark.slow
def test_a_twin_that_cannot_be_decoded_fails_only_its_class(
    attacked: Path, imagenet_model: ViT, tmp_path: Path
) -> None:
    """The survey reports it before the run, and the items that need the image fail."""
    path = attacked / "207" / "4.png"
    path.write_bytes(path.read_bytes()[:-400])
    spec = load_spec(attacked.parent / "spec.toml")
    surveys: list[Table] = []
    done = index(spec, model=imagenet_model, location=tmp_path, progress=False, on_survey=surveys.append)
    assert (done.done, len(done.failed)) == (7, 2)
    assert all("207/4.png: cannot be decoded" in error for error in done.failed.values())
    (note,) = surveys[0].notes
    assert note.startswith("207, folder(name=my-pgd, target=tench): ") and "207/4.png: cannot be decoded" in note
    assert len(surveys[0].frame) == 5


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('path = "attacked/"\n', "", "condition[1]: expected path, a folder of attacked images, with kind"),
        ('kind = "natural"', 'kind = "natural"\npath = "attacked/"', "condition[0]: expected path"),
        ('name = "my-pgd"\n', "", "condition[1]: condition 'folder': name is missing"),
        ('target = "tench"', 'target = "tensh"', "target: unknown class 'tensh'"),
        ('target = "tench"', 'taget = "tench"', "condition 'folder': unknown parameter 'taget'; did you mean 'target'"),
        ('path = "attacked/"', 'path = "nowhere/"', "images.source: "),
        (
            'path = "attacked/"',
            'path = "empty/"',
            "has an attacked twin here; expected files with the same class folder",
        ),
        ('source = { folder = "photos/" }', 'source = "digits"', "digits are not files"),
        ('conditions = ["my-pgd"]', 'conditions = ["my-pdg"]', "unknown condition 'my-pdg'; did you mean 'my-pgd'"),
        (
            "[[recipe]]",
            '[[condition]]\nkind = "folder"\npath = "photos/"\nname = "my-pgd"\n[[recipe]]',
            "condition[2].name: 'my-pgd' is already the name of",
        ),
        ("per_class = 8", 'per_class = 8\nonly = ["207", "gone"]', "unknown class 'gone'"),
    ],
)
def test_invalid_folders_raise_errors(attacked: Path, imagenet_model: ViT, old: str, new: str, said: str) -> None:
    (attacked.parent / "empty").mkdir()
    path = attacked.parent / "spec.toml"
    path.write_text(SPEC.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        make_plan(load_spec(path), imagenet_model)
    assert str(path) in str(caught.value) and said in str(caught.value), str(caught.value)


def test_a_class_in_only_needs_attacked_images(attacked: Path, imagenet_model: ViT) -> None:
    shutil.rmtree(attacked / "207")
    path = attacked.parent / "spec.toml"
    path.write_text(SPEC.replace("per_class = 8", 'per_class = 8\nonly = ["207", "Tiger cat"]'))
    with pytest.raises(InputError, match=r"images: no image of 207 has an attacked twin in .*attacked \(my-pgd\)"):
        make_plan(load_spec(path), imagenet_model)
