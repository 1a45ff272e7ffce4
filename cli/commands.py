"""The commands. Each is its options and one library call; rooms are imported when a command runs."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from functools import partial
from importlib import metadata
from pathlib import Path
from textwrap import shorten
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from ..errors import CircuitStoreError, InputError
from ..notation import read_json
from .output import NOTES, STDOUT, Destination, Format, complain, emit, noting, say, say_rows
from .pages import list_pages, pages, read_page
from .streams import prepared

if TYPE_CHECKING:
    from ..ingest import IndexResult, Spec
    from ..results import Table
    from .settings import Settings

log = logging.getLogger("circuitstore")

USER_ERROR, DIFFERENCE, INTERRUPTED = 2, 1, 130
SURVEY_ROWS, ROUNDED = 40, 3
"""Rows of the table before a run that are shown, and decimals of its shares."""
NOTICES = 10
"""Notes of an indexing run that are shown one by one."""

app = typer.Typer(
    name="circuitstore",
    help="A store of circuits of vision transformers: discover, keep, query and compare them.",
    epilog="The store: --store, else CIRCUITSTORE_STORE, else circuitstore.toml, else ./circuitstore-data.",
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


class Command(TyperCommand):
    """A command that takes `-v` and `-q` as well, which are options of the program."""

    def get_params(self, ctx: Any) -> Any:
        told = [p for p in ctx.find_root().command.params if p.name in ("verbose", "quiet")]
        *own, help_ = super().get_params(ctx)
        return [*own, *told, help_]


command = partial(app.command, cls=Command)

StoreFolder = Annotated[
    str | None,  # a Path would make `bolt:/` of `bolt://`
    typer.Option("--store", metavar="FOLDER", help="Folder of the store; default ./circuitstore-data."),
]
GraphUrl = Annotated[
    str | None,
    typer.Option("--graph", metavar="URL", help="Graph elsewhere: bolt://HOST/DATABASE or ladybug:///FILE."),
]
CatalogUrl = Annotated[
    str | None,
    typer.Option(
        "--catalog", metavar="URL", help="Catalog elsewhere: postgresql+psycopg://USER@HOST/DATABASE or sqlite:///FILE."
    ),
]
Wait = Annotated[
    float,
    typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait for another writer of the store."),
]
RunName = Annotated[str | None, typer.Option("--run", metavar="RUN", help="Circuits of this run only.")]
Flagged = Annotated[
    bool, typer.Option("--flagged", help="Count flagged circuits, too: of all edges or none, or of few images.")
]
Form = Annotated[
    Format | None,
    typer.Option("--format", help="Form of the rows; by default what the name of the file tells, else a table."),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="Write the rows to a file, in the form that its name tells: .csv, .json, .parquet or .txt; - is stdout.",
    ),
]
Progress = Annotated[bool, typer.Option("--progress/--no-progress", help="Item, rate and remaining time, on stderr.")]


def main() -> None:
    """Run the command line: an error of the user is one message and exit code 2, never a traceback."""
    before = signal.signal(signal.SIGINT, _interrupted) if _raises_interrupt() else None
    try:
        with prepared(), noting():
            app()
    except CircuitStoreError as error:
        complain(f"error: {error}")
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:  # before the command has begun
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            say("stopped; what was finished is stored. Run the same command again to go on.")
        raise
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


def _raises_interrupt() -> bool:
    """Whether Ctrl-C is Python's to handle: a command in the background of a script ignores it, and goes on to."""
    main_thread = threading.current_thread() is threading.main_thread()
    return main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _interrupted(number: int, frame: FrameType | None) -> None:
    """The first Ctrl-C ends the command in order, which may take a moment, the second ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise KeyboardInterrupt


def settings(store: str | None, graph: str | None, catalog: str | None) -> Settings:
    from .settings import read_settings

    found = read_settings(store, graph, catalog)
    log.info("the store: %s", found.store or "in the default folder")
    return found


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"circuitstore {metadata.version('circuitstore')}")
        raise typer.Exit


def _say_more(times: int) -> None:
    if times:
        NOTES.setLevel(logging.INFO if times == 1 else logging.DEBUG)


def _say_less(wanted: bool) -> None:
    if wanted:
        NOTES.setLevel(logging.ERROR)


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            expose_value=False,
            callback=_say_more,
            metavar="",
            show_default=False,
            help="Say more on stderr: what is logged; twice for all details.",
        ),
    ] = 0,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", expose_value=False, callback=_say_less, help="Say nothing on stderr but errors."),
    ] = False,
) -> None:
    pass


@command()
def demo(
    report: Annotated[Path, typer.Option("--report", metavar="FILE", help="Where the HTML report goes.")] = Path(
        "circuitstore-demo.html"
    ),
    wait: Wait = 0.0,
    progress: Progress = True,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """The main job on handwritten digits: index, compare, report.

    Ten classes, natural and with a wrong word printed below the digit; scores by EAP-IG in the split
    form. Takes about a minute on two cores. Run again, it finds everything there.
    """
    from ..analysis import summarise, write_report
    from ..ingest import demo_spec, index
    from ..store import open_store

    place = settings(store, graph, catalog).place
    spec = demo_spec()
    shown = progress and not NOTES.quiet
    _tell(index(spec, **place, wait_s=wait, progress=shown, on_survey=_show_survey))
    with open_store(**place) as opened:
        print(summarise(opened, spec.name))
        print(f"\nreport: {write_report(opened, report, run=spec.name)}")


@command()
def index(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.toml", help="What to index; see: circuitstore docs spec")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print items, forwards, backwards, seconds and megabytes.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Ask items again that failed before.")] = False,
    wait: Wait = 0.0,
    progress: Progress = True,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Plan, discover, store. Run again to continue.

    Begins with a table: weights, preprocessing, accuracy and attack success per class and condition. Items that are
    done are not done again; a changed spec under the same name adds items. Exit code 1 when items failed; they are
    named, with their errors, and asked again with --retry-failed.
    """
    from .. import ingest

    place = settings(store, graph, catalog).place
    wanted: Spec = ingest.load_spec(spec)
    if dry_run:
        emit(ingest.dry_run(wanted, **place, progress=progress, on_survey=_show_survey))
        return
    options: dict[str, Any] = {"retry_failed": retry_failed, "wait_s": wait, "progress": progress and not NOTES.quiet}
    _tell(ingest.index(wanted, **place, **options, on_survey=_show_survey))


