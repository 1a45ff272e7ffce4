"""The program: its commands in the order of the help, and its own options."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from importlib import metadata
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ..errors import CircuitStoreError
from . import doctor, exchange, indexing, maintenance, notes, pages, reading, serve
from .output import NOTES, logging_to_stderr, print_message, print_stderr
from .streams import prepared

USER_ERROR, INTERRUPTED = 2, 130
"""Exit codes."""

app = typer.Typer(
    name="circuitstore",
    help="Discover, store, query and compare circuits of vision transformers.",
    epilog="The store: --store, else CIRCUITSTORE_STORE, else circuitstore.toml, else ./circuitstore-data.",
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


class Command(TyperCommand):
    """A command that also takes the options `-v` and `-q` of the program."""

    def get_params(self, ctx: Any) -> Any:
        shared = [p for p in ctx.find_root().command.params if p.name in ("verbose", "quiet")]
        *own, help_ = super().get_params(ctx)
        return [*own, *shared, help_]


for function in (
    *(
        indexing.demo,
        indexing.index,
        indexing.preview,
        indexing.probe,
        indexing.cross,
        indexing.defend,
        indexing.detect,
        indexing.correct,
    ),
    *(reading.status, reading.query, reading.show, reading.draw, reading.compare, reading.report),
    serve.serve,
    *(exchange.export, exchange.import_),
    *(
        maintenance.similar,
        maintenance.merge,
        maintenance.verify,
        maintenance.rebuild,
        maintenance.migrate,
        maintenance.gc,
        maintenance.delete,
    ),
    *(pages.docs, doctor.doctor),
):
    app.command(function.__name__.strip("_"), cls=Command)(function)

note = typer.Typer(help="Add, list and export notes about parts of a store.", no_args_is_help=True)
for function in (notes.add, notes.list_, notes.export, notes.import_):
    note.command(function.__name__.strip("_"), cls=Command)(function)
app.add_typer(note, name="note")


def main() -> None:
    """Run the command line. A user error prints one message and exits with code 2, without a traceback."""
    before = signal.signal(signal.SIGINT, _interrupt) if _handles_interrupts() else None
    try:
        with prepared(), logging_to_stderr():
            app()
    except CircuitStoreError as error:
        print_stderr(f"error: {error}")
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:  # before the command has begun
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print_message("interrupted; finished items are stored. Run the same command again to continue.")
        raise
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


def _handles_interrupts() -> bool:
    """Return whether Ctrl-C is Python's to handle; a script's background command ignores it, and continues to."""
    main_thread = threading.current_thread() is threading.main_thread()
    return main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Stop the command cleanly, which may take a moment, at the first Ctrl-C; the second one ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise KeyboardInterrupt


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"circuitstore {metadata.version('circuitstore')}")
        raise typer.Exit


def _be_verbose(times: int) -> None:
    if times:
        NOTES.setLevel(logging.INFO if times == 1 else logging.DEBUG)


def _be_quiet(wanted: bool) -> None:
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
            callback=_be_verbose,
            metavar="",
            show_default=False,
            help="Print the log on stderr; twice for all details.",
        ),
    ] = 0,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", expose_value=False, callback=_be_quiet, help="Print only errors on stderr."),
    ] = False,
) -> None:
    pass
