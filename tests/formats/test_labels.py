"""Notes as labels of graphs in viewers, and labels as notes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from circuitstore.errors import InputError
from circuitstore.formats import encoded, export_circuits
from circuitstore.query import add_note, import_labels, notes_to_export
from circuitstore.store import Store, open_store

from ..toy_studies import Answers, fill, toys  # noqa: F401


@pytest.fixture(scope="module")
def store(toys: Answers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:  # noqa: F811
    folder = tmp_path_factory.mktemp("labels")
    fill(folder, Answers(toys.discoveries[:2], toys.records[:2]))
    with open_store(folder) as opened:
        yield opened


def labelled(store: Store, file: Path, labels: dict[str, str], groups: list[list[str]]) -> dict[str, Any]:
    """Export the first circuit, and label it as a viewer would."""
    id = store.circuits()["id"][0]
    export_circuits([store.circuit(id)], "neuronpedia", file, notes=notes_to_export(store, [id]), overwrite=True)
    value = json.loads(file.read_text())
    ids = {node["clerp"].partition(": ")[0]: node["node_id"] for node in value["nodes"]}
    for node in value["nodes"]:
        node["clerp"] = labels.get(node["clerp"].partition(": ")[0], node["clerp"])
    value["qParams"]["supernodes"] += [[label, *(ids[name] for name in names)] for label, *names in groups]
    file.write_text(json.dumps(value))
    return value


def test_labels_and_groups_become_notes_once_and_are_exported_again(store: Store, tmp_path: Path) -> None:
    record, file = store.circuit(store.circuits()["id"][0]), tmp_path / "graph.json"
    first, second = [name for name in record.circuit.nodes if ".h" in name][:2]
    labelled(store, file, {first: "reads the word", second: ""}, [["readers", first, second]])
    label, group = import_labels(store, file, author="ada")
    model = record.item.model.id
    assert [s.text for s in label.about] == [f"circuit:{record.id}", f"component:{model}/{first}"]
    assert (label.text, label.tags, group.text, group.tags) == ("reads the word", ("label",), "readers", ("supernode",))
    assert len(group.about) == 3
    assert import_labels(store, file, author="ada") == []
    value = labelled(store, file, {}, [])  # exported with the notes, and read back: nothing is new
    assert f"{first}: reads the word" in {node["clerp"] for node in value["nodes"]}
    assert [found[0] for found in value["qParams"]["supernodes"]] == ["readers"]
    assert import_labels(store, file, author="grace") == []


def test_only_formats_with_room_have_notes(store: Store) -> None:
    ids = list(store.circuits()["id"])
    records = [store.circuit(id) for id in ids]
    note = add_note(store, "in every circuit", about=["component:logits"], author="ada")
    notes = notes_to_export(store, ids[1:])
    assert note in notes and all(len(n.about) == 1 for n in notes)  # not those about the first circuit
    for format in ("neuronpedia", "circuit-tracer"):
        assert any(b"in every circuit" in data for data in encoded(records, format, notes).values())
        assert not any(b"in every circuit" in data for data in encoded(records, format).values())
    assert encoded(records, "csv", notes) == encoded(records, "csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metadata": {"slug": "mine"}}, "metadata.slug: expected the name of a circuit that circuitstore wrote"),
        ({"metadata": {"slug": "mine-00000000"}}, "no circuit has an id that begins with '00000000'"),
        ({"nodes": {}}, "nodes: expected a list, got dict"),
        ({"nodes": [{"feature": 10**9}]}, r"nodes\[0\].feature: expected a whole number below"),
        ({"nodes": [3]}, r"nodes\[0\].feature: expected a whole number below"),
        ({"qParams": {"supernodes": [["a", "none"]]}}, r"qParams.supernodes\[0\]: expected a label and ids of nodes"),
    ],
)
def test_what_cannot_be_read_is_named(store: Store, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    file = tmp_path / "graph.json"
    value = labelled(store, file, {}, [])
    file.write_text(json.dumps(value | change))
    before = store.notes(replaced=True)
    with pytest.raises(InputError, match=message):
        import_labels(store, file)
    assert store.notes(replaced=True).equals(before)
    with pytest.raises(InputError, match="cannot read the file"):
        import_labels(store, tmp_path / "none.json")
