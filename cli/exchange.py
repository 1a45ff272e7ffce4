"""Commands that exchange circuits with other tools: export, import."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError, recorded
from .options import CatalogUrl, GraphUrl, StoreFolder, Wait, settings
from .output import NOTES, STDOUT, print_message

if TYPE_CHECKING:
    from ..ingest.kinds import Kind


class ScoredOf(StrEnum):
    """What another tool took gradients or differences of."""

    loss = "loss"
    metric = "metric"


def _written() -> Iterable[str]:
    from ..formats import FORMATS

    return [key for key, kind in FORMATS.items() if kind.write is not None]


def _read() -> Iterable[str]:
    from ..formats import FORMATS

    return [key for key, kind in FORMATS.items() if kind.read is not None]


def export(
    id: Annotated[list[str], typer.Argument(metavar="ID…", help="Ids of circuits, or their beginnings.")],
    format: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="FORMAT",
            help="The format; see: circuitstore docs formats.",
            autocompletion=lambda: list(_written()),
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="PATH", help="The file or folder to write; - is stdout, for formats of one file."
        ),
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Write circuits to files of other tools.

    Formats: eap-ig, eap-ig-pt, mib, neuronpedia, circuit-tracer, graphml, cytoscape, csv, matrix,
    neo4j-csv, dataset. Formats with one circuit per file write several circuits to a folder. A file or
    folder appears completely or not at all.
    """
    from ..formats import encoded, export_circuits
    from ..query import notes_to_export
    from ..store import open_store

    with open_store(**settings(store, graph, catalog).place) as opened:
        records = [opened.circuit(start) for start in id]
        notes = notes_to_export(opened, [record.id for record in records])
        if out != STDOUT:
            print_message(f"written to {export_circuits(records, format, out, overwrite=overwrite, notes=notes)}")
            return
        files = encoded(records, format, notes)
    if list(files) != [""]:
        raise InputError(f"--out -: {format} writes several files; give the name of a folder")
    try:
        print(files[""].decode(), end="")
    except UnicodeDecodeError:
        raise InputError(f"--out -: {format} is a torch file, which is no text; give the name of a file") from None


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file of the other tool.")],
    format: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="FORMAT",
            help="Its format: eap-ig, eap-ig-pt, edge-pruning, auto-circuit or acdc.",
            autocompletion=lambda: list(_read()),
        ),
    ],
    model: Annotated[
        str,
        typer.Option("--model", metavar="NAME|FOLDER|SPEC.toml", help="The model, or a spec that describes it."),
    ],
    cls: Annotated[str, typer.Option("--class", metavar="NAME", help="The class: a label of the model.")],
    scored: Annotated[
        ScoredOf | None,
        typer.Option(
            "--scored",
            help="What the other tool took gradients or differences of, which decides the sign; required if the file "
            "has scores, unless circuitstore wrote it.",
        ),
    ] = None,
    class_index: Annotated[
        int | None, typer.Option("--class-index", min=0, help="Index of its logit, if the class is no label.")
    ] = None,
    dataset: Annotated[str, typer.Option("--dataset", help="Name of the data set.")] = "imported",
    condition: Annotated[
        str, typer.Option("--condition", metavar="KIND", help="What was done to the images, as in a spec.")
    ] = "natural",
    corruption: Annotated[
        str | None, typer.Option("--corruption", metavar="KIND", help="What they are contrasted with, as in a spec.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="KIND", help="What the scores measure, as in a spec.")
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option("--image", metavar="FILE", help="An image that the circuit was found on; repeat for several."),
    ] = None,
    found_by: Annotated[
        str, typer.Option("--found-by", metavar="NAME", help="The method of the other tool, such as eap-ig.")
    ] = "",
    edges: Annotated[
        list[int] | None,
        typer.Option(
            "--edges", metavar="N", min=1, help="Also extract a circuit of N edges from the scores; repeat for several."
        ),
    ] = None,
    run: Annotated[str, typer.Option("--run", metavar="RUN", help="Name of the run to store it under.")] = "imported",
    wait: Wait = 0.0,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Store a circuit from a file of another tool.

    Its method is `imported`, with the hash of the file, and index never computes it. Nothing in the file
    is run: pickles are refused. KIND is a name, or a table such as '{ kind = "blur", sigma = 2.0 }'.
    """
    from .. import ingest

    place = settings(store, graph, catalog).place
    with _notes():
        loaded = ingest.model_named(model)
        of = ingest.OwnImages(
            dataset=dataset,
            class_name=cls,
            class_index=class_index,
            images=images or None,
            condition=_kind("--condition", condition),
            corruption=_kind("--corruption", corruption),
        )
        options: dict[str, Any] = {"scored": scored and scored.value, "metric": _kind("--metric", metric)}
        result = ingest.imported_result(file, format, loaded, of, **options, found_by=found_by, edges=edges or ())
        done = ingest.store_results(run, [result], wait_s=wait, **place)
        for notice in done.notices:
            NOTES.show(notice)
    if done.done:
        print_message(f"{run}: {file.name} stored, {done.circuits} circuits")
    else:
        print_message(f"{run}: {file.name} is already in the store; {done.circuits} circuits are new")


def _kind(option: str, text: str | None) -> Kind:
    """Return a kind by its name, or the kind that a table in TOML describes."""
    from ..ingest import NOT_STATED
    from ..notation import read_toml

    if text is None:
        return NOT_STATED
    return read_toml(f"kind = {text}", option)["kind"] if text.lstrip().startswith("{") else text


@contextmanager
def _notes() -> Iterator[None]:
    """Print warnings of the library as notes."""
    with recorded() as texts:
        yield
    for text in texts:
        NOTES.show(text)
