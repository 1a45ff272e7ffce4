"""Indexing of real input: every item once, and a killed run is resumed with the same result."""

import random
import shutil
import signal
import warnings
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from circuitstore.circuits import Discovery
from circuitstore.ingest import Spec, dry_run, index, load_spec, make_plan, parse_spec
from circuitstore.ingest.choice import Choice
from circuitstore.ingest.work import StoredParts, Workbench
from circuitstore.store import Store, open_store, rebuild_store
from PIL import Image

from ..forked import Forked
from .conftest import SMALL


def content(store: Store) -> pd.DataFrame:
    """All circuits without their time of creation; the checksum covers edges, values and evaluation."""
    circuits = store.circuits().drop(columns="created_ms").sort_values("id").reset_index(drop=True)
    circuits["discovery_sha256"] = [store.discovery(i).sha256 for i in circuits["discovery_id"]]
    return circuits


@pytest.fixture(scope="module")
def undisturbed(small: Spec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    result = index(small, location=folder, progress=False)
    assert result.failed == {}
    assert (result.done, result.skipped, result.circuits) == (6, 0, 12)
    return folder


def test_the_store_has_what_was_requested_and_is_sound(undisturbed: Path, small: Spec) -> None:
    with open_store(undisturbed) as store:
        circuits = store.circuits()
        assert set(circuits["discovery_id"]) == {p.item.id for p in make_plan(small).items}
        assert len(circuits) == 12
        assert len(store.verify()) == 0
        in_graph = store.query("MATCH (c:Circuit) RETURN c.id AS id, c.n_edges AS n").to_pandas()
        assert dict(zip(in_graph["id"], in_graph["n"], strict=True)) == dict(
            zip(circuits["id"], circuits["n_edges"], strict=True)
        )


def test_a_repeated_run_computes_nothing(undisturbed: Path, small: Spec) -> None:
    def files() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in (undisturbed / "archive").rglob("*.parquet")}

    before = files()
    result = index(small, location=undisturbed, progress=False)
    assert (result.done, result.skipped, result.circuits) == (0, 6, 0)
    assert files() == before


def test_the_effect_study_reuses_the_size_of_natural(undisturbed: Path) -> None:
    with open_store(undisturbed) as store:
        circuits = store.circuits()
    effect = circuits[circuits["extraction"] == "retention(size_of=natural, target=0.8)"]
    assert set(effect["attack"]) == {"natural", "typographic"}
    assert (effect.groupby("class")["size_requested"].nunique() == 1).all()


def test_warnings_of_other_libraries_are_passed_on(small: Spec) -> None:
    plan = make_plan(small)
    bench, planned = Workbench(plan, Choice(plan)), replace(plan.items[0], extractions=())
    list(bench.answer(planned, StoredParts()))  # images are chosen once, outside of what is watched
    plan.model.module.head.register_forward_hook(lambda *_: warnings.warn("a number may be wrong", stacklevel=1))
    with pytest.warns(UserWarning, match="a number may be wrong"):
        (found,) = bench.answer(planned, StoredParts())
    assert isinstance(found, Discovery)
    assert "a number may be wrong" not in found.provenance["warnings"]


def test_report_images_are_used_for_nothing_else(undisturbed: Path) -> None:
    with open_store(undisturbed) as store:
        for discovery_id in store.circuits()["discovery_id"].unique():
            images = store.images(discovery_id).to_pandas()
            assert images["hash"].nunique() == len(images) == 12
            found = images[images["split"] == "discovery"]["hash"]
            assert tuple(found) == store.discovery(discovery_id).images


