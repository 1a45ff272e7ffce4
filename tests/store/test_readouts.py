"""Read-outs in a store: what comes back, what a run requests, and what verify, rebuild and gc do with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from circuitstore.circuits import Axis, Readout, ReadoutRecord, readout_use
from circuitstore.errors import InputError
from circuitstore.store import READOUTS, Store, Writer, create_store, open_store, rebuild_store, tables
from circuitstore.testing.factories import make_item, make_readout, readout_item
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays


def records(classes: int = 2, **options: Any) -> list[ReadoutRecord]:
    return [make_readout(readout_item(make_item(class_index=i)), **options) for i in range(classes)]


def fill(writer: Writer, made: list[ReadoutRecord]) -> None:
    """Start or resume a run that requests the read-outs, and store those that it lacks."""
    writer.start_run("run", "", [record.item for record in made])
    pending = {item.id for item in writer.pending("run")}
    for record in made:
        if record.id in pending:
            writer.put(record, run="run")
    assert writer.pending("run") == []


def differences(store: Store) -> list[tuple[str, str]]:
    return [(row["kind"], row["id"]) for row in store.verify()]


def same(a: Readout | None, b: Readout | None) -> bool:
    if a is None or b is None:
        return a is b
    stds = (a.std is None) == (b.std is None) and (a.std is None or b.std is None or np.array_equal(a.std, b.std))
    facts = [(r.use, r.axes, r.unit, r.metric, r.facts) for r in (a, b)]
    return facts[0] == facts[1] and stds and _equal(a, b)


def _equal(a: Readout, b: Readout) -> bool:
    return np.array_equal(a.values, b.values) and a.values.dtype == b.values.dtype == np.float32


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("per_image", [False, True])
def test_a_read_out_comes_back_bit_by_bit(folder: Path, count: int, per_image: bool) -> None:
    (record,) = records(1, count=count, per_image=per_image)
    with create_store(folder) as store, store.writer() as writer:
        fill(writer, [record])
        there = store.readout(record.id[:20])
        assert (there.item, there.images, there.sha256) == (record.item, record.images, record.sha256)
        assert same(there.mean, record.mean) and same(there.per_image, record.per_image)
        assert (there.per_image is not None, there.mean.std is not None) == (per_image, count > 1)
        assert there.provenance == {"device": "cpu"} and there.to_pandas().equals(record.to_pandas())


@given(
    arrays.arrays(np.float64, (3, 2, 4), elements=st.floats(-1e6, 1e6)),
    st.integers(0, 2),
)
def test_the_record_has_the_mean_over_images_wherever_their_axis_is(values: np.ndarray, place: int) -> None:
    item = readout_item(make_item())
    axes = [Axis("point", ("a", "b")), Axis("class", (0, 1, 2, 3))]
    axes.insert(place, Axis("image", (0, 1, 2)))
    readout = Readout(readout_use(item), tuple(axes), np.moveaxis(values, 0, place))
    record = ReadoutRecord.of(item, ("x", "y", "z"), readout, per_image=True)
    assert record.per_image is not None and record.per_image.axes[0] == Axis("image", ("x", "y", "z"))
    assert np.array_equal(record.mean.values, values.mean(axis=0).astype(np.float32))
    assert np.array_equal(record.per_image.values, values.astype(np.float32))


def test_read_outs_are_listed_by_what_was_asked(folder: Path) -> None:
    made = records(3)
    with create_store(folder) as store, store.writer() as writer:
        fill(writer, made)
        assert set(store.readouts()["id"]) == set(store.readouts("run")["id"]) == {record.id for record in made}
        (row,) = store.readouts(class_index=1, kind="logit-lens").to_dict("records")
        assert (
            row["id"] == made[1].id and row["axes"] == "3 point, 2 class" and row["readout"] == "logit-lens(norm=True)"
        )
        assert store.items("run")["state"].tolist() == ["done"] * 3
        with pytest.raises(InputError, match="column of readouts"):
            store.readouts(klass="three")
        with pytest.raises(InputError, match=r"no readout has an id that begins with 'x'; .* table of readouts"):
            store.readout("x")


def test_a_lost_or_damaged_read_out_has_its_item_asked_again(folder: Path) -> None:
    made = records(3)
    with create_store(folder) as store, store.writer() as writer:
        fill(writer, made)
        store.archive.path("readout", made[0].id).unlink()
        cut = store.archive.path("readout", made[1].id)
        cut.write_bytes(cut.read_bytes()[:-9])
        assert set(differences(store)) == {("missing file", made[0].id), ("damaged file", made[1].id)}
        writer.start_run("run", "", [record.item for record in made])
        assert [item.id for item in writer.pending("run")] == [record.id for record in made[:2]]
        assert not writer.has(READOUTS, made[0].id)
        fill(writer, made)
        assert differences(store) == []


def test_a_read_out_whose_writer_was_killed_before_listing_it_is_adopted(folder: Path) -> None:
    (record,) = records(1)
    with create_store(folder) as store:
        with store.writer() as writer:
            writer.start_run("run", "", [record.item])
            writer.archive.write(record, 1)
        assert differences(store) == [("orphan file", record.id)]
        with store.writer() as writer:
            writer.start_run("run", "", [record.item])
            assert writer.pending("run") == [] and writer.has(READOUTS, record.id)
        assert differences(store) == []


def test_a_rebuilt_store_has_the_same_read_outs(folder: Path) -> None:
    made = records()
    with create_store(folder) as store:
        with store.writer() as writer:
            fill(writer, made)
        listed, items = store.readouts(), store.items()
    (folder / "catalog.sqlite").unlink()
    rebuild_store(folder)
    with open_store(folder) as store:
        assert store.readouts().equals(listed)
        assert store.items()["state"].tolist() == ["done", "done"]
        assert store.items().drop(columns="changed_ms").equals(items.drop(columns="changed_ms"))
        assert differences(store) == []


def test_verify_names_an_item_that_is_done_without_its_read_out(folder: Path) -> None:
    made = records()
    with create_store(folder) as store, store.writer() as writer:
        fill(writer, made)
        with writer.catalog.writing() as connection:
            connection.execute(sa.delete(tables.readouts).where(tables.readouts.c.id == made[0].id))
        assert set(differences(store)) == {("orphan file", made[0].id), ("wrong state", made[0].id)}
        assert {row["what"]: row["count"] for row in writer.rebuild()}["readouts added from the archive"] == 1
        assert differences(store) == []


def test_read_outs_go_with_the_last_run_that_requests_them(folder: Path) -> None:
    made = records()
    with create_store(folder) as store, store.writer() as writer:
        fill(writer, made)
        writer.gc()
        assert len(store.readouts()) == 2
        writer.delete_run("run")
        counts = {row["what"]: row["count"] for row in writer.gc()}
        assert counts["readouts removed from the catalog"] == 2
        assert list(store.archive.ids("readout")) == [] and differences(store) == []
