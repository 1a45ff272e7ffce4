"""Commands that read a store: status, query, show, draw, compare, report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .options import CatalogUrl, Flagged, Form, GraphUrl, Out, Progress, RunName, StoreFolder, Where, settings
from .output import NOTES, STDOUT, Destination, emit, print_message, readable
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
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of a circuit, discovery or note, or its beginning.")],
    form: Form = None,
    out: Out = None,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Show one circuit, discovery or note.

    Prints its properties in the graph, its recipe, evaluation, runs and notes about it and its class:
    everything except its edges.
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
    measure: Annotated[
        str | None, typer.Option("--measure", help="Measure of similarity; jaccard if it is left out.")
    ] = None,
    extraction: Annotated[
        str | None, typer.Option("--extraction", help="Only circuits of this extraction, such as top.")
    ] = None,
    where: Where = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="MODEL",
            help="With --by model: compare each other model with this one, by class: edges kept, gained and lost, "
            "tests of every edge, changes of faithfulness.",
        ),
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(
            "--control",
            metavar="MODEL",
            help="With --base: a fine-tuning from which no change of interest is expected; counts the edges that "
            "change more than in it.",
        ),
    ] = None,
    cross: Annotated[
        list[Path] | None,
        typer.Option(
            "--cross",
            metavar="FILE",
            help="With --base: what circuitstore cross --out FILE wrote about circuits of the base in another model; "
            "repeat for several files. Nothing is run here.",
        ),
    ] = None,
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

    Compares all pairs of circuits that differ in one field only, and sorts them by similarity. With
    --base, compares a model with others, class by class. Compares the newest answer to each question and
    leaves out flagged circuits. Circuits that are not comparable raise an error; other differences are
    noted. The table has the shortest distinct names of conditions; --format csv or json has their full names.
    """
    from .. import query as queries
    from ..store import open_store

    to = Destination.of(out, form)
    chosen = {"run": run, "flagged": flagged, **parse_pairs("--where", where or [], as_text)}
    chosen |= {} if extraction is None else {"extraction": extraction}
    _check_base(by, measure, base, control, cross)
    with open_store(**settings(store, graph, catalog).place) as opened:
        if base is None:
            shown = progress and not NOTES.quiet
            table = queries.compare(opened, by, measure=measure or "jaccard", progress=shown, **chosen)
        else:
            found = queries.read_cross_results(cross) if cross else None
            table = queries.compare_models(opened, base, control=control, cross=found, **chosen)
    emit(replace(table, frame=readable(table.frame, to)), to)


def _check_base(by: str, measure: str | None, base: str | None, control: str | None, cross: list[Path] | None) -> None:
    """Check the options that compare one model with others.

    Raises:
        InputError: one of them is given without the options that it needs.
    """
    for option, value in (("--control", control), ("--cross", cross)):
        if value and base is None:
            raise InputError(f"{option}: expected --base MODEL, with which models are compared; add it")
    if base is not None and by != "model":
        raise InputError(f"--base: expected --by model, got --by {by}; only models are compared with a base")
    if base is not None and measure is not None:
        raise InputError(
            "--measure: with --base, edges are compared by jaccard, and models of different shapes by profile; leave "
            "it out"
        )


def report(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The HTML file to write.")] = Path(
        "circuitstore-report.html"
    ),
    run: RunName = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="MODEL",
            help="The model that other models are compared with; default: the one whose circuits were stored first.",
        ),
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(
            "--control",
            metavar="MODEL",
            help="A fine-tuning of the base from which no change of interest is expected.",
        ),
    ] = None,
    cross: Annotated[
        list[Path] | None,
        typer.Option(
            "--cross",
            metavar="FILE",
            help="What circuitstore cross --out FILE wrote: circuits on images of other classes, or in other models; "
            "repeat for several files. Nothing is run here.",
        ),
    ] = None,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Write an HTML report of a run or of the store.

    One self-contained file: similarity, faithfulness, drawings of circuits, gained and lost edges, and
    comparisons of models, with noise floors.
    """
    from ..analysis import write_report
    from ..query import read_cross_results
    from ..store import open_store

    found = read_cross_results(cross) if cross else None
    with open_store(**settings(store, graph, catalog).place) as opened:
        print(write_report(opened, out, run=run, base=base, control=control, cross=found))
