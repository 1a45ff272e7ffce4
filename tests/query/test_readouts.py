"""Named queries about read-outs: the numbers of the archive, the newest for each question."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from circuitstore.circuits import Axis, MethodUse, Readout, ReadoutRecord, WorkItem, readout_use
from circuitstore.errors import InputError
from circuitstore.query import run
from circuitstore.store import Store, create_store
from circuitstore.testing.factories import make_item, make_readout, readout_item


def stream_patching(item: WorkItem, tokens: tuple[int, ...] = (0, 1)) -> ReadoutRecord:
    use = MethodUse.of("stream-patching", {"tokens": "each"})
    asked = replace(item, recipe=replace(item.recipe, method=use))
    axes = [Axis("image", (0, 1)), Axis("point", ("resid_pre.0", "resid_mid.0"))]
    axes += [Axis("token", tokens)] if tokens else []
    values = np.arange(float(np.prod([len(axis) for axis in axes]))).reshape([len(axis) for axis in axes])
    return ReadoutRecord.of(asked, ("x", "y"), Readout(readout_use(asked), tuple(axes), values))


def attribution(item: WorkItem, *axes: Axis) -> ReadoutRecord:
    """Direct logits of three images by some axes and two classes."""
    use = MethodUse.of("logit-attribution", {"by": " ".join(axis.name for axis in axes)})
    asked = replace(item, recipe=replace(item.recipe, method=use))
    every = (Axis("image", (0, 1, 2)), *axes, Axis("class", ("one", "two")))
    values = np.random.default_rng(5).normal(size=[len(axis) for axis in every])
    return ReadoutRecord.of(asked, ("x", "y", "z"), Readout(readout_use(asked), every, values))


def footprint(item: WorkItem) -> ReadoutRecord:
    """A footprint of a circuit on two images, whose circuit has the id c."""
    use = MethodUse.of("circuit-footprint", {"by": "source-token", "circuit": "eap top 1"})
    asked = replace(item, recipe=replace(item.recipe, method=use))
    axes = Axis("image", (0, 1)), Axis("edges", ("out of input", "input->m0")), Axis("source_token", (0, 1, 2))
    values = np.random.default_rng(6).normal(size=(2, 2, 3))
    return ReadoutRecord.of(asked, ("x", "y"), Readout(readout_use(asked), axes, values), provenance={"circuit": "c"})


@pytest.fixture(scope="module")
def made() -> list[ReadoutRecord]:
    asked = [readout_item(make_item(class_index=i, attack=a)) for i in (0, 1) for a in ("natural", "typographic")]
    lens = [make_readout(item, 5, per_image=item.condition.kind == "natural") for item in asked]
    heads = Axis("layer", (0, 1)), Axis("head", (0, 1, 2))
    direct = [attribution(asked[2], Axis("component", ("input", "a0.h0", "m0", "bias"))), attribution(asked[2], *heads)]
    direct.append(attribution(asked[2], *heads, Axis("token", (0, 1))))
    return [*lens, *direct, footprint(asked[1]), stream_patching(asked[0])]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, made: list[ReadoutRecord]) -> Iterator[Store]:
    with create_store(tmp_path_factory.mktemp("readouts") / "data") as store:
        with store.writer() as writer:
            older = replace(made[0].item, selection=replace(made[0].item.selection, candidates="older"))
            for name, records in (("old", [make_readout(older, 4, seed=9)]), ("run", made)):
                writer.start_run(name, "", [record.item for record in records])
                for record in records:
                    writer.put(record, run=name)
        yield store


def test_the_newest_read_outs_are_listed(store: Store, made: list[ReadoutRecord]) -> None:
    table = run(store, "readouts")
    assert {row["id"] for row in table} == {record.id for record in made}
    assert {row["axes"] for row in table} >= {"3 point, 2 class", "2 point, 2 token", "2 layer, 3 head, 2 class"}
    assert [row["images"] for row in run(store, "readouts", run="old")] == [4]


def test_lens_by_layer_gives_the_true_class_and_its_rival(store: Store, made: list[ReadoutRecord]) -> None:
    rows = list(run(store, "lens-by-layer"))
    assert len(rows) == 4 * 3
    for record in made[:4]:
        mine = [
            r
            for r in rows
            if (r["class"], r["condition"]) == (record.item.target_class.name, record.item.condition.text)
        ]
        true = record.item.target_class.class_index
        assert [r["point"] for r in mine] == ["resid_pre.0", "resid_mid.0", "resid_post.0"]
        assert [r["logit"] for r in mine] == record.mean.values[:, true].tolist()
        assert [r["rival_logit"] for r in mine] == record.mean.values[:, 1 - true].tolist()
        assert {r["rival"] for r in mine} == {str(1 - true)} and record.mean.std is not None
        assert [r["std"] for r in mine] == record.mean.std[:, true].tolist()
        if record.per_image is None:
            assert all(np.isnan(r["top"]) for r in mine)
        else:
            best = record.per_image.values.argmax(axis=2) == true
            assert [r["top"] for r in mine] == best.mean(axis=0).tolist()


def test_one_read_out_is_named_by_the_beginning_of_its_id(store: Store, made: list[ReadoutRecord]) -> None:
    rows = list(run(store, "lens-by-layer", {"readout": made[1].id[:12]}))
    assert len(rows) == 3 and {r["condition"] for r in rows} == {made[1].item.condition.text}
    with pytest.raises(InputError, match=r"expected a read-out of the kind lens|of the kind logit-lens, got stream"):
        run(store, "lens-by-layer", {"readout": made[-1].id})
    with pytest.raises(InputError, match="parameter readout: no readout has an id that begins with 'x'"):
        run(store, "lens-by-layer", {"readout": "x"})


def test_direct_by_head_gives_what_is_added_to_the_true_class(store: Store, made: list[ReadoutRecord]) -> None:
    table = run(store, "direct-by-head")
    components, heads, _ = made[4:7]
    names = [f"a{layer}.h{head}" for layer in range(2) for head in range(3)]
    for record, labels in ((components, ["input", "a0.h0", "m0", "bias"]), (heads, names)):
        true = record.item.target_class.class_index
        logits = record.mean.values.reshape(len(labels), 2)
        mine = [row for row in table if row["readout"] == record.item.recipe.method.text]
        assert {row["component"]: row["logit"] for row in mine} == dict(
            zip(labels, logits[:, true].tolist(), strict=True)
        )
        rest = logits[np.argsort(-logits[:, true]), 1 - true]
        assert [row["rest"] for row in mine] == pytest.approx(rest.tolist())
        assert [row["logit"] for row in mine] == sorted(logits[:, true].tolist(), reverse=True)
    assert len(table) == 4 + 6
    assert "its axes are (layer, head, token, class), expected (component, class) or (layer, head, class)" in str(table)


def test_patching_map_gives_each_point_and_token(store: Store, made: list[ReadoutRecord]) -> None:
    rows = list(run(store, "patching-map"))
    assert [(r["point"], r["token"]) for r in rows] == [(p, t) for p in ("resid_pre.0", "resid_mid.0") for t in (0, 1)]
    assert [r["effect"] for r in rows] == made[-1].mean.values.ravel().tolist() == [2.0, 3.0, 4.0, 5.0]


def test_circuit_footprint_gives_each_entry_and_token(store: Store, made: list[ReadoutRecord]) -> None:
    rows, mean = list(run(store, "circuit-footprint")), made[-2].mean
    assert [(r["edges"], r["token"]) for r in rows] == [(e, t) for e in ("out of input", "input->m0") for t in range(3)]
    assert [r["part"] for r in rows] == mean.values.ravel().tolist() and mean.std is not None
    assert [r["std"] for r in rows] == mean.std.ravel().tolist() and {r["circuit"] for r in rows} == {"c"}


def test_a_store_without_them_says_so(store: Store) -> None:
    table = run(store, "patching-map", run="old")
    assert len(table) == 0 and "there is no read-out of the kind stream-patching" in str(table)
