"""Write circuits to a file or folder of another tool: all of it or nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..circuits import CircuitRecord, Note
from ..errors import InputError
from ..results import write_whole
from .format import Files
from .registry import FORMATS


def encoded(records: Iterable[CircuitRecord], format: str, notes: Sequence[Note] = ()) -> Files:
    """Return the files of a format for some circuits, by path within a folder; a single file has the path `""`.

    Args:
        records: the circuits.
        format: one of `FORMATS` that can be written.
        notes: notes about their components, for formats that have room for notes.

    Raises:
        InputError: an unknown format or one that is only read; no circuit, or one twice; a circuit that the format
            cannot have.

    Examples:
        >>> list(encoded([store.circuit(id) for id in store.circuits()["id"][:2]], "csv"))
        ['']
    """
    kind, chosen = FORMATS[format], list(records)
    if kind.write is None:
        writable = ", ".join(key for key, other in FORMATS.items() if other.write is not None)
        raise InputError(f"format: {format} is only read; formats that are written: {writable}")
    if not chosen:
        raise InputError("expected at least one circuit, got none")
    ids = [record.id for record in chosen]
    twice = next((id for i, id in enumerate(ids) if id in ids[:i]), None)
    if twice:
        raise InputError(f"circuit {twice[:12]} is given twice; give it once")
    return kind.write_noted(chosen, notes) if notes and kind.write_noted else kind.write(chosen)


def export_circuits(
    records: Iterable[CircuitRecord],
    format: str,
    path: str | Path,
    *,
    overwrite: bool = False,
    notes: Sequence[Note] = (),
) -> Path:
    """Write circuits in the format of another tool. A file or folder appears completely or not at all.

    Formats with one circuit per file write several circuits to a folder, each to a file that is named by its id.

    Args:
        records: the circuits, as `Store.circuit` returns them.
        format: one of `FORMATS` that can be written.
        path: the file or folder to write.
        overwrite: whether to replace a file that exists. A folder is never replaced.
        notes: notes about their components, for formats that have room for notes.

    Returns:
        The path.

    Raises:
        InputError: as for `encoded`; or the path exists, or cannot be written. Nothing was written.

    Examples:
        >>> records = [store.circuit(id) for id in store.circuits()["id"]]
        >>> folder_of_files = export_circuits(records, "graphml", folder / "circuits")
        >>> len(list(folder_of_files.iterdir())) == len(records)
        True
    """
    path = Path(path)
    files = encoded(records, format, notes)
    if list(files) == [""]:
        _check_file(path, overwrite)
        write_whole(path, files[""])
    else:
        _write_folder(path, files)
    return path


def _check_file(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise InputError(f"{path}: is a folder, and this format writes one file; give the name of a file")
    if path.is_file() and not overwrite:
        raise InputError(
            f"{path}: exists already; choose another name, or replace it with --overwrite (overwrite=True)"
        )


def _write_folder(path: Path, files: Files) -> None:
    """Write a folder beside its place, then move it there."""
    try:
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise InputError(f"{path}: exists already, and several files are written; choose a new or an empty folder")
        temporary = path.with_name(f".circuitstore-{os.getpid()}-{path.name}.tmp")
        temporary.mkdir()
    except OSError as error:
        raise InputError(f"{path}: cannot write ({error.strerror or error}); choose an existing folder") from error
    try:
        for name, content in files.items():
            file = temporary / name
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, content)
        if path.exists():
            path.rmdir()
        temporary.rename(path)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            raise InputError(f"{path}: cannot write ({error.strerror or error}); choose another folder") from error
        raise
