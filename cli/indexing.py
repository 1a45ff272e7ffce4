"""Commands that look at images, index them, and run models on them, from `demo` to `detect`."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .options import CatalogUrl, Form, GraphUrl, Out, Progress, StoreFolder, Wait, settings
from .output import NOTES, Destination, Format, emit, print_message, print_message_rows, readable
from .pairs import json_or_text, parse_pairs
from .pairs import text as as_text

if TYPE_CHECKING:
    from ..ingest import IndexResult, Spec
    from ..results import Table

ITEMS_FAILED = 1
"""Exit code if items failed."""

SURVEY_ROWS, DECIMALS = 40, 3
"""Maximum number of rows of the table before a run, and decimals of its shares."""

MAX_NOTICES = 10
"""Maximum number of notes of an indexing run that are printed."""


def demo(
    report: Annotated[Path, typer.Option("--report", metavar="FILE", help="The HTML report to write.")] = Path(
        "circuitstore-demo.html"
    ),
    wait: Wait = 0.0,
    progress: Progress = True,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Index, compare and report circuits of handwritten digits.

    Indexes ten classes, natural and with a wrong word printed below the digit, with scores by EAP-IG in
    the split form. Takes about a minute on two cores. Running it again recomputes nothing.
    """
    from ..analysis import summarise, write_report
    from ..ingest import demo_spec, index
    from ..store import open_store

    place = settings(store, graph, catalog).place
    spec = demo_spec()
    shown = progress and not NOTES.quiet
    _print_result(index(spec, **place, wait_s=wait, progress=shown, on_survey=_print_survey))
    with open_store(**place) as opened:
        print(summarise(opened, spec.name))
        print(f"\nreport: {write_report(opened, report, run=spec.name)}")


def index(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.toml", help="What to index; see: circuitstore docs spec")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print items, forwards, backwards, seconds and megabytes.")
    ] = False,
    devices: Annotated[
        str | None,
        typer.Option("--devices", metavar="DEVICE,…", help="Run on these, one process each: cuda:0,cuda:1 or cpu,cpu."),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option("--part", metavar="K/N", help="Only part K of N of the items, in a store of its own."),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Retry items that failed before.")] = False,
    wait: Wait = 0.0,
    progress: Progress = True,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Discover and store the circuits of a spec. Run again to continue.

    First prints a table of weights, preprocessing, accuracy and attack success per class and condition.
    Finished items are not repeated; a changed spec under the same name adds items. If items fail, prints
    their errors and exits with code 1; --retry-failed repeats them.
    """
    from .. import ingest

    place = settings(store, graph, catalog).place
    wanted: Spec = ingest.load_spec(spec)
    if devices is not None:
        wanted = wanted.on(*devices.split(","))
    if part is not None:
        wanted = wanted.only_part(*_part(part))
    if dry_run:
        emit(ingest.dry_run(wanted, **place, progress=progress, on_survey=_print_survey))
        return
    options: dict[str, Any] = {"retry_failed": retry_failed, "wait_s": wait, "progress": progress and not NOTES.quiet}
    _print_result(ingest.index(wanted, **place, **options, on_survey=_print_survey))


def _part(text: str) -> tuple[int, int]:
    """Return K and N of `K/N`."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None:
        raise InputError(f"--part: expected K/N, such as 3/16, got {text!r}")
    return int(match[1]), int(match[2])


def preview(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.toml", help="The spec to preview; see circuitstore docs spec.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.png", help="Write a sheet of images of each class.")
    ] = None,
    form: Form = None,
    progress: Progress = True,
) -> None:
    """Look at model and images before indexing.

    Prints accuracy and attack success per class and condition, over the images from which indexing would
    select. With --out, also writes a picture: clean, attacked and corrupted images side by side, with the
    class that the model predicts for each. Nothing is scored or stored. The table has the shortest distinct
    names of conditions; --format csv or json has their full names.
    """
    from .. import ingest
    from ..results import Table

    if out is not None:
        from ..analysis.sheet import checked_path

        checked_path(out)
    seen = ingest.preview(ingest.load_spec(spec), progress=progress)
    to = Destination.of(None, form)
    frame = readable(seen.survey.frame.round(DECIMALS), to)
    emit(Table(frame, (*seen.notices, *seen.survey.notes), seen.survey.facts), to)
    if out is not None:
        from ..analysis import write_sheet

        print_message(f"sheet: {write_sheet(seen, out)}")


