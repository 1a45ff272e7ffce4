"""Functions that open, create, migrate and rebuild a store."""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path
from typing import Unpack

import pandas as pd

from ..errors import StoreBusy, StoreDamaged, StoreError, StoreMissing
from ..results import Table
from . import fence, files, ledger, salvage
from .archive import IDENTITY, Archive
from .catalog import Catalog
from .graph import migrate_graph
from .interrupts import deferred
from .lease import LeaseLost
from .lease_holder import LeaseHolder
from .location import Location, PartLocations
from .salvage import CatalogRows
from .store import Store
from .tables import SCHEMA


def open_store(location: str | Path | None = None, **locations: Unpack[PartLocations]) -> Store:
    """Open a store for reading; only its `Store.writer` changes it.

    Args:
        location: its folder; default `./circuitstore-data`.
        locations: `graph`, `catalog`, `account`, if these are not in the folder; see `PartLocations`.

    Raises:
        StoreError: there is no store, or it cannot be opened.
        StoreDamaged: a part of it is lost.
        StoreVersion: it was written by another version of circuitstore.

    Examples:
        >>> with open_store(store.location.folder) as opened:
        ...     opened.id == store.id
        True
    """
    place = Location.of(location, **locations)
    archive, database = Archive(place.archive), Catalog(place.catalog, read_only=True)
    _refuse_unfinished(database)
    if _is_missing(database):
        raise StoreMissing(_no_store(place)) if archive.identity is None else _lost_catalog(place, database)
    database.check_version()
    return Store(place, database, _agreed_id(archive, database))


def create_store(location: str | Path | None = None, **locations: Unpack[PartLocations]) -> Store:
    """Open a store for reading, and create it if it does not exist; see `open_store` for arguments and errors.

    Completes a store whose creation was interrupted.

    Raises:
        StoreDamaged: the catalog is lost and the archive is not empty; use `rebuild_store`.

    Examples:
        >>> with create_store(folder / "store") as new:
        ...     len(new.circuits())
        0
    """
    place = Location.of(location, **locations)
    archive, database = Archive(place.archive), Catalog(place.catalog, read_only=True)
    _refuse_unfinished(database)
    full = archive.identity is not None and archive.holds_anything()
    if full and (_is_missing(database) or database.version() is None or database.store_id() is None):
        raise _lost_catalog(place, database)
    return _complete(place)


def _complete(place: Location) -> Store:
    """Return the store at a location, after creating its missing parts, empty."""
    archive, database = Archive(place.archive), Catalog(place.catalog, read_only=False)
    files.ensure_folder(place.folder)
    if database.file is not None:
        files.ensure_folder(database.file.parent)
    if database.version() is None:
        database.upgrade()
    database.check_version()
    with database.writing() as connection:
        ledger.add_store(connection, archive.identity or uuid.uuid4().hex)
    id = _agreed_id(archive, database)
    if archive.identity is None:
        archive.make(id)
    return Store(place, Catalog(place.catalog, read_only=True), id)


def migrate_store(location: str | Path | None = None, **locations: Unpack[PartLocations]) -> Table:
    """Migrate the catalog and the graph of a store to the current version; columns `part, what`.

    A graph that was lost, or to which a write failed, is created again and filled from the archive.

    Raises:
        StoreError: there is no store.
        StoreBusy: another process writes.
        StoreVersion: the store is newer than this version of circuitstore.

    Examples:
        >>> create_store(folder / "store").close()
        >>> list(migrate_store(folder / "store"))
        [{'part': 'catalog', 'what': 'up to date'}, {'part': 'graph', 'what': ...}]
    """
    place = Location.of(location, **locations)
    database = Catalog(place.catalog, read_only=False)
    _refuse_unfinished(database)
    if database.file is not None and not database.file.is_file():
        raise StoreMissing(_no_store(place))
    found = database.version()
    if found is None or found > SCHEMA:
        database.check_version()
    with deferred():
        lease_holder = LeaseHolder(database, place.folder)  # the table of leases is the same in all versions
        try:
            database.upgrade(lease_holder.writing)
            id = _agreed_id(Archive(place.archive), database)
            applied = migrate_graph(place.graph, store_id=id, account=place.account, permit=lease_holder.permit)
        finally:
            lease_holder.release()
    with Store(place, Catalog(place.catalog, read_only=True), id) as store:
        try:
            with store.writer():
                pass  # it adds what the graph lacks
        except LeaseLost:
            raise
        except StoreBusy:
            pass  # another writer was faster, and adds it
    results = ["up to date" if found == SCHEMA else f"from {found} to {SCHEMA}", ", ".join(applied) or "up to date"]
    return Table(pd.DataFrame({"part": ["catalog", "graph"], "what": results}))


