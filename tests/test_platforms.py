"""The package can be imported without POSIX modules, which simulates Windows on Linux."""

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
import platformdirs, torch, tqdm, typer, jinja2, jaxtyping, multiprocessing.util, concurrent.futures.thread
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None  # later imports raise ModuleNotFoundError
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


def test_every_module_can_be_imported_without_posix_modules() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


def test_on_windows_no_signal_is_sent_to_check_for_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows, `os.kill` ends the process for every signal."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "kill", None)
    assert lease.exists(os.getpid()) and lease.exists(1 << 22)