def probe(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.toml", help="Names the model with its head, and the images.")],
    form: Form = None,
    progress: Progress = True,
) -> None:
    """Train a linear classifier for a model without one.

    Runs the spec's model on all of its images and fits a logistic regression to the pooled tokens: on discovery
    images, with selection images to choose the penalty. Writes the classifier to the file that the spec names
    as the model's head, and prints the accuracy, also on report images.
    """
    from .. import ingest
    from ..results import Table

    wanted = ingest.load_spec(spec)
    file = ingest.probe_file(wanted)
    trained = ingest.train_probe(wanted, progress=progress and not NOTES.quiet)
    trained.head.save(file)
    emit(
        Table(trained.table.frame.round(DECIMALS), trained.table.notes, trained.table.facts), Destination.of(None, form)
    )
    print_message(f"head: {file}")


def cross(
    spec: Annotated[
        Path, typer.Argument(metavar="SPEC.toml", help="The model and the images to evaluate circuits on.")
    ],
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="RUN", help="The run whose circuits are evaluated; default: the spec's."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="NAME=VALUE",
            help="Only circuits with this property, such as attack=natural; repeat a name to allow several values.",
        ),
    ] = None,
    same: Annotated[
        list[str] | None,
        typer.Option(
            "--same",
            metavar="FIELD",
            help="Evaluate circuits only on images of their own class, condition or recipe (corruption, metric, type); "
            "repeat to require several.",
        ),
    ] = None,
    matrix: Annotated[
        str | None,
        typer.Option(
            "--matrix",
            metavar="FIGURE",
            help="Print this figure, such as faithfulness, as a matrix: a row per circuit, a column per set of images.",
        ),
    ] = None,
    form: Form = None,
    out: Out = None,
    progress: Progress = True,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Evaluate stored circuits on other classes, or in another model.

    Evaluates every circuit of a run on the report images of each class and condition of the spec, in the
    model of the spec: cross-class faithfulness, or the circuits of a base model in a fine-tuned one.
    For compare --by model --cross, --same class --same condition --same recipe is enough. Nothing is
    stored.
    """
    from .. import ingest, query

    to = Destination.of(out, form)
    place = settings(store, graph, catalog).place
    equals = parse_pairs("--where", where or [], as_text)
    shown = progress and not NOTES.quiet
    options: dict[str, Any] = {"run": run, "where": equals, "same": same or (), "progress": shown}
    table = ingest.cross_evaluate(ingest.load_spec(spec), **options, **place)
    emit(table if matrix is None else query.cross_matrix(table, matrix), to)


def defend(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.toml", help="A spec with a table [defence].")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the rows of the study, and how many responses are stored.")
    ] = False,
    form: Form = None,
    out: Out = None,
    wait: Wait = 0.0,
    progress: Progress = True,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Study defences against attacks. Run again to continue.

    Finds the circuit and the directions of each attack on discovery images, chooses defences on selection
    images at a bounded clean loss, and reports them on report images, with random controls, 95 %
    intervals, and attackers who know the defence. Printed as a table of accuracies; --format csv or json has
    all columns. See circuitstore docs safety.
    """
    from .. import circuits, ingest
    from ..results import Table

    to = Destination.of(out, form)
    place = settings(store, graph, catalog).place
    if dry_run:
        emit(ingest.outline_defence(ingest.load_spec(spec), **place), to)
        return
    result = ingest.defend(ingest.load_spec(spec), **place, wait_s=wait, progress=progress and not NOTES.quiet)
    for notice in result.notices:
        NOTES.show(notice)
    shown = circuits.compact_defence_table(result.table.frame) if to.form == Format.table else result.table.frame
    emit(Table(shown, result.table.notes), to)
    print_message(f"{result.run}: {result.computed} responses computed in {result.seconds:.0f} s")


