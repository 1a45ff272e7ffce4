"""Kinds of stored values: what a new one takes, and responses and example images in the archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa
from circuitstore.errors import InputError
from circuitstore.store import EXAMPLES, RESPONSE, Store, create_store, encoding, open_store, tables
from circuitstore.store.kinds import KINDS, StoredKind
from circuitstore.testing.factories import make_examples, make_item

# --- your own kind: one file, and one line that puts it in KINDS --------------------------------------


@dataclass(frozen=True)
class Memo:
    """What somebody wrote down."""

    id: str
    text: str

    @property
    def sha256(self) -> str:
        return sha256(self.text.encode()).hexdigest()


def to_table(memo: Memo, created_ms: int) -> pa.Table:
    header = {"kind": "memo", "id": memo.id, "created_ms": created_ms}
    return encoding.to_table(header, {"text": np.frombuffer(memo.text.encode(), np.uint8)})


def from_table(header: encoding.Header, table: pa.Table) -> Memo:
    return Memo(header["id"], encoding.column(header, table, "text").tobytes().decode())


@pytest.fixture
def memo_kind(monkeypatch: pytest.MonkeyPatch) -> Iterator[StoredKind[Any]]:
    columns = sa.Column("id", sa.String(64), primary_key=True), sa.Column("sha256", sa.String(64))
    table = sa.Table("memos", tables.metadata, *columns, sa.Column("created_ms", sa.BigInteger))
    kind = StoredKind(
        "memo",
        "memos",
        Memo,
        to_table,
        from_table,
        table,
        row=lambda memo, created_ms: {"id": memo.id, "sha256": memo.sha256, "created_ms": created_ms},
        kept=sa.select(table.c.id).where(table.c.id.like("kept%")),
        question=lambda memo: None,
    )
    monkeypatch.setitem(KINDS, kind.name, kind)
    yield kind
    tables.metadata.remove(table)


def differences(store: Store) -> list[tuple[str, str]]:
    return [(row["kind"], row["id"]) for row in store.verify()]


def test_a_new_kind_is_stored_verified_collected_and_rebuilt(filled: Path, memo_kind: StoredKind[Any]) -> None:
    kept, loose = Memo("kept1", "read this"), Memo("loose1", "or that")
    with open_store(filled) as store, store.writer() as writer:
        with writer.catalog.writing() as connection:
            memo_kind.table.create(connection)
        writer.put(kept, loose, run="run")
        assert writer.has(memo_kind, "kept1") and store.archive.read(memo_kind, "kept1")[0] == kept
        assert differences(store) == []

        store.archive.path("memo", "loose1").unlink()
        assert differences(store) == [("missing file", "loose1")]
        assert writer.read_sound(memo_kind, "loose1") is None
        writer.put(loose, run="run")
        assert differences(store) == []

        counts = {row["what"]: row["count"] for row in writer.gc()}
        assert counts["memos removed from the catalog"] == 1
        assert list(store.archive.ids("memo")) == ["kept1"] and differences(store) == []

        with writer.catalog.writing() as connection:
            connection.execute(sa.delete(memo_kind.table))
        assert differences(store) == [("orphan file", "kept1")]
        assert {row["what"]: row["count"] for row in writer.rebuild()}["memos added from the archive"] == 1
        assert differences(store) == []


# --- responses ---------------------------------------------------------------------------------------


def test_a_response_comes_back_bit_by_bit(folder: Path, world: Any) -> None:
    with create_store(folder) as store, store.writer() as writer:
        world.fill(writer)
        for response in world.responses:
            there = store.response(response.id[:20])
            assert (there.trial, there.images) == (response.trial, response.images)
            for name in ("metric", "predicted", "true", "hit"):
                theirs, mine = getattr(there, name), getattr(response, name)
                assert np.array_equal(theirs, mine) and theirs.dtype == mine.dtype


def test_circuits_name_their_responses(filled: Path, world: Any) -> None:
    with open_store(filled) as store:
        circuits = store.circuits().set_index("id")
        for record in world.records:
            named = {role: circuits.loc[record.id, f"response_{role}"] for role in record.responses}
            assert named == record.responses == store.circuit(record.id).responses


def test_responses_are_listed_by_what_was_asked(filled: Path, world: Any) -> None:
    with open_store(filled) as store:
        listed = store.responses()
        assert set(listed["id"]) == {response.id for response in world.responses} == set(store.responses("run")["id"])
        assert set(store.responses(intervention="circuit")["circuit"]) == {record.id for record in world.records}
        assert len(store.responses(class_index=1, intervention=["none", "corrupted"])) == 2
        row = listed.set_index("id").loc[world.responses[0].id]
        assert row["accuracy"] == world.responses[0].accuracy
        with pytest.raises(InputError, match="column of responses"):
            store.responses(klass="three")
        with pytest.raises(InputError, match=r"no response has an id that begins with 'x'; .* table of responses"):
            store.response("x")


def test_a_lost_response_has_its_item_asked_again(filled: Path, world: Any) -> None:
    lost = world.records[0].responses["circuit"]
    with open_store(filled) as store:
        store.archive.path("response", lost).unlink()
        with store.writer() as writer:
            world.start(writer)
            assert [item.id for item in writer.pending("run")] == [world.records[0].discovery_id]
            assert writer.stored("run")[1] == {record.id for record in world.records[1:]}
            assert not writer.has(RESPONSE, lost)
            world.fill(writer)
            assert writer.pending("run") == []
        assert len(store.verify()) == 0


def test_another_response_to_the_same_trial_is_dropped(filled: Path, world: Any) -> None:
    first = world.responses[0]
    other = type(first)(first.trial, first.images, first.metric + 1, first.predicted, first.true, first.hit)
    with open_store(filled) as store, store.writer() as writer:
        writer.put(other, run="run")
        assert any(f"response {first.id} is already stored" in notice for notice in writer.notices)
        assert np.array_equal(store.response(first.id).metric, first.metric)


# --- example images ----------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", ["natural", "typographic"])
def test_example_images_come_back_bit_by_bit(filled: Path, attack: str) -> None:
    images = make_examples(make_item(attack=attack), 3)
    with open_store(filled) as store, store.writer() as writer:
        writer.put(images, run="run")
        there = store.example_images(images.id[:20])
    assert (there.id, there.sha256, there.checks) == (images.id, images.sha256, images.checks)
    assert there.to_pandas().equals(images.to_pandas())
    for one, other in zip(there.examples, images.examples, strict=True):
        assert np.array_equal(one.clean.pixels, other.clean.pixels) and one.clean.pixels.dtype == np.uint8
        assert (one.attacked is None) == (other.attacked is None) == (attack == "natural")


def test_example_images_are_kept_while_a_run_asks_about_their_class_and_condition(filled: Path, world: Any) -> None:
    asked, stray = make_examples(world.items[0]), make_examples(make_item(class_index=7))
    with open_store(filled) as store, store.writer() as writer:
        writer.put(asked, stray, run="run")
        assert set(store.examples()["id"]) == {asked.id, stray.id}
        assert list(store.examples("run")["id"]) == [asked.id] == list(writer.examples("run"))
        assert list(store.examples(class_index=7)["id"]) == [stray.id]
        counts = {row["what"]: row["count"] for row in writer.gc()}
        assert counts["examples removed from the catalog"] == 1
        assert list(store.archive.ids("example")) == [asked.id] and differences(store) == []
        writer.delete_run("run")
        writer.gc()
        assert list(store.archive.ids("example")) == [] and differences(store) == []


def test_example_images_are_rebuilt_from_the_archive_and_damage_is_found(filled: Path, world: Any) -> None:
    images = make_examples(world.items[0])
    with open_store(filled) as store, store.writer() as writer:
        writer.put(images, run="run")
        listed = store.examples()
        with writer.catalog.writing() as connection:
            connection.execute(sa.delete(tables.examples))
        assert differences(store) == [("orphan file", images.id)]
        writer.rebuild()
        assert store.examples().equals(listed) and differences(store) == []
        file = store.archive.path("example", images.id)
        file.write_bytes(file.read_bytes()[:-9])
        world.start(writer)
        assert not writer.has(EXAMPLES, images.id) and writer.pending("run") == []