def _show_survey(survey: Table) -> None:
    """What a run works on, on stderr, before it begins."""
    for name, value in survey.facts.items():
        say(f"{name}: {value}")
    rows = list(survey.frame.round(ROUNDED).itertuples(index=False, name=None))
    say_rows(list(survey.frame.columns), rows[:SURVEY_ROWS])
    if len(rows) > SURVEY_ROWS:
        say(f"… and {len(rows) - SURVEY_ROWS} more rows; circuitstore preview shows all")
    for note in survey.notes:
        NOTES.tell(note)


@command()
def preview(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.toml", help="What to look at; see circuitstore docs spec.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.png", help="Write a sheet of images of each class.")
    ] = None,
    form: Form = None,
    progress: Progress = True,
) -> None:
    """Look at model and images before indexing.

    Accuracy and attack success per class and condition, over the candidates that indexing would look at. With --out,
    also a picture: clean, attacked and corrupted images side by side, with what the model reads in each. Nothing is
    scored or stored.
    """
    from .. import ingest
    from ..results import Table

    if out is not None:
        from ..analysis.sheet import checked_path

        checked_path(out)
    seen = ingest.preview(ingest.load_spec(spec), progress=progress)
    emit(
        Table(seen.survey.frame.round(ROUNDED), (*seen.notices, *seen.survey.notes), seen.survey.facts),
        Destination.of(None, form),
    )
    if out is not None:
        from ..analysis import write_sheet

        say(f"sheet: {write_sheet(seen, out)}")


def _tell(result: IndexResult) -> None:
    """What an indexing run did, on stderr; exit code 1 when items failed."""
    notices = [notice for notice in result.notices if notice not in NOTES.told]
    for notice in notices[:NOTICES]:
        NOTES.tell(notice)
    if len(notices) > NOTICES:
        say(f"note: … and {len(notices) - NOTICES} more")
    for item, error in result.failed.items():
        say(f"failed: {item}: {error}")
    if result.done or result.failed:
        counts = f"{result.done} items done, {result.skipped} there already, {len(result.failed)} failed"
        say(f"{result.run}: {counts}; {result.circuits} circuits stored in {result.seconds:.0f} s")
    else:
        say(f"{result.run}: all {result.skipped} items are there already; nothing was recomputed")
    if result.failed:
        raise typer.Exit(DIFFERENCE)


