"""The archive: a folder of immutable Parquet files, the truth from which the rest can be rebuilt.

A value is the file `archive/FOLDER/ab/<id>.parquet`: the folder is that of its kind (`kinds.KINDS`), `ab` the first two
digits of its id. `archive/runs` has what each run was asked for, and when. Files are created whole by `write_atomic`
and never changed; `encoding` says what is in them. Whatever is read is compared with its checksum. `archive/unfinished`
has the progress on items that are not answered yet, which may be lost.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
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
from .runs import Asked

V = TypeVar("V", bound=Stored)

RUN = "run"
"""What runs were asked for, beside the kinds of values."""

SUFFIX = ".parquet"
MAX_ID = 200  # with the suffixes of what is set aside it is still a file's name
IDENTITY = "store.json"
"""Names the store that an archive belongs to, so that a lost catalog can be made again."""

UNSEALED = {"store", "format"}
"""What is in such a file that has no checksum yet, as it had none at first; the next writer adds it."""

REMOVING = "removing.json"
"""Names what is being removed, from before the catalog forgets it until it is gone."""

_UNFINISHED = "unfinished"
"""The folder of the journals, beside those of what is finished."""

_END = b"PAR1"  # how a Parquet file ends

DAMAGED = ".damaged"
"""Suffix of a file that was set aside."""


class Archive:
    """The files of one store.

    Reading raises `StoreDamaged`, naming the file and the remedy, when a file is missing, cut short or
    altered, and `StoreVersion` when a newer version wrote it. Writing raises `StoreError`.
    """

    def __init__(self, folder: Path, permit: Permit = nullcontext) -> None:
        """The archive in a folder; whatever changes it needs the `permit` of the writer."""
        self.folder, self.permit = folder, permit

    @property
    def identity(self) -> str | None:
        """Id of the store that the archive belongs to; None for a folder without archive.

        Raises:
            StoreDamaged: the file that names it is damaged.
        """
        path = self.folder / IDENTITY
        found = _unsealed(path, "run: circuitstore rebuild, which writes it again")
        if found is None:
            return None
        if found["format"] > encoding.FORMAT:
            raise StoreVersion(
                f"{path}: the archive's format is {found['format']}, this version of circuitstore reads up to "
                f"{encoding.FORMAT}; update circuitstore"
            )
        return found["store"]

    def make(self, store_id: str) -> None:
        """Make the folder of a store's archive, with its identity."""
        identity = {"store": store_id, "format": encoding.FORMAT}
        files.write_atomic(self.folder / IDENTITY, _sealed(identity), self.permit)

    def seal(self, store_id: str) -> None:
        """Write the file that names the store again if it has no checksum yet."""
        with suppress(OSError, ValueError):
            if set(json.loads((self.folder / IDENTITY).read_bytes())) == UNSEALED:
                self.make(store_id)

    def identity_in_runs(self) -> str | None:
        """Id of the store as the files of its runs name it, for when `identity` is lost; None where none does."""
        for id in self.ids(RUN):
            with suppress(StoreDamaged):
                return str(self._read(RUN, id, [])[0]["store"])
        return None

    def path(self, kind: str, id: str) -> Path:
        """The path of a file, whether it is there or not. `kind`: a name in `KINDS`, or `RUN`; here and below.

        Raises:
            InputError: the id is no text, or names a folder.
        """
        if not isinstance(id, str) or not id.isalnum() or len(id) > MAX_ID:
            raise InputError(f"expected the id of a {kind} in full, letters and digits, got {cut(repr(id))}")
        return self._folder(kind) / id[:2] / f"{id}{SUFFIX}"

    def _folder(self, kind: str) -> Path:
        return self.folder / ("runs" if kind == RUN else KINDS[kind].folder)

    def has(self, kind: str, id: str) -> bool:
        return self.path(kind, id).is_file()

    def looks_whole(self, kind: str, id: str) -> bool:
        """Whether a file is there and is not cut short; its content is not read."""
        try:
            with self.path(kind, id).open("rb") as file:
                file.seek(-len(_END), os.SEEK_END)
                return file.read() == _END
        except OSError:
            return False

    def ids(self, kind: str) -> Iterator[str]:
        """Ids of all files of a kind, sorted; their content is not read."""
        found = sorted(self._folder(kind).glob(f"??/*{SUFFIX}"))
        return (path.name.removesuffix(SUFFIX) for path in found if path.name[:2] == path.parent.name)

    def holds_anything(self) -> bool:
        return any(next(self.ids(kind), None) for kind in (*KINDS, RUN))

    def leftovers(self) -> list[Path]:
        """Temporary files; where no writer is at work, a killed one left them."""
        return sorted(self.folder.rglob(f"*{files.TEMPORARY}"))

    def sweep(self) -> int:
        """Delete temporary files that a killed writer left; returns how many. For the one writer only."""
        left = self.leftovers()
        for path in left:
            files.remove(path, self.permit)
        return len(left)

    def journal(self, id: str) -> Path:
        """Where a long method keeps what it has found so far for the item of this id."""
        return self.folder / _UNFINISHED / f"{id}.journal"

    def sweep_journals(self, kept: Collection[str]) -> int:
        """Delete the journals of all items but these, and what else is beside them; returns how many files."""
        journals = {self.journal(id) for id in kept}
        left = [path for path in (self.folder / _UNFINISHED).glob("*") if path not in journals]
        for path in left:
            files.remove(path, self.permit)
        return len(left)

    def write(self, value: Stored, created_ms: int) -> None:
        """Store a value that is canonical (`StoredKind.canonical`).

        Raises:
            InputError: a circuit that is not pruned.
        """
        kind = kind_of(value)
        if flaw := kind.flaw(value):
            raise InputError(f"{kind.name} {value.id[:12]}: {flaw}")
        self._write(kind.name, value.id, kind.encode(value, created_ms))

    def write_asked(self, asked: Asked, store_id: str) -> None:
        """Keep what a run was asked for."""
        self._write(RUN, asked.id, encoding.asked_to_table(asked, store_id))

    def _write(self, kind: str, id: str, table: pa.Table) -> None:
        floats = [f.name for f in table.schema if pa.types.is_floating(f.type)]
        sink = pa.BufferOutputStream()
        pq.write_table(
            table,
            sink,
            compression="zstd",
            use_dictionary=False,  # hardly a value occurs twice
            use_byte_stream_split=cast(Any, floats),  # exponents beside exponents compress, mantissas do not
            write_statistics=False,
        )
        files.write_atomic(self.path(kind, id), memoryview(sink.getvalue()), self.permit)

    def asked(self, id: str) -> Asked:
        """What a run was asked for at one time."""
        header, table = self._read(RUN, id, None)
        with self._naming(RUN, id):
            return encoding.asked_from_table(header, table)

    def read(self, kind: StoredKind[V], id: str) -> tuple[V, int]:
        """A value, bit by bit as it was stored, and its `created_ms` (epoch milliseconds)."""
        header, table = self._read(kind.name, id, None)
        with self._naming(kind.name, id):
            value = kind.decode(header, table)
            if flaw := kind.flaw(value):
                raise StoreDamaged(flaw)
            return value, header["created_ms"]

    def discovery(self, id: str, *, per_image: bool = True) -> tuple[Discovery, int]:
        """A discovery as by `read`; without `per_image` only means, deviations and selected edges are read."""
        if per_image:
            return self.read(DISCOVERY, id)
        header, table = self._read(DISCOVERY.name, id, ["mean", "std", "member"])
        with self._naming(DISCOVERY.name, id):
            return encoding.discovery_means(header, table), header["created_ms"]

    def circuit(self, id: str) -> tuple[CircuitRecord, int]:
        """A circuit as by `read`; values per edge are NaN outside the circuit."""
        return self.read(CIRCUIT, id)

    def response(self, id: str) -> tuple[Response, int]:
        """A response as by `read`."""
        return self.read(RESPONSE, id)

    def scores(self, ids: Sequence[str]) -> Float[np.ndarray, "discovery edge"]:
        """Mean scores of discoveries over the same universe, reading nothing else.

        Raises:
            InputError: no ids, a discovery without scores, or universes that differ.
        """
        rows, universes = [], []
        for id in _listed(ids):
            header, table = self._read(DISCOVERY.name, id, ["mean"])
            if header["scores"] is None:
                raise InputError(f"discovery {id} holds selected edges and no scores")
            with self._naming(DISCOVERY.name, id):
                universes.append(encoding.header_universe(header))
                rows.append(encoding.column(header, table, "mean"))
        return _stacked(rows, universes, ids)

    def members(self, ids: Sequence[str]) -> Bool[np.ndarray, "circuit edge"]:
        """Member edges of circuits over the same universe, reading nothing else.

        Raises:
            InputError: no ids, or universes that differ.
        """
        rows, universes = [], []
        for id in _listed(ids):
            header, table = self._read(CIRCUIT.name, id, ["edge"])
            with self._naming(CIRCUIT.name, id):
                universes.append(encoding.header_universe(header))
                edges = encoding.column(header, table, "edge")
            rows.append(encoding.mask(universes[-1], edges))
        return _stacked(rows, universes, ids)

    def remove(self, kind: str, id: str) -> None:
        """Delete a file, if it is there."""
        files.remove(self.path(kind, id), self.permit)

    def announce_removal(self, ids: Mapping[str, Sequence[str]]) -> None:
        """Write down what is going to be removed, so that it is told from what a lost catalog does not list."""
        files.write_atomic(
            self.folder / REMOVING, _sealed({kind: list(some) for kind, some in ids.items()}), self.permit
        )

    def announced(self) -> dict[str, list[str]]:
        """What a removal that has not ended was to remove.

        Raises:
            StoreDamaged: that cannot be read; what it names stays.
        """
        found = _unsealed(self.folder / REMOVING, "what it names is kept, and circuitstore verify lists it") or {}
        return {kind: found.get(kind, []) for kind in (*KINDS, RUN)}

    def end_removal(self) -> None:
        """All that was announced is removed."""
        files.remove(self.folder / REMOVING, self.permit)

    def set_aside(self, kind: str, id: str) -> Path | None:
        """Rename a damaged file, so that it can be made anew; returns its new path, None where there is none."""
        path = self.path(kind, id)
        return files.rename(path, path.with_name(path.name + DAMAGED), self.permit) if path.exists() else None

    def _read(self, kind: str, id: str, columns: list[str] | None) -> tuple[encoding.Header, pa.Table]:
        """Header and the wanted columns, as far as the file has them."""
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
                raise StoreDamaged(f"it holds the {header['kind']} {header['id']}")
            return header, table

    @contextmanager
    def _naming(self, kind: str, id: str) -> Iterator[None]:
        """Adds file and remedy to what is found wrong with a file."""
        try:
            yield
        except StoreVersion as error:
            raise StoreVersion(f"{self.path(kind, id)}: {error}") from None
        except StoreDamaged as error:
            again = "which writes it again" if kind == RUN else "then index again, or store your own result again"
            remedy = f"put it back from a backup, or run: circuitstore rebuild, {again}"
            raise StoreDamaged(f"{kind} file {self.path(kind, id)}: {error}; {remedy}") from error.__cause__


def _sealed(value: Mapping[str, Any]) -> bytes:
    """A JSON object with its checksum."""
    return json.dumps({**value, "sha256": digest(dict(value))}).encode()


def _unsealed(path: Path, remedy: str) -> dict[str, Any] | None:
    """The JSON object in a file that `_sealed` made; None where there is no file.

    Raises:
        StoreDamaged: it does not match its checksum.
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
    """The ids, if they are several.

    Raises:
        InputError: it is one text, or nothing to go through.
    """
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise InputError(f"expected a list of ids, got {cut(repr(ids))}")
    return ids


def _stacked(rows: list[np.ndarray], universes: list[Universe], ids: Sequence[str]) -> np.ndarray:
    if not rows:
        raise InputError("expected at least one id, got none")
    for universe, id in zip(universes, ids, strict=True):
        if universe != universes[0]:
            raise InputError(f"{ids[0]} is over {universes[0]}, {id} over {universe}; choose those of one universe")
    return np.stack(rows)
