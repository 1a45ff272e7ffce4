"""The command doctor, and its checks of the machine and the store."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import TYPE_CHECKING, NamedTuple

import typer

from ..errors import CircuitStoreError
from ..results import Table
from .options import CatalogUrl, Form, GraphUrl, Out, StoreFolder, settings
from .output import Destination, count, emit

if TYPE_CHECKING:
    from .settings import Settings

NEEDED_GB = 1.0
"""Free disk below which the doctor warns: the demo needs 0.1 GB, a ViT-B class with scores per image 2 MB."""

CHECK_FAILED = 1
"""Exit code if a check failed."""


def doctor(
    form: Form = None,
    out: Out = None,
    store: StoreFolder = None,
    graph: GraphUrl = None,
    catalog: CatalogUrl = None,
) -> None:
    """Check Python, packages, device, disk and store.

    Prints a remedy for each problem. Exportable with code 1 if a check fails.
    """
    to = Destination.of(out, form)
    findings = examine(settings(store, graph, catalog))
    emit(findings, to)
    if any(finding["state"] == "failed" for finding in findings):
        raise typer.Exit(CHECK_FAILED)


class Finding(NamedTuple):
    """One row of the doctor's table; `state` is `ok`, `warning` or `failed`."""

    check: str
    state: str
    found: str
    remedy: str = ""


def examine(settings: Settings) -> Table:
    """Run all checks, without writing to the store, and return a table of findings.

    The columns are `check`, `state`, `found` and `remedy`.
    """
    import pandas as pd

    findings = [finding for check in CHECKS for finding in check(settings)]
    return Table(pd.DataFrame(findings, columns=list(Finding._fields)))


def _python(settings: Settings) -> Iterator[Finding]:
    found = f"{platform.python_version()} at {sys.executable}, {platform.system()} {platform.machine()}"
    yield Finding("Python", "ok", found)


def _packages(settings: Settings) -> Iterator[Finding]:
    for name in ("circuitstore", "torch", "timm", "numpy", "pandas", "pyarrow", "ladybug", "neo4j", "sqlalchemy"):
        try:
            yield Finding(name, "ok", metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(name, "failed", "not installed", "install circuitstore again: pip install circuitstore")


def _device(settings: Settings) -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        found = f"{torch.cuda.get_device_name()}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        yield Finding("device", "ok", f"cuda: {found}")
    else:
        yield Finding("device", "ok", f"cpu, {torch.get_num_threads()} threads; no CUDA device, so models run here")


def _folder(settings: Settings) -> Iterator[Finding]:
    from ..store import Location

    try:
        folder = Location.of(settings.store).folder
    except CircuitStoreError as error:
        yield Finding("store folder", "failed", str(error), "use another folder with --store")
        return
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    remedy = "use another folder with --store, or change its owner or permissions"
    try:
        with tempfile.TemporaryFile(dir=existing):
            yield Finding(
                "store folder", "ok", f"{folder} {'can be written' if existing == folder else 'can be created'}"
            )
    except OSError as error:
        yield Finding("store folder", "failed", f"{existing}: {error.strerror or error}", remedy)
    free = shutil.disk_usage(existing).free / 1e9
    short = free < NEEDED_GB
    yield Finding(
        "free disk",
        "warning" if short else "ok",
        f"{free:.1f} GB",
        "free some space, or use another disk" if short else "",
    )


def _store(settings: Settings) -> Iterator[Finding]:
    from ..store import Location, open_store

    try:
        if settings.catalog is None and not Location.of(settings.store).folder.exists():
            yield Finding("store", "ok", "none yet; `circuitstore demo` or `circuitstore index` creates it")
            return
        with open_store(**settings.place) as store:
            listed = f"{count(len(store.circuits()), 'circuit')} in {count(len(store.runs()), 'run')}"
            yield Finding("catalog", "ok", f"opened, {listed}")
            answer = store.query("MATCH (c:Circuit) RETURN count(c) AS circuits").to_pandas()
            yield Finding("graph", "ok", f"opened, {count(int(answer['circuits'].iloc[0]), 'circuit')}")
    except CircuitStoreError as error:
        yield Finding("store", "failed", str(error), "see the message")


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (_python, _packages, _device, _folder, _store)
