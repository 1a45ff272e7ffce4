"""The archive: a folder of immutable Parquet files, from which catalog and graph can be rebuilt.

A value is the file `archive/FOLDER/ab/<id>.parquet`: the folder is that of its kind (`kinds.KINDS`), `ab` the first two
digits of its id. `archive/runs` contains the requests of runs. Files are created whole by `write_atomic` and never
changed; `encoding` describes their content. All data read are compared with their checksums. `archive/unfinished`
contains the progress on unanswered items, which may be lost.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float

from ..circuits import CircuitRecord, Discovery, Response, Universe, digest
from ..errors import InputError, StoreDamaged, StoreError, StoreVersion, cut
from . import encoding, files
from .kinds import CIRCUIT, DISCOVERY, KINDS, RESPONSE, Stored, StoredKind, kind_of
from .lease import Permit
from .runs import RunRequest

V = TypeVar("V", bound=Stored)

RUN = "run"
"""The kind of the requests of runs, in addition to the kinds of values."""

SUFFIX = ".parquet"
MAX_ID = 200  # with the suffix of a file that was set aside, it must still be a valid file name
IDENTITY = "store.json"
"""File with the id of the store that an archive belongs to, so that a lost catalog can be rebuilt."""

UNSEALED = {"store", "format"}
"""Keys of such a file in its first format, without a checksum; the next writer adds it."""

REMOVING = "removing.json"
"""File with the ids that are being removed, written before they are deleted from the catalog."""

_UNFINISHED = "unfinished"
"""Folder of the journals."""

_END = b"PAR1"  # last bytes of a Parquet file

DAMAGED = ".damaged"
"""Suffix of a file that was set aside."""


class Archive:
    """The files of one store.

    Reading raises `StoreDamaged`, which names the file and the remedy, if a file is missing, cut short or altered, and
    `StoreVersion` if a newer version wrote it. Writing raises `StoreError`.
    """

    def __init__(self, folder: Path, permit: Permit = nullcontext) -> None:
        """Initialize the archive in a folder; changes require the `permit` of the writer."""
        self.folder, self.permit = folder, permit

    @property
    def identity(self) -> str | None:
        """Id of the store that the archive belongs to; None for a folder without archive.

        Raises:
            StoreDamaged: the file with the id is damaged.
        """
        path = self.folder / IDENTITY
        found = _unsealed(path, "run circuitstore rebuild, which writes it again")
        if found is None:
            return None
        if found["format"] > encoding.FORMAT:
            raise StoreVersion(
                f"{path}: the archive's format is {found['format']}, this version of circuitstore reads up to "
                f"{encoding.FORMAT}; update circuitstore"
            )
        return found["store"]

    def make(self, store_id: str) -> None:
        """Create the folder of the archive, with the id of its store."""
        identity = {"store": store_id, "format": encoding.FORMAT}
        files.write_atomic(self.folder / IDENTITY, _sealed(identity), self.permit)

    def seal(self, store_id: str) -> None:
        """Write the file with the store's id again if it has no checksum yet."""
        with suppress(OSError, ValueError):
            if set(json.loads((self.folder / IDENTITY).read_bytes())) == UNSEALED:
                self.make(store_id)

    def identity_in_runs(self) -> str | None:
        """Return the store's id from a request of a run, for use if `identity` is lost; None if there is none."""
        for id in self.ids(RUN):
            with suppress(StoreDamaged):
                return str(self._read(RUN, id, [])[0]["store"])
        return None

    def path(self, kind: str, id: str) -> Path:
        """Return the path of a file, which need not exist. `kind`, here and below: a name in `KINDS`, or `RUN`.

        Raises:
            InputError: the id is not a string of letters and digits.
        """
        if not isinstance(id, str) or not id.isalnum() or len(id) > MAX_ID:
            raise InputError(f"expected the full id of a {kind}, in letters and digits, got {cut(repr(id))}")
        return self._folder(kind) / id[:2] / f"{id}{SUFFIX}"

    def _folder(self, kind: str) -> Path:
        return self.folder / ("runs" if kind == RUN else KINDS[kind].folder)

    def has(self, kind: str, id: str) -> bool:
        return self.path(kind, id).is_file()

    def looks_whole(self, kind: str, id: str) -> bool:
        """Return whether a file exists and is not cut short, without reading its content."""
        try:
            with self.path(kind, id).open("rb") as file:
                file.seek(-len(_END), os.SEEK_END)
                return file.read() == _END
        except OSError:
            return False

    def ids(self, kind: str) -> Iterator[str]:
        """Return the ids of all files of a kind, sorted, without reading their content."""
        found = sorted(self._folder(kind).glob(f"??/*{SUFFIX}"))
        return (path.name.removesuffix(SUFFIX) for path in found if path.name[:2] == path.parent.name)

    def holds_anything(self) -> bool:
        return any(next(self.ids(kind), None) for kind in (*KINDS, RUN))

    def leftovers(self) -> list[Path]:
        """Return the temporary files. If no writer is running, they are leftovers of a killed one."""
        return sorted(self.folder.rglob(f"*{files.TEMPORARY}"))

    def sweep(self) -> int:
        """Delete the temporary files of a killed writer; return their number. Only the writer may call it."""
        left = self.leftovers()
        for path in left:
            files.remove(path, self.permit)
        return len(left)

    def journal(self, id: str) -> Path:
        """Return the path of the file in which a long method stores its progress on an item."""
        return self.folder / _UNFINISHED / f"{id}.journal"

    def sweep_journals(self, kept: Collection[str]) -> int:
        """Delete all files in the folder of journals except the journals of these items; return their number."""
        journals = {self.journal(id) for id in kept}
        left = [path for path in (self.folder / _UNFINISHED).glob("*") if path not in journals]
        for path in left:
            files.remove(path, self.permit)
        return len(left)

    def write(self, value: Stored, created_ms: int) -> None:
        """Store a value that is canonical (`StoredKind.canonical`).

        Raises:
            InputError: the value is a circuit that is not pruned.
        """
        kind = kind_of(value)
        if flaw := kind.flaw(value):
            raise InputError(f"{kind.name} {value.id[:12]}: {flaw}")
        self._write(kind.name, value.id, kind.encode(value, created_ms))

    def write_request(self, request: RunRequest, store_id: str) -> None:
        """Store a request of a run."""
        self._write(RUN, request.id, encoding.request_to_table(request, store_id))

    def _write(self, kind: str, id: str, table: pa.Table) -> None:
        split = [f.name for f in table.schema if pa.types.is_floating(f.type) or pa.types.is_uint8(f.type)]
        sink = pa.BufferOutputStream()
        pq.write_table(
            table,
            sink,
            compression="zstd",
            use_dictionary=False,  # few values occur twice
            use_byte_stream_split=cast(Any, split),  # exponents, and the zeros of 8-bit values in 32 bits, compress
            write_statistics=False,
        )
        files.write_atomic(self.path(kind, id), memoryview(sink.getvalue()), self.permit)

    def request(self, id: str) -> RunRequest:
        """Return a request of a run."""
        header, table = self._read(RUN, id, None)
        with self._naming(RUN, id):
            return encoding.request_from_table(header, table)

    def read(self, kind: StoredKind[V], id: str) -> tuple[V, int]:
        """Return a value, bit by bit as it was stored, and its `created_ms` (epoch milliseconds)."""
        header, table = self._read(kind.name, id, None)
        with self._naming(kind.name, id):
            value = kind.decode(header, table)
            if flaw := kind.flaw(value):
                raise StoreDamaged(flaw)
            return value, header["created_ms"]

    def discovery(self, id: str, *, per_image: bool = True) -> tuple[Discovery, int]:
        """Return a discovery as by `read`; without `per_image`, read only means, deviations and selected edges."""
        if per_image:
            return self.read(DISCOVERY, id)
        header, table = self._read(DISCOVERY.name, id, ["mean", "std", "member"])
        with self._naming(DISCOVERY.name, id):
            return encoding.discovery_means(header, table), header["created_ms"]

    def circuit(self, id: str) -> tuple[CircuitRecord, int]:
        """Return a circuit as by `read`; values per edge are NaN outside the circuit."""
        return self.read(CIRCUIT, id)

    def response(self, id: str) -> tuple[Response, int]:
        """Return a response as by `read`."""
        return self.read(RESPONSE, id)

    def iter_scores(self, ids: Iterable[str]) -> Iterator[Float[np.ndarray, "edge"]]:
        """Read only the mean scores of discoveries over the same universe, one after the other.

        Raises:
            InputError: a discovery has no scores, or the universes differ.
        """

        def mean(header: encoding.Header, table: pa.Table) -> np.ndarray:
            if header["scores"] is None:
                raise InputError(f"discovery {header['id']} has selected edges but no scores")
            return encoding.column(header, table, "mean")

        return self._each(DISCOVERY.name, ids, "mean", mean)

    def iter_members(self, ids: Iterable[str]) -> Iterator[Bool[np.ndarray, "edge"]]:
        """Read only the member edges of circuits over the same universe, one after the other.

        Raises:
            InputError: the universes differ.
        """

        def mask(header: encoding.Header, table: pa.Table) -> np.ndarray:
            return encoding.mask(encoding.header_universe(header), encoding.column(header, table, "edge"))

        return self._each(CIRCUIT.name, ids, "edge", mask)

    def _each(
        self, kind: str, ids: Iterable[str], column: str, row: Callable[[encoding.Header, pa.Table], np.ndarray]
    ) -> Iterator[np.ndarray]:
        first: tuple[str, Universe] | None = None
        for id in ids:
            header, table = self._read(kind, id, [column])
            with self._naming(kind, id):
                universe, values = encoding.header_universe(header), row(header, table)
            first = first or (id, universe)
            if universe != first[1]:
                raise InputError(f"{first[0]} is over {first[1]}, {id} over {universe}; choose those of one universe")
            yield values

    def scores(self, ids: Sequence[str]) -> Float[np.ndarray, "discovery edge"]:
        """Return the rows of `iter_scores` as a matrix.

        Raises:
            InputError: as for `iter_scores`, or there are no ids.
        """
        listed = list(_listed(ids))
        return _stacked(self.iter_scores(listed), len(listed))

    def members(self, ids: Sequence[str]) -> Bool[np.ndarray, "circuit edge"]:
        """Return the rows of `iter_members` as a matrix.

        Raises:
            InputError: as for `iter_members`, or there are no ids.
        """
        listed = list(_listed(ids))
        return _stacked(self.iter_members(listed), len(listed))

    def remove(self, kind: str, id: str) -> None:
        """Delete a file, if it exists."""
        files.remove(self.path(kind, id), self.permit)

    def announce_removal(self, ids: Mapping[str, Sequence[str]]) -> None:
        """Store the ids that will be removed, to distinguish their files from those that a lost catalog listed."""
        files.write_atomic(
            self.folder / REMOVING, _sealed({kind: list(some) for kind, some in ids.items()}), self.permit
        )

    def announced(self) -> dict[str, list[str]]:
        """Return the announced ids of an unfinished removal, by kind.

        Raises:
            StoreDamaged: the file cannot be read; the values that it names are kept.
        """
        found = _unsealed(self.folder / REMOVING, "its files are kept, and circuitstore verify lists them") or {}
        return {kind: found.get(kind, []) for kind in (*KINDS, RUN)}

    def end_removal(self) -> None:
        """Delete the list of announced ids, after all of them were removed."""
        files.remove(self.folder / REMOVING, self.permit)

    def set_aside(self, kind: str, id: str) -> Path | None:
        """Rename a damaged file, so that it can be written again; return its new path, or None if there is no file."""
        path = self.path(kind, id)
        return files.rename(path, path.with_name(path.name + DAMAGED), self.permit) if path.exists() else None

    def _read(self, kind: str, id: str, columns: list[str] | None) -> tuple[encoding.Header, pa.Table]:
        """Read the header and those of the given columns that the file has."""
        with self._naming(kind, id):
            try:
                with pq.ParquetFile(self.path(kind, id)) as file:
                    header = encoding.header_of(file.schema_arrow)
                    wanted = None if columns is None else [c for c in columns if c in header["columns"]]
                    table = file.read(wanted, use_threads=False)
            except FileNotFoundError:
                raise StoreDamaged("it is missing") from None
            except (OSError, pa.ArrowException, ValueError) as error:
                raise StoreDamaged(f"it cannot be read: {str(error).splitlines()[0]}") from error
            if (header["kind"], header["id"]) != (kind, id):
                raise StoreDamaged(f"it contains the {header['kind']} {header['id']}")
            return header, table

    @contextmanager
    def _naming(self, kind: str, id: str) -> Iterator[None]:
        """Add the path and the remedy to errors about a file."""
        try:
            yield
        except StoreVersion as error:
            raise StoreVersion(f"{self.path(kind, id)}: {error}") from None
        except StoreDamaged as error:
            again = "which writes it again" if kind == RUN else "then index again, or store your own result again"
            remedy = f"restore it from a backup, or run circuitstore rebuild, {again}"
            raise StoreDamaged(f"{kind} file {self.path(kind, id)}: {error}; {remedy}") from error.__cause__


