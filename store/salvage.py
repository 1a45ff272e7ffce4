"""Damaged catalogs: detecting the damage, reading the rows that can be read, and setting the file aside.

A SQLite file has no checksums. So a catalog counts as damaged if the engine finds an error in it, if it has the wrong
tables, or if it has another store id than the archive. Its rows are compared with the archive later (`rebuilding`).
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import dialect

from ..errors import StoreDamaged, StoreForeign
from . import fence, sqlite
from .catalog import Catalog
from .faults import fault
from .files import sync_folder
from .tables import SCHEMA, metadata

ASIDE, BEGUN = "-set-aside", "-rebuilding"
"""Suffixes of the folder of a damaged catalog, after a rebuild and during it."""

ENDINGS = ("-wal", "-shm", "-journal", "")
"""Suffixes of the files of a database, the database itself last."""

NEAR = 2
"""Maximum number of digits in which a damaged store id differs from the original; ids of two stores differ in 30."""


@dataclass(frozen=True)
class CatalogRows:
    """The rows of a catalog.

    Attributes:
        rows: rows of each table, by its name, as far as they could be read.
        unread: tables with rows that could not be read.
        what: description of a damaged catalog; empty for the current one.
    """

    rows: Mapping[str, list[dict[str, Any]]]
    unread: tuple[str, ...] = ()
    what: str = ""

    @classmethod
    def of(cls, connection: Connection) -> Self:
        """Read all rows of the current catalog."""
        tables = metadata.sorted_tables
        return cls({t.name: [dict(row) for row in connection.execute(select(t)).mappings()] for t in tables})

    @classmethod
    def of_damaged(cls, file: Path, what: str) -> Self:
        """Read the rows of a damaged SQLite file, from both ends of each table, without changing the file."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "catalog"
            for end in ENDINGS:
                with suppress(FileNotFoundError):
                    shutil.copyfile(f"{file}{end}", f"{copy}{end}")
            with closing(sqlite3.connect(copy)) as connection:
                connection.text_factory = lambda text: text.decode("utf-8", "replace")
                found = {table.name: _rows(connection, table) for table in metadata.sorted_tables}
        unread = tuple(name for name, (_, whole) in found.items() if not whole)
        return cls({name: rows for name, (rows, _) in found.items()}, unread, what)

    @property
    def notices(self) -> tuple[str, ...]:
        """Messages for the user about a damaged catalog: where it is kept, and what is lost."""
        if not self.unread:
            return (f"{self.what}; all of its rows could be read",)
        lost = "errors, number and time of attempts of the items in unreadable rows are lost"
        return (f"{self.what}; not all rows of {', '.join(self.unread)} could be read: {lost}",)

    @property
    def store(self) -> str | None:
        """Id of the store; None if it cannot be read."""
        ids = [row["id"] for row in self.rows["store"]]
        return ids[0] if len(ids) == 1 and _is_id(ids[0]) else None


def _rows(connection: sqlite3.Connection, table: sa.Table) -> tuple[list[dict[str, Any]], bool]:
    """Return the rows of a table that can be read, and whether these are all."""
    number, names = sa.literal_column("rowid"), [column.name for column in table.columns]
    found: dict[int, list[Any]] = {}
    whole = False
    for order in (number.asc(), number.desc()):
        query = select(number, *table.columns).order_by(order)
        with suppress(sqlite3.Error, OverflowError, UnicodeDecodeError):
            for place, *values in connection.execute(str(query.compile(dialect=dialect()))):
                if place in found:
                    break
                found[place] = values
            else:
                whole = True
                break
    return [dict(zip(names, found[place], strict=True)) for place in sorted(found)], whole


def damage(file: Path, store_id: str | None) -> str | None:
    """Return the error in a catalog's SQLite file; None if it is sound, missing, empty, or of another version.

    Args:
        file: the SQLite file.
        store_id: expected id of its store; None if unknown.

    Raises:
        StoreForeign: the file is not a catalog of circuitstore.
        StoreError: it cannot be opened, or another program has locked it.
    """
    if not file.is_file() or not file.stat().st_size:
        return None
    try:
        return _found_by_engine(file) or _found_by_us(file, store_id)
    except (sqlite3.DatabaseError, StoreDamaged) as error:
        text = str(error).partition("; ")[0]
        if "locked" in text or not os.access(file, os.R_OK | os.W_OK):
            raise sqlite.translated_text(text, f"catalog {file}") from error
        if not _looks_ours(file):
            raise StoreForeign(
                f"{file} is not a catalog of circuitstore ({text}); it was not changed; give another path"
            ) from error
        return text


