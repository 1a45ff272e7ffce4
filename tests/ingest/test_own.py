"""A user's own results are stored and read like those of `index`, which never computes them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import circuitstore as cs
import numpy as np
import pytest
import torch
from circuitstore.analysis import write_report
from circuitstore.circuits import Circuit, Evaluation
from circuitstore.errors import InputError
from circuitstore.images import content_hashes, open_source
from circuitstore.ingest import index, parse_spec
from circuitstore.ingest.own import OwnImages, OwnResult, answer
from circuitstore.models import ViT
from circuitstore.query import compare, run
from circuitstore.store import create_store, open_store, rebuild_store

from .own_world import METHOD, PATCH, SPEC, World


@pytest.fixture(params=["ladybug", "neo4j"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """A store on each graph engine."""
    if request.param == "ladybug":
        return {"location": tmp_path / "data"}
    server = request.getfixturevalue("neo4j_server")
    server.empty()
    return {"location": tmp_path / "data", "graph": server.url}


def test_everything_that_reads_a_store_reads_them(world: World, place: dict[str, Any], tmp_path: Path) -> None:
    done = cs.store_results("mine", world.results(), **place)
    assert (done.done, done.skipped, done.circuits, done.failed, done.notices) == (4, 0, 8, {}, ())
    again = cs.store_results("mine", world.results(), **place)
    assert (again.done, again.skipped, again.circuits, again.notices) == (0, 4, 0, ())
    with open_store(**place) as store:
        assert store.verify().to_pandas().empty
        assert set(store.circuits()["condition"]) == {"natural", "my-patch(side=8)"}
        assert set(store.circuits()["method"]) == {"my-gradients(steps=3)"}
        assert set(store.circuits()["extraction"]) == {"edges(n=12)", "top(n=9)"}
        text = 'MATCH (c:Circuit {attack: "my-patch"}) RETURN c.class AS class, c.n_edges AS edges'
        assert set(store.query(text).to_pandas()["class"]) == {"three", "seven"}
        assert len(run(store, "studies", {}).to_pandas())
        by_class = compare(store, "class", extraction="top(n=9)", condition="natural")
        assert len(by_class) == 1 and by_class.to_pandas()["noise_floor"].notna().all()
        by_condition = compare(store, "condition", extraction="top(n=9)").to_pandas()
        assert len(by_condition) == 2 and by_condition["gained"].notna().all()
        assert "my-patch" in write_report(store, tmp_path / "report.html", run="mine").read_text()
        record = store.circuit(store.circuits(attack="my-patch", **{"class": "seven"})["id"][0])
        assert np.array_equal(store.discovery(record.discovery_id).scores.mean, world.result(7, True).scores.mean)
    rebuild_store(**place)
    with open_store(**place) as store:
        assert store.verify().to_pandas().empty
        assert store.runs()["run"].tolist() == ["mine"]
    with open_store(**place) as store, store.writer() as writer:
        writer.gc()
        assert len(store.circuits()) == 8
        writer.delete_run("mine")
        writer.gc()
        assert store.circuits().empty and writer.graph.present() == {}


def test_a_lost_catalog_is_rebuilt_from_the_archive(world: World, tmp_path: Path) -> None:
    cs.store_results("mine", world.results(), location=tmp_path)
    with open_store(tmp_path) as store:
        file = store.catalog.file
        before = store.circuits().drop(columns="created_ms")
    assert file is not None
    file.unlink()
    rebuild_store(tmp_path)
    with open_store(tmp_path) as store:
        assert store.verify().to_pandas().empty
        assert store.circuits().drop(columns="created_ms").equals(before)
        assert set(store.items()["state"]) == {"done"}


def test_they_are_compared_over_conditions_as_circuits_of_the_same_images(world: World, tmp_path: Path) -> None:
    cs.store_results("mine", world.results(), location=tmp_path)
    with open_store(tmp_path) as store:
        notes = compare(store, "condition", extraction="edges(n=12)").notes
    assert not [note for note in notes if "different images" in note]


def test_circuits_have_the_question_of_indexed_ones(world: World, computed: Path) -> None:
    """A result described like a spec has the same question and extraction as an indexed one."""
    with open_store(computed) as store:
        found = {r.question: r for r in map(store.circuit, store.circuits(attack="natural")["id"])}
        scores = store.discovery(next(iter(found.values())).discovery_id).scores
    assert scores is not None and len(found) == 2
    clean = world.clean(3, count=scores.n_images or 0)
    images = OwnImages(dataset="digits", class_name="three", images=clean, corruption="other-class")
    circuits = [scores.greedy(12), scores.top(9)]
    own = answer(OwnResult(model=world.model, images=images, method="eap", scores=scores, circuits=circuits))
    assert {record.question for record in own.circuits} == set(found)
    for record in own.circuits:
        assert np.array_equal(record.circuit.members, found[record.question].circuit.members)
        assert record.item.is_given and not found[record.question].item.is_given


@pytest.mark.parametrize("name", ["computed", "mine"])
def test_index_neither_computes_nor_changes_them(world: World, tmp_path: Path, name: str) -> None:
    """The same result, stored under the same name or another."""
    cs.store_results("mine", world.results(), location=tmp_path)
    with open_store(tmp_path) as store:
        before = store.circuits()
    spec = parse_spec(SPEC.replace("computed", name).replace('model = "digits"', ""))
    done = index(spec, model=world.model, location=tmp_path, progress=False)
    assert (done.done, done.failed) == (2, {})
    cs.store_results(name, world.results(), location=tmp_path)
    with open_store(tmp_path) as store:
        runs = store.runs().set_index("run")
        assert runs.loc[name, "items"] == runs.loc[name, "done"] == 6
        assert runs.loc[name, "spec"] == spec.text
        now = store.circuits().set_index("id")["sha256"]
        assert now[before["id"]].tolist() == before["sha256"].tolist()
        assert store.verify().to_pandas().empty


def test_a_lost_answer_is_not_computed_and_can_be_stored_again(world: World, tmp_path: Path) -> None:
    cs.store_results("mine", world.results(), location=tmp_path)
    own = answer(world.results()[0])
    with open_store(tmp_path) as store:
        store.archive.path("discovery", own.discovery.id).unlink()
        store.archive.path("circuit", own.circuits[0].id).write_bytes(b"damaged")
        assert "or store it again if it is your own" in str(store.verify())
    rebuild_store(tmp_path)
    with open_store(tmp_path) as store, store.writer() as writer:
        assert writer.retry_failed("mine") == 1
        (lost,) = store.items(state="failed").to_dict("records")
        assert lost["id"] == own.discovery.id and "came from elsewhere and is lost; store it again" in lost["error"]
        assert own.discovery.id not in {item.id for item in writer.pending("mine")}
    assert cs.store_results("mine", world.results(), location=tmp_path).done == 1
    with open_store(tmp_path) as store:
        assert store.verify().to_pandas().empty and set(store.items()["state"]) == {"done"}
        assert len(store.circuits()) == 8


def test_a_circuit_whose_discovery_is_lost_is_not_computed_by_index(world: World, tmp_path: Path) -> None:
    own = answer(world.result(3))
    with create_store(tmp_path) as store, store.writer() as writer:
        writer.put(own.circuits[0], run="mine")
        assert store.items()["state"].tolist() == ["failed"] and writer.pending("mine") == []


def test_circuits_are_evaluated_on_report_images_with_random_ones(world: World, tmp_path: Path) -> None:
    clean = world.clean(3, first=12)
    report = world.patched(clean), clean
    images = world.images(3, True, corruption="unattacked-twin", target="eight")
    result = world.result(3, True, images=images, metric="logit-diff", report=report)
    own, pairs = answer(result), cs.ImagePairs.of(world.model, *report, labels=[3] * 12, targets=[8] * 12)
    for record, circuit in zip(own.circuits, result.circuits, strict=True):
        assert isinstance(circuit, Circuit) and record.evaluation is not None
        expected = cs.evaluate(world.model, pairs, circuit, metric="logit-diff")
        assert replace(record.evaluation, metric_random=()) == expected
        assert len(record.evaluation.metric_random) == 10
        assert record.properties()["target"] == "eight"
    rows = own.discovery.provenance["images"]
    assert [row["split"] for row in rows] == ["discovery"] * 12 + ["report"] * 12
    assert tuple(row["hash"] for row in rows[:12]) == own.discovery.images
    cs.store_results("mine", [result], location=tmp_path)
    with open_store(tmp_path) as store:
        for record in own.circuits:
            responses = {role: store.response(id) for role, id in store.circuit(record.id).responses.items()}
            assert responses.keys() == {"full", "empty", "circuit"} and record.evaluation is not None
            assert responses["circuit"].metric.mean() == record.evaluation.metric_circuit
            assert list(responses["full"].images) == [row["hash"] for row in rows[12:]]
        assert len(store.verify()) == 0


def test_an_evaluation_by_the_user_is_kept(world: World, tmp_path: Path) -> None:
    scores = world.scores(0)
    evaluation = Evaluation(5, 3.0, 1.0, 2.0, 0.5, 1.0, 0.2, 0.6, 0.5)
    metric = {"kind": "my-metric", "version": 1}
    result = world.result(3, scores=scores, metric=metric, circuits=[(scores.greedy(12), evaluation), scores.top(9)])
    cs.store_results("mine", [result], location=tmp_path)
    with open_store(tmp_path) as store:
        rows = store.circuits().set_index("extraction")
        assert rows.loc["edges(n=12)", "faithfulness"] == 0.5 and rows.loc["edges(n=12)", "n_eval"] == 5
        assert np.isnan(rows.loc["top(n=9)", "faithfulness"]) and rows.loc["top(n=9)", "n_eval"] == 0
        assert set(rows["metric"]) == {"my-metric"}


def test_edges_that_were_only_selected(world: World, tmp_path: Path) -> None:
    circuit = cs.Circuit.from_edges(world.model.graph("block"), ["input->m0", "m0->logits"])
    cs.store_results("mine", [world.result(3, scores=None, circuits=[circuit])], location=tmp_path)
    with open_store(tmp_path) as store:
        record = store.circuit(store.circuits()["id"][0])
        found = store.discovery(record.discovery_id)
        assert record.extraction.text == "found" and found.scores is None
        assert found.circuit.edges == record.circuit.edges == ("input->m0", "m0->logits")


def test_names_of_extractions(world: World) -> None:
    scores = world.scores(0)
    circuits = [
        scores.greedy(12),
        scores.top(9, absolute=True),
        scores.threshold(1.5),
        replace(scores.top(7), extraction="my-cut(n=7, by=hand)"),
        cs.Circuit.from_edges(scores.graph, ["input->logits"], scores),
    ]
    own = answer(world.result(3, scores=scores, circuits=circuits))
    assert [r.extraction.text for r in own.circuits] == [
        "edges(n=12)",
        "top(absolute=True, n=9)",
        "threshold(t=1.5)",
        "my-cut(by=hand, n=7)",
        "given",
    ]
    assert [r.frequency is None for r in own.circuits] == [False, False, False, True, True]


# --- identity ----------------------------------------------------------------------------------------


def ids(*results: OwnResult) -> list[str]:
    return [answer(result).discovery.id for result in results]


def test_the_order_of_the_images_does_not_change_the_question(world: World) -> None:
    plain = world.result(3, True)
    clean = world.clean(3)
    turned = world.images(3, True, images=clean.flip(0), attacked=world.patched(clean).flip(0))
    mixed = world.images(3, True, images=clean.flip(0))
    same, other = world.result(3, True, images=turned), world.result(3, True, images=mixed)
    assert ids(plain) == ids(same) != ids(other)


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.images(3, True, condition=PATCH | {"version": 2}),
        lambda w: w.images(3, True, condition=PATCH | {"side": 9}),
        lambda w: w.images(3, True, attacked=w.patched(w.clean(3)) * 0.5),
        lambda w: w.images(3, True, attacked=None),
        lambda w: w.images(3, True, corrupted=w.clean(7)),
        lambda w: w.images(3, True, corruption={"kind": "blur", "radius": 0.2}),
        lambda w: w.images(3, True, target="eight"),
        lambda w: w.images(3, True, word="eight"),
        lambda w: w.images(3, True, against=["eight"]),
        lambda w: w.images(3, True, dataset="others"),
        lambda w: w.images(3, True, images=w.clean(3, first=1)),
    ],
)
def test_other_images_are_another_question(world: World, change: Callable[[World], OwnImages]) -> None:
    assert ids(world.result(3, True)) != ids(world.result(3, True, images=change(world)))


@pytest.mark.parametrize(
    "change", [{"method": METHOD | {"version": 3}}, {"seed": 1}, {"direction": "denoising"}, {"metric": "kl"}]
)
def test_another_method_is_another_question(world: World, change: dict[str, Any]) -> None:
    assert ids(world.result(3)) != ids(world.result(3, **change))


def test_files_and_provenance_do_not_change_the_question(world: World) -> None:
    files = [f"three/{i}.png" for i in range(12)]
    noted = world.result(3, images=world.images(3, files=files), provenance={"notebook": "a.ipynb"})
    assert ids(world.result(3)) == ids(noted)
    own = answer(noted).discovery
    assert [row["file"] for row in own.provenance["images"]] == files
    assert own.provenance["notebook"] == "a.ipynb" and "torch" in own.provenance


def test_files_are_identified_by_their_bytes_as_in_index(photos: Path, imagenet_model: ViT, world: World) -> None:
    source = open_source({"folder": photos}, imagenet_model)
    refs = source.candidates(source.class_named("207"))
    images = world.images(3, images=[photos / ref.origin for ref in refs])
    own = answer(world.result(3, images=images, scores=None, circuits=[world.scores(0).top(9)])).discovery
    assert own.images == tuple(ref.hash for ref in refs)
    assert [row["file"] for row in own.provenance["images"]] == [ref.origin for ref in refs]
    given = world.images(3, images=[ref.hash for ref in refs])
    assert ids(world.result(3, images=images, scores=None, circuits=[world.scores(0).top(9)])) == ids(
        world.result(3, images=given, scores=None, circuits=[world.scores(0).top(9)])
    )


def test_pixels_are_identified_by_value_type_and_shape(world: World) -> None:
    clean = world.clean(3, count=2)
    assert content_hashes("x", clean) == content_hashes("x", clean.numpy()) != content_hashes("x", clean.double())
    strided = clean.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert content_hashes("x", strided) == content_hashes("x", clean)
    assert content_hashes("x", clean.to(torch.bfloat16)) == content_hashes("x", clean.to(torch.bfloat16).float())
    views = np.zeros((2, 4, 4, 3), np.uint8)
    assert content_hashes("x", views)[0] == hashlib.sha256(b"|u1 (4, 4, 3)\n" + bytes(48)).hexdigest()


# --- index with a model of one's own -----------------------------------------------------------------


@pytest.mark.parametrize("named", ["", 'model = "vit_tiny_patch16_224"'])
def test_index_accepts_a_loaded_model(world: World, computed: Path, named: str) -> None:
    """Also instead of a model in the spec."""
    spec = parse_spec(SPEC.replace('model = "digits"', named))
    done = index(spec, model=world.model, location=computed, progress=False)
    assert (done.done, done.skipped) == (0, 2)


def test_index_computes_in_the_types_of_the_recipes(world: World, tmp_path: Path) -> None:
    spec = parse_spec(SPEC.replace('method = "eap"', 'method = "eap"\ndtype = "float64"'))
    assert index(spec, model=world.model, location=tmp_path, progress=False).done == 2
    with open_store(tmp_path) as store:
        found = store.discovery(store.items()["id"][0])
    assert found.item.recipe.dtype == "float64" and found.item.model == world.model.info
    assert index(spec, location=tmp_path, progress=False).skipped == 2


def test_an_unusable_model_is_an_error(world: World, tmp_path: Path) -> None:
    spec = parse_spec(SPEC.replace('model = "digits"', ""), origin="mine.toml")
    with pytest.raises(InputError, match=r"mine.toml: model: this field is missing; .*index\(spec, model=…\)"):
        index(spec, location=tmp_path)
    with pytest.raises(InputError, match=r"model: expected a loaded model, got VisionTransformer; load it"):
        index(spec, model=world.model.module, location=tmp_path)
    with pytest.raises(InputError, match="model: digits was loaded in bfloat16, but float32 is needed; load it with"):
        index(spec, model=cs.load_model("digits", dtype="bfloat16"), location=tmp_path)
    assert list(tmp_path.iterdir()) == []
