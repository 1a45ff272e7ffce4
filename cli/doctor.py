"""Is this machine, and this store, fit for work? Every check says what it found and what to do."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import NamedTuple

from ..errors import CircuitStoreError
from ..results import Table
from .output import count
from .settings import Settings

NEEDED_GB = 1.0
"""Free disk below which a run may not fit: the demo needs 0.1 GB, a ViT-B class with scores per image 2 MB."""


class Finding(NamedTuple):
    """One line of the doctor's table. `state` is `ok`, `warning` or `failed`."""

    check: str
    state: str
    found: str
    remedy: str = ""


def examine(settings: Settings) -> Table:
    """Run every check; none of them writes to the store.

    Columns `check, state, found, remedy`.
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
        yield Finding("store folder", "failed", str(error), "choose another folder with --store")
        return
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    remedy = "choose another folder with --store, or change its owner or rights"
    try:
        with tempfile.TemporaryFile(dir=existing):
            yield Finding("store folder", "ok", f"{folder} {'can be written' if existing == folder else 'can be made'}")
    except OSError as error:
        yield Finding("store folder", "failed", f"{existing}: {error.strerror or error}", remedy)
    free = shutil.disk_usage(existing).free / 1e9
    short = free < NEEDED_GB
    yield Finding(
        "free disk",
        "warning" if short else "ok",
        f"{free:.1f} GB",
        "make room, or choose another disk" if short else "",
    )


def _store(settings: Settings) -> Iterator[Finding]:
    from ..store import Location, open_store

    try:
        if settings.catalog is None and not Location.of(settings.store).folder.exists():
            yield Finding("store", "ok", "none yet; `circuitstore demo` or `circuitstore index` makes it")
            return
        with open_store(**settings.place) as store:
            listed = f"{count(len(store.circuits()), 'circuit')} in {count(len(store.runs()), 'run')}"
            yield Finding("catalog", "ok", f"opened, {listed}")
            answer = store.query("MATCH (c:Circuit) RETURN count(c) AS circuits").to_pandas()
            yield Finding("graph", "ok", f"opened, {count(int(answer['circuits'].iloc[0]), 'circuit')}")
    except CircuitStoreError as error:
        yield Finding("store", "failed", str(error), "do what the message says")


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (_python, _packages, _device, _folder, _store)