@command()
def status(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="Tell this run item by item.")] = None,
    form: Form = None,
    out: Out = None,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """What is done, running and failed, and the time left.

    Without RUN one row a run; with RUN one row an item, failed items with their errors.
    """
    from ..store import open_store
    from . import overview

    to = Destination.of(out, form)
    with open_store(**settings(store, graph, catalog).place) as opened:
        emit(overview.runs(opened) if run is None else overview.items(opened, run), to)


def _named_queries() -> Iterable[str]:
    from ..query import named_queries

    return named_queries()


@command()
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
            help="A parameter: a number, true, false, null, or text; several of one name are a list.",
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="When to end a query.")
    ] = 30.0,
    max_rows: Annotated[int, typer.Option("--max-rows", min=1, help="How many rows to give at most.")] = 10_000,
    run: RunName = None,
    flagged: Flagged = False,
    max_mib: Annotated[
        int, typer.Option("--max-mib", min=1, help="How large an answer may be, in MiB, as the engine sends it.")
    ] = 64,
    form: Form = None,
    out: Out = None,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Ask the graph: Cypher or a named query. Without either, list the named queries.

    Read only: what could write, or read files, is refused before it runs. Named queries count the newest
    answer to each question, without flagged circuits, and say how many they leave out.
    """
    from .. import query as queries
    from ..store import open_store
    from . import overview

    to = Destination.of(out, form)
    params = parse_pairs("--param", param or [], worded if queries.is_name(text or "") else typed)
    if text is None:
        emit(queries.list_named() if to.width is None else overview.queries(to.width), to)
        return
    with open_store(**settings(store, graph, catalog).place) as opened:
        asked = {"run": run, "flagged": flagged, "timeout_s": timeout, "max_rows": max_rows, "max_mib": max_mib}
        emit(queries.run(opened, text, params, **asked), to)


def parse_pairs(option: str, given: list[str], read: Callable[[str, str], Any]) -> dict[str, Any]:
    """The `name=value` pairs of an option; a name that is given several times has the list of its values.

    Args:
        read: what a value means: `typed`, or `worded`.

    Raises:
        InputError: no `=`, or no name before it.
    """
    pairs: dict[str, list[Any]] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(f"{option}: expected NAME=VALUE, for instance class=three, got {shorten(pair, 60)!r}")
        pairs.setdefault(name, []).append(read(value, f"{option} {name}"))
    return {name: values if len(values) > 1 else values[0] for name, values in pairs.items()}


def typed(value: str, where: str) -> Any:
    """A value for Cypher, which has kinds: what it is as JSON, a number for instance, else text."""
    try:
        return read_json(value, where)
    except json.JSONDecodeError:
        return value


def worded(value: str, where: str) -> Any:
    """A value whose kind its receiver knows: text, whatever it looks like, but for null, a list and text in quotes."""
    return typed(value, where) if value == "null" or value[:1] in ("[", '"') else value


@command()
def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of a circuit or discovery, or its beginning.")],
    form: Form = None,
    out: Out = None,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Show what is known of one circuit or discovery.

    Its properties in the graph, its recipe and evaluation, its runs: everything but the edges.
    """
    from ..store import open_store
    from . import overview

    to = Destination.of(out, form)
    with open_store(**settings(store, graph, catalog).place) as opened:
        emit(overview.one(opened, id), to, upright=True)


