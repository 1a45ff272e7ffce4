"""A damaged catalog: finding out that it is, reading what can be read of it, and setting it aside for a new one.

A SQLite file has no checksums. So a catalog counts as damaged when the engine finds an error in it, when it has other
tables than it should, or when it names another store than the archive. Its rows are compared with the archive later
(`rebuilding`).
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
"""How the name of a folder ends that holds a damaged catalog: for good, and until there is a new one."""

BESIDE = ("-wal", "-shm", "-journal", "")
"""How the names of a database's files end, the database itself last."""

NEAR = 2
"""Digits in which the id of a store may differ for it to be the same one, damaged: those of two stores differ in 30."""


@dataclass(frozen=True)
class Listed:
    """What a catalog lists.

    Attributes:
        rows: of each table, by its name, as far as they could be read.
        unread: tables of which some rows could not.
        what: which catalog, and what is wrong with it; empty for one that is in use.
    """

    rows: Mapping[str, list[dict[str, Any]]]
    unread: tuple[str, ...] = ()
    what: str = ""

    @classmethod
    def of(cls, connection: Connection) -> Self:
        """All that the catalog in use lists."""
        tables = metadata.sorted_tables
        return cls({t.name: [dict(row) for row in connection.execute(select(t)).mappings()] for t in tables})

    @classmethod
    def of_damaged(cls, file: Path, what: str) -> Self:
        """What can be read of a damaged SQLite file, from either end of each table. The file is not touched."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "catalog"
            for end in BESIDE:
                with suppress(FileNotFoundError):
                    shutil.copyfile(f"{file}{end}", f"{copy}{end}")
            with closing(sqlite3.connect(copy)) as connection:
                connection.text_factory = lambda text: text.decode("utf-8", "replace")
                found = {table.name: _rows(connection, table) for table in metadata.sorted_tables}
        unread = tuple(name for name, (_, whole) in found.items() if not whole)
        return cls({name: rows for name, (rows, _) in found.items()}, unread, what)

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know of a damaged catalog: what became of it, and what is lost."""
        if not self.unread:
            return (f"{self.what}; all of its rows could be read",)
        lost = "which items had failed and why, and how often and when items were tried, is lost where they could not"
        return (f"{self.what}; not all rows of {', '.join(self.unread)} could be read: {lost}",)

    @property
    def store(self) -> str | None:
        """Id of the store; None where it cannot be read."""
        ids = [row["id"] for row in self.rows["store"]]
        return ids[0] if len(ids) == 1 and _is_id(ids[0]) else None


def _rows(connection: sqlite3.Connection, table: sa.Table) -> tuple[list[dict[str, Any]], bool]:
    """Rows of a table, and whether these are all."""
    number, names = sa.literal_column("rowid"), [column.name for column in table.columns]
    found: dict[int, list[Any]] = {}
    whole = False
    for order in (number.asc(), number.desc()):
        query = select(number, *table.columns).order_by(order)
        with suppress(sqlite3.Error, OverflowError):
            for place, *values in connection.execute(str(query.compile(dialect=dialect()))):
                if place in found:
                    break
                found[place] = values
            else:
                whole = True
                break
    return [dict(zip(names, found[place], strict=True)) for place in sorted(found)], whole


def damage(file: Path, store_id: str | None) -> str | None:
    """What is wrong with a catalog's SQLite file; None where it is sound, missing, empty, or of another version.

    Args:
        store_id: of the store that it must be of; None where that is not known.

    Raises:
        StoreForeign: the file is somebody else's; it is left as it is.
        StoreError: it cannot be opened, or another program has it locked.
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
                f"{file} is no catalog of circuitstore ({text}) and is left as it is; give another path for the catalog"
            ) from error
        return text


def _found_by_engine(file: Path) -> str | None:
    uri = f"{file.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=sqlite.BUSY_S, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")  # it can be written
        connection.execute("ROLLBACK")
        return sqlite.flaw(connection)


def _found_by_us(file: Path, store_id: str | None) -> str | None:
    """What is wrong with its tables, if it has some of ours."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with Catalog(f"sqlite:///{file}", read_only=True).reading() as connection:
        present = set(sa.inspect(connection).get_table_names())
        if len(present & set(metadata.tables)) < len(metadata.tables) // 2:
            return None  # empty, or something else: it is refused when it is opened
        version = MigrationContext.configure(connection).get_current_revision()
        ours = not compare_metadata(MigrationContext.configure(connection), metadata)
        if version != SCHEMA and (not ours or _is_newer(version)):
            return None if re.fullmatch(r"\d{4}", version or "") else f"it says that it is of version {version}"
        if not ours:
            return "its tables are not those of a catalog"
        if version != SCHEMA:
            return f"it has the tables of version {SCHEMA} and says that it is of version {version}"
        rows = Listed.of(connection).rows  # every text can be decoded
        ids = [row["id"] for row in rows["store"]]
        if not any(rows.values()):
            return None  # its making was interrupted
    if len(ids) != 1 or not _is_id(ids[0]):
        return "it does not say of which store it is"
    if store_id and ids[0] != store_id and sum(a != b for a, b in zip(ids[0], store_id, strict=True)) <= NEAR:
        return f"it says that it is of store {ids[0]}, the archive that it is of {store_id}"
    return None


def _is_newer(version: str | None) -> bool:
    """Whether a version is newer than ours, and is not ours with one bit flipped."""
    if version is None or not re.fullmatch(r"\d{4}", version) or version < SCHEMA:
        return False
    return sum((ord(a) ^ ord(b)).bit_count() for a, b in zip(version, SCHEMA, strict=True)) > 1


def _is_id(text: object) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{32}", str(text)))


def _looks_ours(file: Path) -> bool:
    """Whether a file that the engine cannot read has the names of our tables in it."""
    content = file.read_bytes()
    return sum(name.encode() in content for name in metadata.tables) >= len(metadata.tables) // 2


# --- setting aside ---------------------------------------------------------------------------------


def salvaged(file: Path, folder: Path, store_id: str | None) -> Listed | None:
    """Set the catalog of the store in a folder aside if it is damaged; returns what can be read of it.

    After a rebuild that was interrupted, that is what the first catalog listed that it had set aside. Until `finish`,
    `unfinished` names the folder that it is in.

    Args:
        store_id: as for `damage`, whose errors it raises.

    Raises:
        StoreBusy: a process writes the store.
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
    return Listed.of_damaged(kept / file.name, f"{file} was damaged ({why}); it is kept in {_final(kept)}")


def unfinished(file: Path) -> Path | None:
    """The folder with the damaged catalog that a rebuild has set aside and not yet replaced."""
    return next(iter(_begun(file)), None)


def finish(file: Path) -> None:
    """Give what was set aside its last name: the new catalog is complete."""
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
    """Move a catalog with its log while nobody writes; the database last, so that a second call ends the first."""
    with fence.closed(folder):
        kept.mkdir(exist_ok=True)
        for end in BESIDE:
            fault("catalog.aside.between")
            with suppress(FileNotFoundError):
                Path(f"{file}{end}").rename(kept / f"{file.name}{end}")
        sync_folder(kept)
        sync_folder(file.parent)
    return kept