def correct(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.toml", help="A spec with a table [correction].")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check the spec, and print the numbers of images.")
    ] = False,
    form: Form = None,
    out: Out = None,
    wait: Wait = 0.0,
    progress: Progress = True,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Correct a model that trusts a cue or confuses two classes. Run again to continue.

    Finds the edges that carry the wrong logit on discovery images, chooses corrections on selection images at
    a bounded loss, and reports them on report images by group, with random controls, whole heads, a last layer
    trained again, and 95 % intervals. Printed as a table of accuracies; --format csv or json has all columns.
    See circuitstore docs correction.
    """
    from .. import circuits, ingest
    from ..results import Table

    to = Destination.of(out, form)
    shown = progress and not NOTES.quiet
    if dry_run:
        emit(ingest.correction_images(ingest.load_spec(spec), progress=shown), to)
        return
    place = settings(store, graph, catalog).place
    result = ingest.correct(ingest.load_spec(spec), **place, wait_s=wait, progress=shown)
    for notice in result.notices:
        NOTES.show(notice)
    frame = result.table.frame
    emit(Table(circuits.compact_correction_table(frame) if to.form == Format.table else frame, result.table.notes), to)
    print_message(f"{result.run}: {result.computed} responses computed in {result.seconds:.0f} s")


def detect(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.toml", help="The spec of an indexed run.")],
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="FOLDER", help="Score the image files of this folder, at any depth, instead."),
    ] = None,
    detector: Annotated[
        str, typer.Option("--detector", metavar="KIND", help="Kind of the detector; see circuitstore docs detection.")
    ] = "edges-mahalanobis",
    parameter: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=VALUE", help="A parameter of the detector, such as method=eap; repeat."),
    ] = None,
    false_alarms: Annotated[
        float,
        typer.Option("--false-alarms", metavar="SHARE", help="Share of unattacked images that may be flagged."),
    ] = 0.05,
    every: Annotated[bool, typer.Option("--all", help="Print all images, not only the flagged ones.")] = False,
    form: Form = None,
    out: Out = None,
    progress: Progress = True,
    wait: Wait = 0.0,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Flag suspicious images, and list the edges that speak against them.

    Fits a detector to the unattacked discovery images of a run, chooses its threshold on the selection images,
    and stores it beside the run. Then scores the report images under each condition of the run, which are also
    stored (circuitstore query flagged-images), or the images of a folder. An image is suspicious if the model
    processes it unlike the run's images of the class that the model names.
    """
    from .. import ingest
    from ..defence import DETECTORS

    to = Destination.of(out, form)
    place = settings(store, graph, catalog).place
    use = DETECTORS.resolve(detector, parse_pairs("--param", parameter or [], json_or_text))
    options: dict[str, Any] = {"folder": images, "false_alarms": false_alarms, "wait_s": wait}
    shown = progress and not NOTES.quiet
    table = ingest.detect(ingest.load_spec(spec), use, progress=shown, **options, **place).images
    if not every:
        table = replace(table, frame=table.frame[table.frame["flagged"]].reset_index(drop=True))
    emit(table, to)


def _print_survey(survey: Table) -> None:
    """Print model and images of a run on stderr, before it begins."""
    for name, value in survey.facts.items():
        print_message(f"{name}: {value}")
    frame = readable(survey.frame.round(DECIMALS), Destination())
    rows = list(frame.itertuples(index=False, name=None))
    print_message_rows(list(survey.frame.columns), rows[:SURVEY_ROWS])
    if len(rows) > SURVEY_ROWS:
        print_message(f"… and {len(rows) - SURVEY_ROWS} more rows; circuitstore preview shows all")
    for note in survey.notes:
        NOTES.show(note)


def _print_result(result: IndexResult) -> None:
    """Print the result of an indexing run on stderr; exit with code 1 if items failed."""
    notices = [notice for notice in result.notices if notice not in NOTES.shown]
    for notice in notices[:MAX_NOTICES]:
        NOTES.show(notice)
    if len(notices) > MAX_NOTICES:
        print_message(f"note: … and {len(notices) - MAX_NOTICES} more")
    for item, error in result.failed.items():
        print_message(f"failed: {item}: {error}")
    if result.done or result.failed:
        counts = f"{result.done} items done, {result.skipped} already in the store, {len(result.failed)} failed"
        print_message(f"{result.run}: {counts}; {result.circuits} circuits stored in {result.seconds:.0f} s")
    else:
        print_message(f"{result.run}: all {result.skipped} items are already in the store; nothing was recomputed")
    if result.failed:
        raise typer.Exit(ITEMS_FAILED)
