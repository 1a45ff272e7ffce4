"""Damaged and hostile files give one clear error each, or are read; nothing in them is run."""

from __future__ import annotations

import io
import pickle
import random
import zipfile
from pathlib import Path

import pytest
from circuitstore.errors import InputError
from circuitstore.formats import FORMATS, read_circuit

from .peer_files import GRAPH
from .test_reading import SCORED, SELECTING

FILES = {**SCORED, **SELECTING}
MUTATIONS = 1000


def mutated(data: bytes, seed: int) -> bytes:
    """Return a file with bytes changed, cut out, repeated or inserted."""
    chance, found = random.Random(seed), bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        place = chance.randrange(len(found) + 1)
        match chance.randrange(6):
            case 0:
                found[place : place + 1] = bytes([chance.randrange(256)])
            case 1:
                del found[place : place + chance.choice((1, 4, 64))]
            case 2:
                found[place:place] = found[: chance.choice((1, 16, 64))]
            case 3:
                found[place:place] = chance.choice((b"null", b"-1e999", b"[", b"{}", b"9" * 30, b'"\\ud800"', b"NaN"))
            case 4:
                found[place : place + 1] = (
                    bytes([found[place % len(found)] ^ 1 << chance.randrange(8)]) if found else b""
                )
            case 5 if len(found) > 1:
                del found[chance.randrange(1, len(found)) :]
    return bytes(found)


@pytest.mark.parametrize("format", FILES)
def test_mutations_are_read_or_refused(format: str) -> None:
    data, refused = FILES[format](), 0
    read = FORMATS[format].read
    assert read is not None
    for seed in range(MUTATIONS):
        try:
            found = read(mutated(data, seed), GRAPH)
        except InputError as error:
            refused += 1
            assert 0 < len(str(error)) < 1000
        else:
            assert found.members is None or found.members.shape == (found.graph.n_edges,)
    assert MUTATIONS / 10 < refused < MUTATIONS


class Marker:
    """An object whose pickle creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("format", FILES)
def test_code_in_a_file_is_not_run(format: str, tmp_path: Path) -> None:
    ran, file = tmp_path / "ran", tmp_path / "file.pt"
    for content in ({"cfg": Marker(ran)}, Marker(ran)):
        plain, archive = pickle.dumps(content), io.BytesIO()
        with zipfile.ZipFile(archive, "w") as entries:
            entries.writestr("archive/data.pkl", plain)
            entries.writestr("archive/version", "3\n")
        for data in (plain, archive.getvalue()):
            file.write_bytes(data)
            with pytest.raises(InputError):
                read_circuit(file, format, GRAPH)
            assert not ran.exists()
    pickle.loads(plain)  # the file would have been created
    assert ran.exists()


def test_an_archive_that_unpacks_to_much_more_is_refused(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as entries:
        entries.writestr("archive/data/0", bytes(10_000_000))
    (tmp_path / "bomb.pt").write_bytes(archive.getvalue())
    with pytest.raises(InputError, match=r"unpacks to 10,000,000 bytes from"):
        read_circuit(tmp_path / "bomb.pt", "eap-ig-pt", GRAPH)