def test_a_changed_spec_adds_what_is_new(undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    more = parse_spec(SMALL + '[[extract]]\ntop = 0.05\n[[extract]]\nbisection = 0.7\nof = "faithfulness"\n')
    result = index(more, location=tmp_path, progress=False)
    assert (result.done, result.skipped, result.circuits) == (6, 0, 12)
    with open_store(tmp_path) as store, open_store(undisturbed) as first:
        circuits = store.circuits()
        assert len(circuits) == 24
        sized = circuits[
            circuits["extraction"] == "bisection(buffer=0.1, of=faithfulness, size_of=natural, target=0.7)"
        ]
        assert set(sized["attack"]) == {"natural", "typographic"}
        assert (sized.groupby("class")["size_requested"].nunique() == 1).all()
        same = content(store).merge(content(first), on=["id", "sha256", "discovery_sha256"])
        assert len(same) == 12


def test_residuals_are_one_notice_and_auto_leaves_none(tmp_path: Path) -> None:
    def ask(steps: str, name: str) -> tuple[list[str], list[dict]]:
        spec = parse_spec(SMALL.replace("steps = 2", steps).replace("retention = 0.8", "edges = 20"))
        notices = [n for n in index(spec, location=tmp_path / name, progress=False).notices if "residual" in n]
        with open_store(tmp_path / name) as store:
            found = [store.discovery(i) for i in store.items(state="done")["id"]]
        return notices, [{"scores": f.scores, **f.trace} for f in found if f.item.recipe.method.kind == "eap-ig"]

    (notice,), coarse = ask('steps = 1\nrule = "left"', "coarse")
    over = [f["scores"] for f in coarse if f["scores"].residual and f["scores"].residual > 0.05]
    worst = max(over, key=lambda scores: scores.residual)
    assert notice.startswith(f"{len(over)} of 6 items have a residual above 5%")
    assert f" {worst.residual:.0%} ({worst.residual_absolute:.2g})" in notice and 'steps = "auto"' in notice
    notices, fine = ask('steps = "auto"', "fine")
    assert notices == []
    for found in fine:
        assert found["steps"] == found["tried"][-1]["steps"] and (found["scores"].residual or 0) <= 0.05
        assert found["tried"][-1]["residual_absolute"] == found["scores"].residual_absolute


def test_a_dry_run_counts_and_writes_nothing(undisturbed: Path, tmp_path: Path, small: Spec) -> None:
    table = dry_run(small, location=tmp_path / "none").to_pandas()
    assert not (tmp_path / "none").exists()
    assert table["items"].sum() == 6
    assert table["done"].sum() == 0
    assert (table[["forwards", "backwards", "megabytes"]] > 0).all().all()  # pyright: ignore[reportAttributeAccessIssue]
    assert dry_run(small, location=undisturbed).to_pandas()["done"].sum() == 6


def files(store: Path) -> int:
    return len(list((store / "archive").rglob("*.parquet")))


def test_a_run_that_is_killed_repeatedly_gives_the_same_store(undisturbed: Path, tmp_path: Path) -> None:
    """Kill the run at random instants, each after a few more of the 18 files were written."""
    spec, store, log = tmp_path / "small.toml", tmp_path / "store", tmp_path / "log"
    spec.write_text(SMALL)
    arguments = ["index", str(spec), "--no-progress", "--store", str(store)]
    dice = random.Random(0)
    with closing(Forked(log)) as forked:
        for wanted in (1, 7, 14):
            after = dice.random() * 0.2
            status = forked.run(arguments, after, once=lambda wanted=wanted: files(store) >= wanted)
            assert status == -signal.SIGKILL, f"not killed while it was at work: {log.read_text()}"
        assert files(store) < 18
        assert forked.run(arguments) == 0, log.read_text()
    with open_store(store) as killed, open_store(undisturbed) as whole:
        pd.testing.assert_frame_equal(content(killed), content(whole))
        assert len(killed.verify()) == 0


def test_a_lost_answer_is_noticed_by_rebuild_and_computed_again(undisturbed: Path, tmp_path: Path, small: Spec) -> None:
    store = tmp_path / "store"
    shutil.copytree(undisturbed, store)
    with open_store(store) as opened:
        lost = opened.circuits()["discovery_id"][0]
    next((store / "archive").rglob(f"{lost}.parquet")).unlink()
    rebuild_store(store)
    assert dry_run(small, location=store).to_pandas()["done"].sum() == 5
    result = index(small, location=store, progress=False)
    assert (result.done, result.skipped, result.circuits) == (1, 5, 0)
    with open_store(store) as mended, open_store(undisturbed) as whole:
        pd.testing.assert_frame_equal(content(mended), content(whole))


def test_circuits_are_extracted_from_stored_scores(tmp_path: Path) -> None:
    """Scores of a float64 model are stored in float32, and a circuit extracted later is the same."""
    double = SMALL.replace("steps = 2", 'steps = 2\ndtype = "float64"').replace('["three", "seven"]', '["three"]')
    less = double.replace("[[extract]]\nedges = 30\n", "")
    assert less != double
    index(parse_spec(double), location=tmp_path / "at once", progress=False)
    index(parse_spec(less), location=tmp_path / "later", progress=False)
    index(parse_spec(double), location=tmp_path / "later", progress=False)
    with open_store(tmp_path / "at once") as first, open_store(tmp_path / "later") as second:
        pd.testing.assert_frame_equal(content(first), content(second))


def photos(folder: Path, classes: list[str], count: int) -> None:
    """Noise with a coloured disc, as JPEG and PNG in turn."""
    rng = np.random.default_rng(0)
    for c, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 255, (60 + 5 * i, 80, 3), dtype=np.uint8)
            pixels[10:40, 20:50, c % 3] = 255
            Image.fromarray(pixels).save(folder / name / f"{i}.{('jpg', 'png')[i % 2]}")


