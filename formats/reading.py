"""Read a circuit from a file of another tool."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ..circuits import ComputationGraph
from ..errors import InputError
from .format import FileCircuit
from .registry import FORMATS

PICKLES = (".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle")
"""Suffixes of files that run code when they are loaded."""

MAX_BYTES = 2**30
"""Maximum size of a file."""


@dataclass(frozen=True, eq=False)
class SourceFile:
    """A file of another tool, read.

    Attributes:
        name: its name, without the folder.
        sha256: hash of its content.
        circuit: what it says.
    """

    name: str
    sha256: str
    circuit: FileCircuit


def read_circuit(path: str | Path, format: str, graph: ComputationGraph) -> SourceFile:
    """Read scores, a circuit, or both from a file of another tool. Nothing in the file is run.

    Args:
        path: the file.
        format: one of `FORMATS` that can be read.
        graph: the computation graph of the model that the file belongs to, in any form.

    Raises:
        InputError: an unknown format or one that is only written; a file that is missing, too large, needs code to
            load, is not of this format, or belongs to a model of another shape. The message says where.

    Examples:
        >>> record = store.circuit(store.circuits()["id"].iloc[0])
        >>> file = cs.export_circuits([record], "eap-ig", folder / "one.json")
        >>> read = read_circuit(file, "eap-ig", record.circuit.graph)
        >>> int(read.circuit.members.sum()) == record.circuit.n_edges
        True
    """
    path, kind = Path(path), FORMATS[format]
    if kind.read is None:
        readable = ", ".join(key for key, other in FORMATS.items() if other.read is not None)
        raise InputError(f"format: {format} is only written; formats that are read: {readable}")
    if path.suffix.lower() in PICKLES:
        raise InputError(
            f"{path}: a pickle runs code when it is loaded, so it is never read; export the circuit as JSON or as a "
            "torch file of tensors"
        )
    data = _content(path)
    try:
        return SourceFile(path.name, hashlib.sha256(data).hexdigest(), kind.read(data, graph))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _content(path: Path) -> bytes:
    try:
        if path.is_file() and path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: has {path.stat().st_size:,} bytes; expected at most {MAX_BYTES:,}")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot read the file: {error.strerror or error}") from error
    except ValueError as error:  # a name with a null character
        raise InputError(f"{str(path)!r}: cannot read the file: {error}") from error
