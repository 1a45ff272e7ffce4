"""Commands that read a store: status, query, show, draw, compare, report."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .options import CatalogUrl, Flagged, Form, GraphUrl, Out, Progress, RunName, StoreFolder, Where, settings
from .output import NOTES, STDOUT, Destination, emit, print_message
from .pairs import json_or_text, parse_pairs
from .pairs import text as as_text


def status(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="Show the items of this run.")] = None,
    form: Form = None,
    out: Out = None,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Show what is done, running and failed, and the time left.

    Without RUN, prints one row per run; with RUN, one row per item, with the errors of failed items.
    """
    from ..store import open_store
    from . import overview

    to = Destination.of(out, form)
    with open_store(**settings(store, graph, catalog).place) as opened:
        emit(overview.runs(opened) if run is None else overview.items(opened, run), to)


def _named_queries() -> Iterable[str]:
    from ..query import named_queries

    return named_queries()


def query(
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="'MATCH …' | NAME",
            help="Cypher, or the name of a named query.",
            autocompletion=lambda: list(_named_queries()),
        ),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            metavar="NAME=VALUE",
            help="A parameter: a number, true, false, null or text; repeat a name to give a list.",
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="Time limit of the query.")
    ] = 30.0,
    max_rows: Annotated[int, typer.Option("--max-rows", min=1, help="Maximum number of rows.")] = 10_000,
    run: RunName = None,
    flagged: Flagged = False,
    max_mib: Annotated[
        int, typer.Option("--max-mib", min=1, help="Maximum size of the answer in MiB, as the engine sends it.")
    ] = 64,
    form: Form = None,
    out: Out = None,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Run Cypher or a named query. Without either, list the named queries.

    Queries are read-only: a text that could write, or read files, is rejected before it runs. Named
    queries count the newest answer to each question, leave out flagged circuits, and say how many they
    leave out.
    """
    from .. import query as queries
    from ..store import open_store
    from . import overview

    to = Destination.of(out, form)
    params = parse_pairs("--param", param or [], as_text if queries.is_name(text or "") else json_or_text)
    if text is None:
        emit(queries.list_named() if to.width is None else overview.queries(to.width), to)
        return
    with open_store(**settings(store, graph, catalog).place) as opened:
        options = {"run": run, "flagged": flagged, "timeout_s": timeout, "max_rows": max_rows, "max_mib": max_mib}
        emit(queries.run(opened, text, params, **options), to)


def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of a circuit or discovery, or its beginning.")],
    form: Form = None,
    out: Out = None,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Show one circuit or discovery.

    Prints its properties in the graph, its recipe, evaluation and runs: everything except its edges.
    """
    from ..store import open_store
    from . import overview

    to = Destination.of(out, form)
    with open_store(**settings(store, graph, catalog).place) as opened:
        emit(overview.one(opened, id), to, upright=True)


def draw(
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of a circuit, or its beginning.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.svg", help="The SVG file to write; - is stdout.")],
    most: Annotated[int, typer.Option("--most", min=1, help="Draw at most this many edges, the strongest.")] = 120,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Draw a circuit as an SVG picture.

    Layers from left to right, heads and MLPs as nodes, edges by score.
    """
    from ..store import open_store

    if out != STDOUT and out.suffix.lower() != ".svg":
        raise InputError(f"--out {out}: expected a name that ends in .svg: the picture is an SVG file")
    with open_store(**settings(store, graph, catalog).place) as opened:
        drawing = opened.circuit(id).draw(max_edges=most)
    if out == STDOUT:
        print(drawing)
    else:
        drawing.save(out)
        print_message(f"written to {out}")


def compare(
    by: Annotated[
        str,
        typer.Option(
            "--by",
            help="What to compare: class, image_group, condition, model, dataset, corruption or extraction; as sets of "
            "edges also method, form, metric or direction.",
        ),
    ] = "class",
    measure: Annotated[str, typer.Option("--measure", help="Measure of similarity.")] = "jaccard",
    extraction: Annotated[
        str | None, typer.Option("--extraction", help="Only circuits of this extraction, such as top.")
    ] = None,
    where: Where = None,
    run: RunName = None,
    flagged: Flagged = False,
    form: Form = None,
    out: Out = None,
    progress: Progress = True,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Compare circuits, with noise floor and chance level.

    Compares all pairs of circuits that differ in one field only, and sorts them by similarity. Compares
    the newest answer to each question and leaves out flagged circuits. Circuits that are not comparable
    raise an error; other differences are noted.
    """
    from .. import query as queries
    from ..store import open_store

    to = Destination.of(out, form)
    equals = parse_pairs("--where", where or [], as_text)
    with open_store(**settings(store, graph, catalog).place) as opened:
        chosen = {"run": run, "measure": measure, "extraction": extraction, "flagged": flagged, **equals}
        emit(queries.compare(opened, by, progress=progress and not NOTES.quiet, **chosen), to)


def report(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The HTML file to write.")] = Path(
        "circuitstore-report.html"
    ),
    run: RunName = None,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Write an HTML report of a run or of the store.

    One self-contained file: similarity, faithfulness, drawings of circuits, gained and lost edges, with
    noise floors.
    """
    from ..analysis import write_report
    from ..store import open_store

    with open_store(**settings(store, graph, catalog).place) as opened:
        print(write_report(opened, out, run=run))