def rebuild_store(
    location: str | Path | None = None, *, wait_s: float = 0.0, **locations: Unpack[PartLocations]
) -> Table:
    """Rebuild catalog and graph of a store from its archive; see `Writer.rebuild`.

    The catalog may be lost or damaged, the graph also of another version. A damaged catalog file is set aside and
    replaced by a new one, with all rows that can still be read. The archive's file with the id of the store is written
    again if it is damaged or lost.

    Raises:
        StoreError: there is no store.
        StoreBusy: another process writes.
        StoreVersion: the catalog or the archive has another version.

    Examples:
        >>> create_store(folder / "store").close()
        >>> rebuild_store(folder / "store").first(2).to_pandas()["count"].tolist()
        [0, 0]
    """
    place = Location.of(location, **locations)
    database, archive = Catalog(place.catalog, read_only=True), Archive(place.archive)
    if _is_missing(database) and not archive.folder.is_dir():
        raise StoreMissing(_no_store(place))
    old = _repair(place, archive, database)
    with _complete(place) as store, store.writer(wait_s, empty_graph=True) as writer:
        counts = writer.rebuild(old)
    if database.file is not None:
        salvage.finish(database.file)
    return counts


def _repair(place: Location, archive: Archive, database: Catalog) -> CatalogRows | None:
    """Set a damaged catalog aside and write the store's id to its archive again.

    Returns:
        The rows that could be read of a damaged catalog.

    Raises:
        StoreDamaged: the archive is lost as well.
    """
    old, file = None, database.file
    known = archive.identity_in_runs()
    with suppress(StoreDamaged):
        known = archive.identity or known
    if file is not None:
        if not archive.folder.is_dir() and (reason := salvage.damage(file, known)):
            raise StoreDamaged(
                f"{file} is damaged ({reason}), and there is no archive in {archive.folder} to rebuild it from; "
                "give the right folder with --store FOLDER, or restore both from a backup"
            )
        old = salvage.recover(file, place.folder, known)
    if _names_no_store(archive):
        if known is None:
            known = old.store if old else None if _is_missing(database) else database.store_id()
        with fence.closed(place.folder):
            archive.make(known or uuid.uuid4().hex)
    return old


def _names_no_store(archive: Archive) -> bool:
    """Return whether there is an archive whose file with the id of the store is damaged or lost."""
    try:
        return archive.identity is None and archive.holds_anything()
    except StoreDamaged:
        return True


def _is_missing(database: Catalog) -> bool:
    """Return whether the catalog has no file, or no table on its server."""
    return database.version() is None if database.file is None else not database.file.is_file()


def _refuse_unfinished(database: Catalog) -> None:
    """Raise StoreDamaged if a rebuild has set a damaged catalog aside and not yet replaced it."""
    if database.file is not None and (kept := salvage.unfinished(database.file)):
        raise StoreDamaged(
            f"the catalog {database.file} was damaged, and its rebuild from the archive has not finished; if no "
            f"circuitstore rebuild is running, run it again (the damaged catalog is in {kept})"
        )


def _lost_catalog(place: Location, database: Catalog) -> StoreDamaged:
    return StoreDamaged(
        f"the catalog {database.file or database.url} is missing or empty, but the archive {place.archive} is not; "
        "restore it from a backup, or rebuild it from the archive with: circuitstore rebuild"
    )


def _no_store(place: Location) -> str:
    what = ", which is a file; a store is a folder" if place.folder.is_file() else ""
    return (
        f"there is no store at {place.folder}{what}; choose another with --store FOLDER, "
        "or create one with: circuitstore index SPEC.toml (or circuitstore demo)"
    )


def _agreed_id(archive: Archive, catalog: Catalog) -> str:
    """Return the store id of archive and catalog.

    Raises:
        StoreDamaged: the catalog lists discoveries and the archive is missing.
        StoreError: the two belong to different stores.
    """
    theirs, ours = archive.identity, catalog.store_id()
    if theirs is not None and ours is not None and theirs != ours:
        raise StoreError(
            f"catalog {catalog.url} belongs to store {ours}, archive {archive.folder} to store {theirs}; "
            "give the folder and the catalog of one store"
        )
    if theirs is None and archive.holds_anything():
        raise StoreDamaged(f"{archive.folder / IDENTITY} is missing; run circuitstore rebuild, which writes it again")
    if theirs is None and catalog.lists_anything():
        raise StoreDamaged(
            f"catalog {catalog.url} lists values of the archive {archive.folder}, which is missing; "
            "give the right folder with --store FOLDER, or restore the archive from a backup"
        )
    id = theirs or ours
    if id is None:
        raise StoreError(
            f"the creation of the store with catalog {catalog.url} was interrupted; run the same command again"
        )
    return id