FOLDER = """
name = "photos"
model = { timm = "test_vit", seed = 0 }
[images]
source = { folder = "photos" }
per_class = 8
choose = "all"
[[condition]]
kind = "natural"
[[condition]]
kind = "typographic"
text = "dog"
[[recipe]]
method = "eap"
form = "attention"
[[extract]]
edges = 10
"""


def test_a_folder_of_images_with_any_timm_model(tmp_path: Path) -> None:
    photos(tmp_path / "photos", ["tabby", "goldfish", "n02504458"], 16)
    (tmp_path / "photos" / "tabby" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    (tmp_path / "spec.toml").write_text(FOLDER)
    result = index(load_spec(tmp_path / "spec.toml"), location=tmp_path / "store", progress=False)
    assert (result.done, result.failed) == (6, {})
    assert any("broken.jpg" in notice for notice in result.notices)
    with open_store(tmp_path / "store") as store:
        assert dict(zip(store.circuits()["class"], store.circuits()["class_index"], strict=True)) == {
            "tabby": 281,
            "goldfish": 1,
            "n02504458": 386,
        }
        assert len(store.verify()) == 0


def test_assumptions_about_a_model_are_notices(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """One notice, also if the model is loaded in several floating-point types, and no warning."""
    photos(tmp_path / "photos", ["tabby", "goldfish", "n02504458"], 8)
    both = FOLDER.replace(", seed = 0", "") + '[[recipe]]\nmethod = "eap"\nform = "block"\ndtype = "float64"\n'
    (tmp_path / "spec.toml").write_text(both)
    spec = load_spec(tmp_path / "spec.toml")
    said = "test_vit: its weights are random, because neither pretrained nor checkpoint is given"
    for notices in (
        dry_run(spec, location=tmp_path / "store").notes,
        index(spec, location=tmp_path / "store", progress=False).notices,
    ):
        assert len([notice for notice in notices if notice.startswith(said)]) == 1
    assert not list(recwarn)


def test_failures_are_recorded_reported_again_and_retried_on_request(tmp_path: Path) -> None:
    """A random model classifies no image correctly: every item fails, and the run ends normally."""
    photos(tmp_path / "photos", ["tabby", "goldfish", "n02504458"], 8)
    (tmp_path / "spec.toml").write_text(FOLDER.replace('choose = "all"', 'choose = "correct"'))
    spec = load_spec(tmp_path / "spec.toml")
    result = index(spec, location=tmp_path / "store", progress=False)
    assert result.done == 0
    assert len(result.failed) == 6
    assert all("no discovery images qualify" in error for error in result.failed.values())
    again = index(spec, location=tmp_path / "store", progress=False)
    assert again.failed.keys() == result.failed.keys()
    assert all("retry with --retry-failed" in error for error in again.failed.values())
    with open_store(tmp_path / "store") as store:
        assert set(store.items(run="photos")["attempts"]) == {1}
    index(spec, location=tmp_path / "store", retry_failed=True, progress=False)
    with open_store(tmp_path / "store") as store:
        assert set(store.items(run="photos")["attempts"]) == {2}
    index(parse_spec(spec.text + "# another text", folder=tmp_path), location=tmp_path / "store", progress=False)
    with open_store(tmp_path / "store") as store:
        assert set(store.items(run="photos")["attempts"]) == {3}
