from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from circuitstore.circuits import Discovery
from circuitstore.errors import InputError, StoreDamaged, StoreVersion
from circuitstore.store.archive import Archive
from circuitstore.testing.factories import make_discovery, make_item, make_record


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory, world: Any) -> Path:
    archive = Archive(tmp_path_factory.mktemp("written") / "archive")
    for value in (*world.discoveries, *world.records):
        archive.write(value, 17)
    return archive.folder


@pytest.fixture
def archive(tmp_path: Path, written: Path) -> Archive:
    return Archive(Path(shutil.copytree(written, tmp_path / "archive")))


def test_files_lie_by_the_first_digits_of_their_ids(archive: Archive, world: Any) -> None:
    id = world.records[0].id
    assert archive.path("circuit", id) == archive.folder / "circuits" / id[:2] / f"{id}.parquet"
    assert archive.has("circuit", id) and not archive.has("discovery", id)
    assert list(archive.ids("discovery")) == sorted(d.id for d in world.discoveries)
    assert list(archive.ids("circuit")) == sorted(r.id for r in world.records)


def test_what_is_read_is_what_was_written(archive: Archive, world: Any) -> None:
    for discovery in world.discoveries:
        there, created = archive.discovery(discovery.id)
        assert (there.sha256, created) == (discovery.sha256, 17)
    for record in world.records:
        there, created = archive.circuit(record.id)
        assert (there.sha256, there.properties(), created) == (record.sha256, record.properties(), 17)


def test_matrices_are_those_of_the_parts(archive: Archive, world: Any) -> None:
    scores = archive.scores([d.id for d in world.discoveries])
    members = archive.members([r.id for r in world.records])
    assert scores.dtype == np.float32 and members.dtype == bool
    assert np.array_equal(scores, np.stack([d.scores.mean for d in world.discoveries]))
    assert np.array_equal(members, np.stack([r.circuit.members for r in world.records]))


def test_means_are_read_without_scores_per_image(archive: Archive, world: Any) -> None:
    discovery: Discovery = world.discoveries[0]
    slim, _ = archive.discovery(discovery.id, per_image=False)
    assert slim.scores is not None and discovery.scores is not None
    assert slim.scores.per_image is None
    assert np.array_equal(slim.scores.mean, discovery.scores.mean)
    assert slim.scores.std is not None and np.array_equal(slim.scores.std, discovery.scores.std)


def test_matrices_of_different_graphs_are_refused(archive: Archive, world: Any) -> None:
    other = make_discovery(item=make_item(n_layers=1, n_heads=2))
    archive.write(other, 17)
    archive.write(make_record(other, 5), 17)
    with pytest.raises(InputError, match=r"n_layers=2.*n_layers=1"):
        archive.scores([world.discoveries[0].id, other.id])
    with pytest.raises(InputError, match=r"n_layers=1.*n_layers=2"):
        archive.members([make_record(other, 5).id, world.records[0].id])
    with pytest.raises(InputError, match="at least one"):
        archive.scores([])


def test_selected_edges_are_no_scores(archive: Archive) -> None:
    item = make_item(5, n_layers=2, n_heads=2)
    only = Discovery(item, None, ("a",), make_record(make_discovery(item=item), 6).circuit.members)
    archive.write(only, 17)
    there, _ = archive.discovery(only.id)
    assert there.scores is None and np.array_equal(there.members, only.members)
    with pytest.raises(InputError, match="no scores"):
        archive.scores([only.id])


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def empty(data: bytes) -> bytes:
    return b""


def harm_column(path: Path, name: str) -> None:
    """Change the last byte of a column's compressed values."""
    group = pq.ParquetFile(path).metadata.row_group(0)
    [chunk] = [c for c in map(group.column, range(group.num_columns)) if c.path_in_schema == name]
    last = chunk.data_page_offset + chunk.total_compressed_size - 1
    data = bytearray(path.read_bytes())
    data[last] ^= 0xFF
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("kind", ["discovery", "circuit"])
@pytest.mark.parametrize("harm", [cut, empty])
def test_damage_is_named_with_file_and_remedy(archive: Archive, world: Any, kind: str, harm: Any) -> None:
    id = world.discoveries[0].id if kind == "discovery" else world.records[0].id
    path = archive.path(kind, id)
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(StoreDamaged) as error:
        archive.discovery(id) if kind == "discovery" else archive.circuit(id)
    assert str(path) in str(error.value) and "circuitstore rebuild" in str(error.value)


