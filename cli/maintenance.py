"""Commands that check and maintain a store: similar, merge, verify, rebuild, migrate, gc, delete."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import CatalogUrl, Flagged, Form, GraphUrl, Out, Progress, RunName, StoreFolder, Wait, Where, settings
from .output import NOTES, Destination, emit, print_message
from .pairs import parse_pairs
from .pairs import text as as_text

DIFFERENCES = 1
"""Exit code if archive, catalog and graph differ."""


def similar(
    nearest: Annotated[
        int, typer.Option("--nearest", min=0, help="Number of circuits that each one leads to; 0 removes them all.")
    ] = 10,
    measure: Annotated[str, typer.Option("--measure", help="Measure of similarity.")] = "jaccard",
    where: Where = None,
    run: RunName = None,
    flagged: Flagged = False,
    wait: Wait = 0.0,
    form: Form = None,
    out: Out = None,
    progress: Progress = True,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Store the nearest circuits of each circuit in the graph.

    Compares all comparable circuits, and replaces the SIMILAR relationships of the measure, which Cypher
    can walk, as does the query nearest-circuits. Run it again after indexing more circuits.
    """
    from .. import query as queries
    from ..store import open_store

    to = Destination.of(out, form)
    equals = parse_pairs("--where", where or [], as_text)
    shown = progress and not NOTES.quiet
    chosen = {"run": run, "measure": measure, "flagged": flagged, "wait_s": wait, "progress": shown, **equals}
    with open_store(**settings(store, graph, catalog).place) as opened:
        table = queries.store_similar(opened, nearest, **chosen)
    if nearest:
        emit(table, to)
    else:
        print_message(f"the SIMILAR relationships of {measure} were removed from the graph")


def merge(
    others: Annotated[list[str], typer.Argument(metavar="OTHER…", help="Folders of the stores to take up.")],
    wait: Wait = 0.0,
    form: Form = None,
    out: Out = None,
    progress: Progress = True,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Take up the runs, circuits and notes of other stores.

    Copies all stored values that the store lacks, and creates it if it does not exist. The other stores
    are only read. If it is killed, run it again. Different values for one id raise an error, before
    anything is written.
    """
    from contextlib import ExitStack

    from ..store import create_store, merge_stores, open_store

    to = Destination.of(out, form)
    with ExitStack() as opened:
        found = [opened.enter_context(open_store(other)) for other in others]
        target = opened.enter_context(create_store(**settings(store, graph, catalog).place))
        emit(merge_stores(target, found, wait_s=wait, progress=progress and not NOTES.quiet), to)


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