def _found_by_engine(file: Path) -> str | None:
    uri = f"{file.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=sqlite.BUSY_S, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")  # raises if the file cannot be written
        connection.execute("ROLLBACK")
        return sqlite.flaw(connection)


def _found_by_us(file: Path, store_id: str | None) -> str | None:
    """Return the error in the tables; None if they are sound or not those of circuitstore."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with Catalog(f"sqlite:///{file}", read_only=True).reading() as connection:
        present = set(sa.inspect(connection).get_table_names())
        if len(present & set(metadata.tables)) < len(metadata.tables) // 2:
            return None  # empty, or another database: opening it raises
        version = MigrationContext.configure(connection).get_current_revision()
        ours = not compare_metadata(MigrationContext.configure(connection), metadata)
        if version != SCHEMA and (not ours or _is_newer(version)):
            return None if re.fullmatch(r"\d{4}", version or "") else f"its version is {version}"
        if not ours:
            return "its tables are not those of a catalog"
        if version != SCHEMA:
            return f"it has the tables of version {SCHEMA}, but its version is {version}"
        rows = CatalogRows.of(connection).rows  # raises if text cannot be decoded
        ids = [row["id"] for row in rows["store"]]
        if not any(rows.values()):
            return None  # its creation was interrupted
    if len(ids) != 1 or not _is_id(ids[0]):
        return "it has no store id"
    if store_id and ids[0] != store_id and sum(a != b for a, b in zip(ids[0], store_id, strict=True)) <= NEAR:
        return f"its store id is {ids[0]}, that of the archive is {store_id}"
    return None


def _is_newer(version: str | None) -> bool:
    """Return whether a version is newer than the current one, and not the current one with one bit flipped."""
    if version is None or not re.fullmatch(r"\d{4}", version) or version < SCHEMA:
        return False
    return sum((ord(a) ^ ord(b)).bit_count() for a, b in zip(version, SCHEMA, strict=True)) > 1


def _is_id(text: object) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{32}", str(text)))


def _looks_ours(file: Path) -> bool:
    """Return whether a file that the engine cannot read contains the names of the catalog's tables."""
    content = file.read_bytes()
    return sum(name.encode() in content for name in metadata.tables) >= len(metadata.tables) // 2


# --- setting aside ---------------------------------------------------------------------------------


def recover(file: Path, folder: Path, store_id: str | None) -> CatalogRows | None:
    """Set a damaged catalog aside and read its rows; return None if it is sound.

    After an interrupted rebuild, read the rows of the first catalog that it set aside. Until `finish` is called,
    `unfinished` returns the folder of that catalog.

    Args:
        file: the catalog's SQLite file.
        folder: folder of the store.
        store_id: as for `damage`, whose errors it raises.

    Raises:
        StoreBusy: a process writes to the store.
    """
    kept, why = unfinished(file), "a rebuild that was interrupted had set it aside"
    if kept is not None and not (kept / file.name).is_file():
        _move(file, kept, folder)
    elif reason := damage(file, store_id):
        moved = _move(file, _new_folder(file), folder)
        if kept is None:
            kept, why = moved, reason
    if kept is None:
        return None
    return CatalogRows.of_damaged(kept / file.name, f"{file} was damaged ({why}); it is kept in {_final(kept)}")


def unfinished(file: Path) -> Path | None:
    """Return the folder of a damaged catalog that a rebuild has set aside and not yet replaced."""
    return next(iter(_begun(file)), None)


def finish(file: Path) -> None:
    """Rename the folder of the damaged catalog when the new catalog is complete."""
    for kept in _begun(file):
        fault("catalog.aside.finish")
        kept.rename(_final(kept))
        sync_folder(file.parent)


def _begun(file: Path) -> list[Path]:
    return sorted(file.parent.glob(f"{escape(file.name)}.*{BEGUN}"))


def _final(kept: Path) -> Path:
    return kept.with_name(kept.name.removesuffix(BEGUN) + ASIDE)


def _new_folder(file: Path) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    names = (file.with_name(f"{file.name}.{stamp}-{n}{BEGUN}") for n in itertools.count(1))
    return next(name for name in names if not name.exists() and not _final(name).exists())


def _move(file: Path, kept: Path, folder: Path) -> Path:
    """Move a catalog while nobody writes; the database last, so that a second call completes an interrupted one."""
    with fence.closed(folder):
        kept.mkdir(exist_ok=True)
        for end in ENDINGS:
            fault("catalog.aside.between")
            with suppress(FileNotFoundError):
                Path(f"{file}{end}").rename(kept / f"{file.name}{end}")
        sync_folder(kept)
        sync_folder(file.parent)
    return kept
