"""Commands that check and maintain a store: verify, rebuild, migrate, gc, delete."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import CatalogUrl, Form, GraphUrl, Out, StoreFolder, Wait, settings
from .output import Destination, emit, print_message

DIFFERENCES = 1
"""Exit code if archive, catalog and graph differ."""


def verify(
    form: Form = None,
    out: Out = None,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Check that archive, catalog and graph agree.

    Reads everything in the store and recomputes all checksums. Prints each difference with its remedy, and
    exits with code 1 if there is one.
    """
    from ..store import open_store

    to = Destination.of(out, form)
    with open_store(**settings(store, graph, catalog).place) as opened:
        differences = opened.verify()
    if len(differences):
        emit(differences, to)
        raise typer.Exit(DIFFERENCES)
    print_message("no differences: archive, catalog and graph agree")


def rebuild(wait: Wait = 0.0, store: StoreFolder = None, graph: GraphUrl = None, catalog: CatalogUrl = None) -> None:
    """Rebuild catalog and graph from the archive.

    Keeps what can be read of a damaged catalog.
    """
    from ..store import rebuild_store

    emit(rebuild_store(**settings(store, graph, catalog).place, wait_s=wait))


def migrate(store: StoreFolder = None, graph: GraphUrl = None, catalog: CatalogUrl = None) -> None:
    """Migrate a store of an older version to the current schema.

    Back it up first; see: circuitstore docs operating
    """
    from ..store import migrate_store

    emit(migrate_store(**settings(store, graph, catalog).place))


def gc(wait: Wait = 0.0, store: StoreFolder = None, graph: GraphUrl = None, catalog: CatalogUrl = None) -> None:
    """Remove everything that no run refers to.

    Also removes files of interrupted writes. Run it while no other process reads the store.
    """
    from ..store import open_store

    with open_store(**settings(store, graph, catalog).place) as opened, opened.writer(wait_s=wait) as writer:
        emit(writer.gc())


def delete(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run to delete.")],
    wait: Wait = 0.0,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Delete a run.

    Its circuits are removed by `circuitstore gc`, except those that other runs share.
    """
    from ..store import open_store

    with open_store(**settings(store, graph, catalog).place) as opened, opened.writer(wait_s=wait) as writer:
        writer.delete_run(run)
    print_message(f"{run}: deleted; `circuitstore gc` removes what no other run refers to")