@pytest.mark.parametrize("name", ["edge", "rank", "score", "std", "frequency"])
def test_an_altered_value_is_named(archive: Archive, world: Any, name: str) -> None:
    record = world.records[0]
    harm_column(archive.path("circuit", record.id), name)
    with pytest.raises(StoreDamaged):
        archive.circuit(record.id)


@pytest.mark.parametrize("seed", range(30))
def test_no_flipped_bit_goes_unnoticed(archive: Archive, world: Any, seed: int) -> None:
    """Whatever bit flips, a circuit is either refused or comes back as it was."""
    record = world.records[0]
    path = archive.path("circuit", record.id)
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(bytes(data))
    try:
        there, created = archive.circuit(record.id)
    except StoreDamaged:
        return
    assert (there.sha256, there.properties(), created) == (record.sha256, record.properties(), 17)


def test_a_missing_file_and_one_in_anothers_place(archive: Archive, world: Any) -> None:
    first, second = (archive.path("circuit", r.id) for r in world.records[:2])
    first.write_bytes(second.read_bytes())
    with pytest.raises(StoreDamaged, match=f"contains the circuit {world.records[1].id}"):
        archive.circuit(world.records[0].id)
    first.unlink()
    with pytest.raises(StoreDamaged, match="is missing"):
        archive.circuit(world.records[0].id)


def test_damage_in_scores_per_image_does_not_keep_means_from_being_read(archive: Archive, world: Any) -> None:
    discovery = world.discoveries[0]
    harm_column(archive.path("discovery", discovery.id), "image_4")
    with pytest.raises(StoreDamaged):
        archive.discovery(discovery.id)
    assert np.array_equal(archive.scores([discovery.id])[0], discovery.scores.mean)


def test_sweeping_takes_temporary_files_only(archive: Archive, world: Any) -> None:
    path = archive.path("circuit", world.records[0].id)
    left = path.with_name(path.name + ".tmp")
    left.write_bytes(b"half")
    assert archive.leftovers() == [left]
    assert (archive.sweep(), archive.sweep()) == (1, 0)
    assert list(archive.ids("circuit")) == sorted(r.id for r in world.records)


def test_a_damaged_file_is_set_aside_and_can_be_written_again(archive: Archive, world: Any) -> None:
    record = world.records[0]
    archive.path("circuit", record.id).write_bytes(b"no parquet")
    kept = archive.set_aside("circuit", record.id)
    assert kept is not None and kept.read_bytes() == b"no parquet"
    assert record.id not in archive.ids("circuit") and archive.set_aside("circuit", record.id) is None
    archive.write(record, 17)
    assert archive.circuit(record.id)[0].sha256 == record.sha256


def test_the_identity_of_an_archive(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    assert archive.identity is None
    archive.make("abc")
    assert archive.identity == "abc"
    (archive.folder / "store.json").write_text(json.dumps({"store": "abc", "format": 9}))
    with pytest.raises(StoreVersion, match=r"format is 9.*up to 1"):
        _ = archive.identity
    (archive.folder / "store.json").write_text("{")
    with pytest.raises(StoreDamaged, match=r"store.json"):
        _ = archive.identity


def test_scores_per_image_take_little_more_than_two_bytes(archive: Archive) -> None:
    discovery = make_discovery(n_images=16, item=make_item(n_layers=6, n_heads=6))
    assert discovery.scores is not None
    archive.write(discovery, 17)
    size = archive.path("discovery", discovery.id).stat().st_size
    edges = discovery.scores.graph.n_edges
    assert size < 1.1 * edges * (2 * 16 + 8) + 10_000
