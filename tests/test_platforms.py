"""The package imports where there is no POSIX: the nearest to Windows that can be had on Linux."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from circuitstore.store import lease

IMPORT_ALL = """
import importlib, os, pkgutil, signal, sys
import alembic.command, filelock, ladybug, neo4j, networkx, numpy, pandas, PIL.Image, plotly.graph_objects
import pyarrow.parquet, pydantic_settings, rich, safetensors, scipy.stats, sqlalchemy.dialects.sqlite, stamina, timm
import torch, tqdm, typer, jinja2, jaxtyping, multiprocessing.util, concurrent.futures.thread
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None  # whoever imports it from here on gets a ModuleNotFoundError
for module, names in ((os, "fork register_at_fork uname geteuid getuid statvfs"), (signal, "SIGKILL SIGSTOP alarm")):
    for name in names.split():
        delattr(module, name)
import circuitstore
for found in pkgutil.walk_packages(circuitstore.__path__, "circuitstore."):
    top = found.name.split(".")[1]
    if top not in ("tests", "testing", "docs", "examples", "benchmarks", "migrations") and "__main__" not in found.name:
        importlib.import_module(found.name)
print(sum(name.startswith("circuitstore.") for name in sys.modules))
"""


def test_every_module_imports_without_what_only_posix_has() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


def test_on_windows_nobody_is_signalled_to_see_whether_he_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """There `os.kill` ends the process, whatever the number of the signal."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "kill", None)
    assert lease.exists(os.getpid()) and lease.exists(1 << 22)