@command()
def draw(
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of a circuit, or its beginning.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.svg", help="The SVG file to write; - is stdout.")],
    most: Annotated[int, typer.Option("--most", min=1, help="Draw at most so many edges, the strongest.")] = 120,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Draw a circuit as an SVG picture.

    Layers from left to right, heads and MLPs as nodes, edges by score.
    """
    from ..store import open_store

    if out != STDOUT and out.suffix.lower() != ".svg":
        raise InputError(f"--out {out}: expected a name that ends in .svg, as an SVG picture is written")
    with open_store(**settings(store, graph, catalog).place) as opened:
        drawing = opened.circuit(id).draw(max_edges=most)
    if out == STDOUT:
        print(drawing)
    else:
        drawing.save(out)
        say(f"written to {out}")


@command()
def compare(
    by: Annotated[
        str,
        typer.Option(
            "--by",
            help="What to compare: class, condition, model, dataset, corruption or extraction; as sets of edges also "
            "method, form, metric or direction.",
        ),
    ] = "class",
    measure: Annotated[str, typer.Option("--measure", help="Measure of similarity.")] = "jaccard",
    extraction: Annotated[
        str | None, typer.Option("--extraction", help="Circuits extracted this way, such as top.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="NAME=VALUE",
            help="Circuits with this property only, such as metric=logit; several of one name: with any of these.",
        ),
    ] = None,
    run: RunName = None,
    flagged: Flagged = False,
    form: Form = None,
    out: Out = None,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """How alike circuits are, beside noise floor and chance level.

    All pairs of circuits that differ in one field only, the most alike first. The newest answer to each
    question is compared, without flagged circuits. What means different things is refused; what differs
    otherwise is reported.
    """
    from .. import query as queries
    from ..store import open_store

    to = Destination.of(out, form)
    equals = parse_pairs("--where", where or [], worded)
    with open_store(**settings(store, graph, catalog).place) as opened:
        chosen = {"run": run, "measure": measure, "extraction": extraction, "flagged": flagged, **equals}
        emit(queries.compare(opened, by, **chosen), to)


@command()
def report(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The HTML file to write.")] = Path(
        "circuitstore-report.html"
    ),
    run: RunName = None,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Write one HTML file with everything in it.

    Similarity, faithfulness, drawings of circuits, gained and lost edges, the noise floor beside them.
    """
    from ..analysis import write_report
    from ..store import open_store

    with open_store(**settings(store, graph, catalog).place) as opened:
        print(write_report(opened, out, run=run))


@command()
def verify(
    form: Form = None,
    out: Out = None,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Hold archive, catalog and graph against each other.

    Reads all that is stored and recomputes the checksums of its content; names every difference and its remedy.
    Exit code 1 when there is one.
    """
    from ..store import open_store

    to = Destination.of(out, form)
    with open_store(**settings(store, graph, catalog).place) as opened:
        differences = opened.verify()
    if len(differences):
        emit(differences, to)
        raise typer.Exit(DIFFERENCE)
    say("sound: archive, catalog and graph agree")


@command()
def rebuild(wait: Wait = 0.0, store: StoreFolder = None, graph: GraphUrl = None, catalog: CatalogUrl = None) -> None:
    """Make catalog and graph again from the archive; keep what can be read of a damaged catalog."""
    from ..store import rebuild_store

    emit(rebuild_store(**settings(store, graph, catalog).place, wait_s=wait))


@command()
def migrate(store: StoreFolder = None, graph: GraphUrl = None, catalog: CatalogUrl = None) -> None:
    """Bring a store of an older version to this one's schema.

    Back it up first; see: circuitstore docs operating
    """
    from ..store import migrate_store

    emit(migrate_store(**settings(store, graph, catalog).place))


@command()
def gc(wait: Wait = 0.0, store: StoreFolder = None, graph: GraphUrl = None, catalog: CatalogUrl = None) -> None:
    """Remove what no run refers to.

    Files left by interrupted writes go, too. Run it when no reader of the store runs.
    """
    from ..store import open_store

    with open_store(**settings(store, graph, catalog).place) as opened, opened.writer(wait_s=wait) as writer:
        emit(writer.gc())


@command()
def delete(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run to forget.")],
    wait: Wait = 0.0,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Forget a run.

    Its circuits stay until `circuitstore gc`, and longer where another run shares them.
    """
    from ..store import open_store

    with open_store(**settings(store, graph, catalog).place) as opened, opened.writer(wait_s=wait) as writer:
        writer.delete_run(run)
    say(f"{run}: forgotten; `circuitstore gc` removes what no other run refers to")


@command()
def docs(
    page: Annotated[
        str | None,
        typer.Argument(metavar="PAGE", help="The page to print.", autocompletion=lambda: list(pages())),
    ] = None,
) -> None:
    """Print a page of the documentation.

    Without PAGE list the pages and where they are.
    """
    if page is None:
        emit(list_pages(), Destination())
    else:
        print(read_page(page), end="")


@command()
def doctor(
    form: Form = None,
    out: Out = None,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Check Python, packages, device, disk and store.

    Tells a remedy for what is wrong. Exit code 1 when a check fails.
    """
    from .doctor import examine

    to = Destination.of(out, form)
    findings = examine(settings(store, graph, catalog))
    emit(findings, to)
    if any(finding["state"] == "failed" for finding in findings):
        raise typer.Exit(DIFFERENCE)
