"""Lossless conversion of discoveries, circuits, responses and requests of runs to Arrow tables and back.

A table's columns are arrays in flat index order; everything else is JSON in the schema's metadata
(the header), so one file is enough to rebuild its rows of the catalog and its part of the graph.

| file | rows | columns |
|---|---|---|
| discovery | edges of the universe | `mean`, `std` (float32), `member` (bool), `image_0` … (float16) |
| circuit | member edges | `edge` (flat index), `rank` (1 = first extracted), `score`, `std`, `frequency` (float32) |
| response | images | `metric` (float64), `predicted`, `true` (int32), `hit` (bool) |
| fit | bytes | `bytes` (uint8): the arrays one after the other, see `fit_encoding` |
| example | values of pixels | `clean_0`, `attacked_0` … (uint8), see `example_encoding` |
| note | bytes | `text` (uint8), see `note_encoding` |
| run | bytes | `asked` (uint8): items and circuits as JSON, which compresses better here than in the header |

Columns without values are left out. Scores per image are mantissas; each image's power of two is in the header. The
header has its own checksum and those of all columns, so that a part of a file can be checked without reading the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int, Integer

from ..circuits import (
    Circuit,
    CircuitRecord,
    Discovery,
    EdgeScores,
    Evaluation,
    ExampleImages,
    Extraction,
    Fit,
    ModelInfo,
    Note,
    ReadoutRecord,
    Recipe,
    Response,
    Trial,
    Universe,
    UniverseUse,
    WorkItem,
    universe_of,
)
from ..circuits.scores import from_half, to_half
from ..errors import InputError, StoreDamaged, StoreVersion
from .runs import RunRequest

FORMAT = 1
"""Version of the file format; reading a newer one raises StoreVersion."""

HEADER, CHECKSUM = b"circuitstore", b"circuitstore.sha256"
Header = dict[str, Any]
Columns = Mapping[str, np.ndarray]
Stored = Discovery | CircuitRecord | Response | ExampleImages | ReadoutRecord | Fit | Note
"""A value that a store holds."""


def header_universe(header: Header) -> Universe:
    """Return the universe whose edges index the arrays of a file.

    Raises:
        StoreVersion: no installed package has it.
    """
    return _universe(ModelInfo(**header["item"]["model"]), Recipe.from_dict(header["item"]["recipe"]).over)


def _universe(model: ModelInfo, use: UniverseUse) -> Universe:
    try:
        return universe_of(model, use)
    except InputError as error:
        raise StoreVersion(f"its universe is unknown: {error}") from error


def _check_universe(what: str, item: WorkItem, universe: Universe) -> None:
    """Check that a value is over the universe that its question names, because it is read with that one.

    Raises:
        InputError: it is over another one, or no installed package has that one.
    """
    expected = universe_of(item.model, item.recipe.over)
    if universe != expected:
        raise InputError(f"{what}: expected edges of {expected}, the universe of its question, got those of {universe}")


def column_checksum(values: np.ndarray) -> str:
    """Return the SHA-256 of the little-endian bytes."""
    return sha256(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).data).hexdigest()


def to_table(header: Header, columns: Columns) -> pa.Table:
    """Return a table with the header in its metadata.

    Raises:
        InputError: the header has a value that JSON cannot represent (NaN, an array …).
    """
    header = header | {"format": FORMAT, "columns": {name: column_checksum(v) for name, v in columns.items()}}
    try:
        text = json.dumps(header, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{header['kind']} {header['id']}: trace and provenance must be JSON values: {error}"
        ) from error
    metadata = {HEADER: text, CHECKSUM: sha256(text).hexdigest().encode()}
    fields = [pa.field(name, pa.from_numpy_dtype(v.dtype), nullable=False) for name, v in columns.items()]
    return pa.Table.from_arrays([pa.array(v) for v in columns.values()], schema=pa.schema(fields, metadata))


def header_of(schema: pa.Schema) -> Header:
    """Return the header of a file, after checking it.

    Raises:
        StoreDamaged: there is no header, or it does not match its checksum.
        StoreVersion: the file was written by a newer version.
    """
    metadata = schema.metadata or {}
    text = metadata.get(HEADER)
    if text is None or sha256(text).hexdigest().encode() != metadata.get(CHECKSUM):
        raise StoreDamaged("its header is missing or does not match its checksum")
    header = json.loads(text)
    if header["format"] > FORMAT:
        raise StoreVersion(
            f"its format is {header['format']}, this version of circuitstore reads up to {FORMAT}; update circuitstore"
        )
    return header


def column(header: Header, table: pa.Table, name: str) -> np.ndarray:
    """Return a column, after comparing it with its checksum.

    Raises:
        StoreDamaged: it is missing or does not match.
    """
    if name not in table.column_names:
        raise StoreDamaged(f"its column {name!r} is missing")
    values = table.column(name).to_numpy()
    if column_checksum(values) != header["columns"].get(name):
        raise StoreDamaged(f"its column {name!r} does not match its checksum")
    return values


def _optional(header: Header, table: pa.Table, name: str) -> np.ndarray | None:
    return column(header, table, name) if name in header["columns"] else None


def rounded(discovery: Discovery) -> Discovery:
    """Return the discovery with the precision of the archive: float32, and `EdgeScores.rounded` for scores per image.

    Examples:
        >>> discovery = store.discovery(store.circuits()["discovery_id"].iloc[0])
        >>> rounded(discovery).sha256 == discovery.sha256
        True
    """
    scores = discovery.scores
    if scores is None:
        return discovery
    fields = {
        name: None if (v := getattr(scores, name)) is None else v.astype(np.float32)
        for name in ("mean", "std", "per_image")
    }
    return replace(discovery, scores=replace(scores, **fields).rounded())


def discovery_to_table(discovery: Discovery, created_ms: int) -> pa.Table:
    """Return the table of a discovery that is `rounded`."""
    scores, columns = discovery.scores, {}
    if scores is not None:
        _check_universe(f"discovery {discovery.id[:12]}", discovery.item, scores.universe)
    header: Header = {
        "kind": "discovery",
        "id": discovery.id,
        "sha256": discovery.sha256,
        "created_ms": created_ms,
        "item": discovery.item.to_dict(),
        "images": list(discovery.images),
        "trace": dict(discovery.trace),
        "provenance": dict(discovery.provenance),
        "scores": None,
    }
    if scores is not None:
        half, exponent = to_half(scores.per_image) if scores.per_image is not None else (None, None)
        header["scores"] = {
            "additive": scores.additive,
            "signed": scores.signed,
            "residual": scores.residual,
            "residual_absolute": scores.residual_absolute,
            "shares": scores.shares,
            "exponents": None if exponent is None else exponent.tolist(),
        }
        columns["mean"] = scores.mean
        if scores.std is not None:
            columns["std"] = scores.std
        if half is not None:
            columns |= {f"image_{i}": half[i] for i in range(len(half))}
    if discovery.members is not None:
        columns["member"] = discovery.members
    return to_table(header, columns)


def discovery_from_table(header: Header, table: pa.Table) -> Discovery:
    """Inverse of `discovery_to_table`.

    Raises:
        StoreDamaged: an array, or the whole, does not match its checksum.
    """
    item = WorkItem.from_dict(header["item"])
    discovery = Discovery(
        item,
        _scores_from_table(header, table, _universe(item.model, item.recipe.over)),
        tuple(header["images"]),
        _optional(header, table, "member"),
        header["trace"],
        header["provenance"],
    )
    check_identity(header, discovery)
    return discovery


def discovery_means(header: Header, table: pa.Table) -> Discovery:
    """Return a discovery without its scores per image, after comparing each array with its checksum."""
    facts = header["scores"]
    slim = header if facts is None else header | {"scores": facts | {"exponents": None}}
    item = WorkItem.from_dict(header["item"])
    scores = _scores_from_table(slim, table, _universe(item.model, item.recipe.over))
    return Discovery(
        item, scores, tuple(header["images"]), _optional(header, table, "member"), header["trace"], header["provenance"]
    )


def _scores_from_table(header: Header, table: pa.Table, universe: Universe) -> EdgeScores | None:
    facts = header["scores"]
    if facts is None:
        return None
    per_image = None
    if facts["exponents"] is not None:
        half = [column(header, table, f"image_{i}") for i in range(len(facts["exponents"]))]
        per_image = from_half(np.stack(half), np.array(facts["exponents"], np.int16))
    return EdgeScores(
        universe,
        column(header, table, "mean"),
        _optional(header, table, "std"),
        per_image,
        additive=facts["additive"],
        signed=facts["signed"],
        residual=facts["residual"],
        residual_absolute=facts.get("residual_absolute"),  # missing in files of the first release,
        shares=facts.get("shares", False),  # as is this
    )


def check_identity(header: Header, value: Stored) -> None:
    """Compare the id and the checksum of a value that was read with those in its header.

    Raises:
        StoreDamaged: they differ.
    """
    if value.id != header["id"]:
        raise StoreDamaged(f"its header has the id {header['id']}, its content has {value.id}")
    if value.sha256 != header["sha256"]:
        raise StoreDamaged(f"its checksum is {header['sha256']}, that of its content is {value.sha256}")


def circuit_to_table(record: CircuitRecord, created_ms: int) -> pa.Table:
    """Return the table of a circuit, with the values of member edges only."""
    circuit = record.circuit
    _check_universe(f"circuit {record.id[:12]}", record.item, circuit.universe)
    members = np.flatnonzero(circuit.members)
    columns = {"edge": members.astype(np.uint32), "rank": circuit.ranks[members].astype(np.uint32)}
    kept = {"score": circuit.score, "std": circuit.std, "frequency": record.frequency}
    for name, values in kept.items():
        if values is not None:
            columns[name] = values[members].astype(np.float32)
    header: Header = {
        "kind": "circuit",
        "id": record.id,
        "sha256": record.sha256,
        "created_ms": created_ms,
        "item": record.item.to_dict(),
        "extraction": record.extraction.to_dict(),
        "extracted": circuit.extraction,
        "size_requested": circuit.size_requested,
        "n_images": record.n_images,
        "evaluation": None if record.evaluation is None else asdict(record.evaluation),
        "full_in": _shortest(record.full_in),
        "full_out": _shortest(record.full_out),
        "notes": list(record.notes),
        **({"responses": dict(record.responses)} if record.responses else {}),
    }
    return to_table(header, columns)


def _shortest(values: Iterable[float] | None) -> list[float] | None:
    """Return each value as the shortest decimal of the same float32, a third of the digits of a double."""
    return None if values is None else [float(str(np.float32(v))) for v in values]


def _floats(values: list[float] | None) -> Float[np.ndarray, "node"] | None:
    return None if values is None else np.array(values, np.float32)


def circuit_from_table(header: Header, table: pa.Table) -> CircuitRecord:
    """Inverse of `circuit_to_table`; scores, deviations and frequencies are NaN outside the circuit.

    Raises:
        StoreDamaged: an array, or the whole, does not match its checksum.
    """
    item = WorkItem.from_dict(header["item"])
    universe = _universe(item.model, item.recipe.over)
    edges = column(header, table, "edge").astype(int)
    order = edges[np.argsort(column(header, table, "rank"))]
    score, std, frequency = (
        _spread(universe, edges, _optional(header, table, n)) for n in ("score", "std", "frequency")
    )
    circuit = Circuit(universe, mask(universe, edges), header["size_requested"], order, header["extracted"], score, std)
    record = CircuitRecord(
        item=item,
        extraction=Extraction.from_dict(header["extraction"]),
        circuit=circuit,
        n_images=header["n_images"],
        evaluation=_evaluation(header["evaluation"]),
        frequency=frequency,
        full_in=_floats(header["full_in"]),
        full_out=_floats(header["full_out"]),
        notes=tuple(header["notes"]),
        responses=header.get("responses", {}),
    )
    check_identity(header, record)
    return record


def response_to_table(response: Response, created_ms: int) -> pa.Table:
    """Return the table of a response."""
    header: Header = {
        "kind": "response",
        "id": response.id,
        "sha256": response.sha256,
        "created_ms": created_ms,
        "trial": response.trial.to_dict(),
        "images": list(response.images),
        "provenance": dict(response.provenance),
    }
    columns = {
        "metric": response.metric.astype(np.float64),
        "predicted": response.predicted.astype(np.int32),
        "true": response.true.astype(np.int32),
        "hit": response.hit,
    }
    return to_table(header, columns)


def response_from_table(header: Header, table: pa.Table) -> Response:
    """Inverse of `response_to_table`.

    Raises:
        StoreDamaged: an array, or the whole, does not match its checksum.
    """
    arrays = {name: column(header, table, name) for name in ("metric", "predicted", "true", "hit")}
    trial, images = Trial.from_dict(header["trial"]), tuple(header["images"])
    response = Response(trial, images, **arrays, provenance=header["provenance"])
    check_identity(header, response)
    return response


def request_to_table(request: RunRequest, store_id: str) -> pa.Table:
    """Return the table of a request of a run, with the id of its store."""
    content = {
        "items": [item.to_dict() for item in request.items],
        "circuits": [[item, extraction.to_dict()] for item, extraction in request.circuits],
        **({"values": [list(value) for value in request.values]} if request.values else {}),
    }
    header: Header = {
        "kind": "run",
        "id": request.id,
        "store": store_id,
        "run": request.run,
        "spec": request.spec,
        "created_ms": request.created_ms,
    }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    return to_table(header, {"asked": np.frombuffer(text, np.uint8)})


def request_from_table(header: Header, table: pa.Table) -> RunRequest:
    """Inverse of `request_to_table`.

    Raises:
        StoreDamaged: it does not match its checksum or its id.
    """
    content = json.loads(column(header, table, "asked").tobytes())
    request = RunRequest(
        header["run"],
        header["spec"],
        tuple(WorkItem.from_dict(item) for item in content["items"]),
        tuple((item, Extraction.from_dict(extraction)) for item, extraction in content["circuits"]),
        header["created_ms"],
        tuple((kind, id) for kind, id in content.get("values", ())),
    )
    if request.id != header["id"]:
        raise StoreDamaged(f"its header has the id {header['id']}, its content has {request.id}")
    return request


def mask(universe: Universe, edges: Integer[np.ndarray, "member"]) -> Bool[np.ndarray, "edge"]:
    """Return member edges as booleans."""
    members = np.zeros(universe.n_edges, bool)
    members[edges] = True
    return members


def _spread(
    universe: Universe, edges: Int[np.ndarray, "member"], values: np.ndarray | None
) -> Float[np.ndarray, "edge"] | None:
    if values is None:
        return None
    full = np.full(universe.n_edges, np.nan, np.float32)
    full[edges] = values
    return full


def _evaluation(value: Mapping[str, Any] | None) -> Evaluation | None:
    if value is None:
        return None
    return Evaluation(**{**value, "metric_random": tuple(value["metric_random"])})