def _sealed(value: Mapping[str, Any]) -> bytes:
    """Encode a JSON object with its checksum."""
    return json.dumps({**value, "sha256": digest(dict(value))}).encode()


def _unsealed(path: Path, remedy: str) -> dict[str, Any] | None:
    """Return the JSON object in a file that `_sealed` encoded; None if there is no file.

    Raises:
        StoreDamaged: the object does not match its checksum.
        StoreError: the file cannot be read.
    """
    try:
        value = json.loads(path.read_bytes())
        if set(value) == UNSEALED or value.pop("sha256", None) == digest(value):
            return value
        reason = "it does not match its checksum"
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(files.explain(error, path, "read")) from error
    except (ValueError, AttributeError) as error:
        reason = str(error)
    raise StoreDamaged(f"{path} is damaged ({reason}); {remedy}")


def _listed(ids: Sequence[str]) -> Sequence[str]:
    """Return the ids if they are a list.

    Raises:
        InputError: they are a string, or not iterable.
    """
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise InputError(f"expected a list of ids, got {cut(repr(ids))}")
    return ids


def _stacked(rows: Iterator[np.ndarray], count: int) -> np.ndarray:
    """Return the rows as a matrix, without a second copy of all rows."""
    first = next(rows, None)
    if first is None:
        raise InputError("expected at least one id, got none")
    matrix = np.empty((count, len(first)), first.dtype)
    for i, row in enumerate(chain([first], rows)):
        matrix[i] = row
    return matrix
