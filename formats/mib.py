"""The folder of the MIB circuit track: a folder for each class and model, with EAP-IG's JSON files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ..circuits import CircuitRecord
from .eap_ig import EAP_IG
from .file_names import file_name
from .format import Files, FormatKind


def _written(records: Sequence[CircuitRecord]) -> Files:
    assert EAP_IG.write is not None
    tasks: dict[str, list[CircuitRecord]] = defaultdict(list)
    for record in records:
        task = f"{record.item.target_class.name}-{record.item.condition.text}"
        tasks[f"{file_name(task)}_{file_name(record.item.model.name)}"].append(record)
    files = {}
    for folder, circuits in tasks.items():
        for record in circuits:
            what = "circuit" if record.circuit.score is None else "importances"
            name = what if len(circuits) == 1 else f"{file_name(record.extraction.text)}-{record.id[:8]}"
            files[f"{folder}/{name}.json"] = EAP_IG.write([record])[""]
    return files


MIB = FormatKind(
    key="mib",
    name="Folder of the MIB circuit track: a folder TASK_MODEL for each class and condition, with EAP-IG's JSON",
    source="MIB-circuit-track, README",
    write=_written,
)
