"""Opening a store: to read it, to make it, to bring it up to date, to make it again from its archive."""

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
from .location import Elsewhere, Location
from .salvage import Listed
from .store import Store
from .tables import SCHEMA


def open_store(location: str | Path | None = None, **elsewhere: Unpack[Elsewhere]) -> Store:
    """Open a store to read it; nothing in it is changed unless a `Store.writer` is asked for.

    Args:
        location: its folder; default `./circuitstore-data`.
        elsewhere: `graph`, `catalog`, `account`, where these are not in the folder; see `Elsewhere`.

    Raises:
        StoreError: there is no store, or it cannot be opened; StoreDamaged: a part of it is lost.
        StoreVersion: it was written by another version of circuitstore.
    """
    place = Location.of(location, **elsewhere)
    archive, database = Archive(place.archive), Catalog(place.catalog, read_only=True)
    _refuse_unfinished(database)
    if _is_nothing(database):
        raise StoreMissing(_no_store(place)) if archive.identity is None else _lost_catalog(place, database)
    database.check_version()
    return Store(place, database, _agreed_id(archive, database))


def create_store(location: str | Path | None = None, **elsewhere: Unpack[Elsewhere]) -> Store:
    """Open a store, making what is missing of it. Arguments and errors as for `open_store`.

    A store whose making was interrupted is completed.

    Raises:
        StoreDamaged: the catalog is lost, and the archive holds what only `rebuild_store` can enter in a new one.
    """
    place = Location.of(location, **elsewhere)
    archive, database = Archive(place.archive), Catalog(place.catalog, read_only=True)
    _refuse_unfinished(database)
    full = archive.identity is not None and archive.holds_anything()
    if full and (_is_nothing(database) or database.version() is None or database.store_id() is None):
        raise _lost_catalog(place, database)
    return _made(place)


def _made(place: Location) -> Store:
    """The store at a place, with all that is missing of it made, empty."""
    archive, database = Archive(place.archive), Catalog(place.catalog, read_only=False)
    files.ensure_folder(place.folder)
    if database.file is not None:
        files.ensure_folder(database.file.parent)
    if database.version() is None:
        database.upgrade()
    database.check_version()
    with database.writing() as connection:
        ledger.enter_store(connection, archive.identity or uuid.uuid4().hex)
    id = _agreed_id(archive, database)
    if archive.identity is None:
        archive.make(id)
    return Store(place, Catalog(place.catalog, read_only=True), id)


def migrate_store(location: str | Path | None = None, **elsewhere: Unpack[Elsewhere]) -> Table:
    """Bring the catalog and the graph of a store up to date; columns `part, what`.

    A graph that had to be made anew, since it was lost or a write to it had failed, is filled from the archive.

    Raises:
        StoreError: there is no store; StoreBusy: another process writes.
        StoreVersion: it is newer than this version of circuitstore.
    """
    place = Location.of(location, **elsewhere)
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
                pass  # which fills in what the graph lacks
        except LeaseLost:
            raise
        except StoreBusy:
            pass  # another writer was faster, and does so
    said = ["up to date" if found == SCHEMA else f"from {found} to {SCHEMA}", ", ".join(applied) or "up to date"]
    return Table(pd.DataFrame({"part": ["catalog", "graph"], "what": said}))


def rebuild_store(location: str | Path | None = None, *, wait_s: float = 0.0, **elsewhere: Unpack[Elsewhere]) -> Table:
    """`Writer.rebuild` of a store whose catalog or graph may be lost or damaged, or whose graph of another version.

    A damaged catalog file is set aside and made again, with what could be read of it; a damaged or lost file that
    names the store in the archive is written again.

    Raises:
        StoreError: there is no store; StoreBusy: another process writes.
        StoreVersion: the catalog or the archive is of another version.
    """
    place = Location.of(location, **elsewhere)
    database, archive = Catalog(place.catalog, read_only=True), Archive(place.archive)
    if _is_nothing(database) and not archive.folder.is_dir():
        raise StoreMissing(_no_store(place))
    old = _mend(place, archive, database)
    with _made(place) as store, store.writer(wait_s, anew=True) as writer:
        counts = writer.rebuild(old)
    if database.file is not None:
        salvage.finish(database.file)
    return counts


def _mend(place: Location, archive: Archive, database: Catalog) -> Listed | None:
    """Set a damaged catalog aside and name the store in its archive again; returns what could be read of the catalog.

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
                f"{file} is damaged ({reason}), and there is no archive in {archive.folder} to make it from; "
                "give the right folder with --store FOLDER, or put both back from a backup"
            )
        old = salvage.salvaged(file, place.folder, known)
    if _names_no_store(archive):
        if known is None:
            known = old.store if old else None if _is_nothing(database) else database.store_id()
        with fence.closed(place.folder):
            archive.make(known or uuid.uuid4().hex)
    return old


def _names_no_store(archive: Archive) -> bool:
    """Whether there is an archive whose file that names its store is damaged or lost."""
    try:
        return archive.identity is None and archive.holds_anything()
    except StoreDamaged:
        return True


def _is_nothing(database: Catalog) -> bool:
    """Whether there is no file, or no table on the server."""
    return database.version() is None if database.file is None else not database.file.is_file()


def _refuse_unfinished(database: Catalog) -> None:
    """Refuse, by `StoreDamaged`, where a rebuild has set a damaged catalog aside and not yet replaced it."""
    if database.file is not None and (kept := salvage.unfinished(database.file)):
        raise StoreDamaged(
            f"the catalog {database.file} was damaged, and making it again from the archive has not ended; if no "
            f"circuitstore rebuild is at work, run it again (what could be read is in {kept})"
        )


def _lost_catalog(place: Location, database: Catalog) -> StoreDamaged:
    return StoreDamaged(
        f"the catalog {database.file or database.url} is missing or empty, the archive {place.archive} is there; "
        "put it back from a backup, or make it anew from the archive with: circuitstore rebuild"
    )


def _no_store(place: Location) -> str:
    what = ", which is a file, and a store is a folder" if place.folder.is_file() else ""
    return (
        f"there is no store at {place.folder}{what}; choose another with --store FOLDER, "
        "or make one with: circuitstore index SPEC.toml (or circuitstore demo)"
    )


def _agreed_id(archive: Archive, catalog: Catalog) -> str:
    """The id on which archive and catalog agree.

    Raises:
        StoreDamaged: the archive of a catalog that lists discoveries is not there.
        StoreError: the two belong to different stores.
    """
    theirs, ours = archive.identity, catalog.store_id()
    if theirs is not None and ours is not None and theirs != ours:
        raise StoreError(
            f"catalog {catalog.url} belongs to store {ours}, archive {archive.folder} to store {theirs}; "
            "give the folder and the catalog of one store"
        )
    if theirs is None and archive.holds_anything():
        raise StoreDamaged(f"{archive.folder / IDENTITY} is missing; run: circuitstore rebuild, which writes it again")
    if theirs is None and catalog.lists_anything():
        raise StoreDamaged(
            f"catalog {catalog.url} lists what should be in {archive.folder}, and that is not there; "
            "give the right folder with --store FOLDER, or put the archive back from a backup"
        )
    id = theirs or ours
    if id is None:
        raise StoreError(
            f"the making of the store with catalog {catalog.url} was interrupted; run the same command again"
        )
    return id
