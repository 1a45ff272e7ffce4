"""The program survives queries that crash LadybugDB, never end, or take all memory."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from circuitstore.errors import QueryFailed
from circuitstore.store.graph import open_graph
from circuitstore.store.graph.ladybug import engine as module
from circuitstore.store.graph.ladybug.backend import LadybugGraph
from circuitstore.store.graph.ladybug.engine import Engine
from circuitstore.testing.factories import make_records
from circuitstore.testing.graph_place import STORE, assert_holds, created

RECORDS = make_records(4, n=12, n_layers=2, n_heads=2)
CRASHES = "WITH null AS p RETURN nodes(p) AS x"
NEVER_ENDS = "RETURN 9223372036854775807! AS x"


def count(graph: LadybugGraph) -> int:
    return int(graph.run("MATCH (c:Circuit) RETURN count(*) AS n").frame["n"].item())


def process_of(graph: LadybugGraph) -> int:
    """Return the id of the process that answers the queries."""
    engine = graph._snapshots._idle[-1]._engine
    assert engine is not None
    return engine._process.pid


def await_gone(process: int) -> None:
    end = time.monotonic() + 60
    while Path(f"/proc/{process}").exists() and "zombie" not in Path(f"/proc/{process}/status").read_text():
        assert time.monotonic() < end, f"process {process} is still there"
        time.sleep(0.02)


def test_a_query_that_crashes_the_engine_is_one_message(graph: LadybugGraph) -> None:
    with pytest.raises(QueryFailed, match=r"crashed \(SIG(SEGV|ABRT|BUS)\).*nothing is lost"):
        graph.run(CRASHES)
    assert count(graph) == 2
    if not graph.read_only:
        graph.put(RECORDS, created(RECORDS))
        assert_holds(graph, RECORDS)
        assert count(graph) == 4


def test_a_query_that_the_engine_never_ends_is_ended(graph: LadybugGraph) -> None:
    with pytest.raises(QueryFailed, match=r"longer than 0\.3 s"):
        graph.run(NEVER_ENDS, timeout_s=0.3)
    assert count(graph) == 2


def test_ctrl_c_ends_a_query(graph: LadybugGraph) -> None:
    count(graph)
    process = process_of(graph)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        graph.run(NEVER_ENDS, timeout_s=1000)
    timer.join()
    await_gone(process)
    assert count(graph) == 2


@pytest.mark.parametrize("answer", ["collect(true)", "collect([i, i])"])
def test_one_row_cannot_take_all_memory(graph: LadybugGraph, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr(module, "HEAP", 1 << 26)
    with pytest.raises(QueryFailed, match=r"needs more than 1024 MiB of memory.*LIMIT"):
        graph.run(f"UNWIND range(1, 20000000) AS i RETURN {answer} AS x", timeout_s=100, max_mib=1)
    assert count(graph) == 2


def test_a_query_writes_no_file(graph: LadybugGraph, tmp_path: Path) -> None:
    """Without the guard, which would reject the text."""
    for at, text in enumerate(["COPY (RETURN 'x' AS x) TO '{}.csv'", "COPY (RETURN 'x' AS x) TO '{}.parquet'"]):
        with pytest.raises(QueryFailed):
            graph.run(text.format(tmp_path / f"stolen{at}"))
    assert all(file.stat().st_size == 0 for file in tmp_path.glob("stolen*"))


def test_the_process_ends_with_its_graph(url: str) -> None:
    graph = open_graph(url, store_id=STORE, read_only=True)
    assert isinstance(graph, LadybugGraph)
    first = process_of(graph)
    assert os.getpgid(first) != os.getpgid(0), "Ctrl-C in a terminal would reach it"
    graph.close()
    await_gone(first)
    other = open_graph(url, store_id=STORE, read_only=True)
    assert isinstance(other, LadybugGraph)
    second = process_of(other)
    del other
    gc.collect()
    await_gone(second)


def test_the_process_is_light(graph: LadybugGraph) -> None:
    """It imports neither torch nor pandas nor this package."""
    count(graph)
    loaded = Path(f"/proc/{process_of(graph)}/maps").read_text()
    assert "ladybug" in loaded
    assert not [name for name in ("torch", "pandas", "pyarrow", "numpy", "sqlalchemy") if f"/{name}/" in loaded]


def test_the_process_ends_with_its_parent(url: str) -> None:
    """A killed program leaves no process that continues to compute."""
    script = (
        "import sys, threading\n"
        "from circuitstore.store.graph import open_graph\n"
        "graph = open_graph(sys.argv[1], store_id=sys.argv[2], read_only=True)\n"
        "process = graph._snapshots._idle[-1]._engine._process.pid\n"
        "threading.Thread(target=graph.run, args=(sys.argv[3],), kwargs={'timeout_s': 1000}).start()\n"
        "print(process, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, url, STORE, NEVER_ENDS], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        process = int(parent.stdout.readline())
        time.sleep(0.2)
        assert Path(f"/proc/{process}").exists()
        parent.kill()
    await_gone(process)


def test_a_fork_leaves_the_process_to_its_parent(url: str) -> None:
    with open_graph(url, store_id=STORE, read_only=True) as graph:
        assert isinstance(graph, LadybugGraph)
        process, (read_end, write_end) = process_of(graph), os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(write_end)
                del graph
                gc.collect()
                os.read(read_end, 1)  # until the parent has closed its graph
            finally:
                os._exit(0)
        os.close(read_end)
        assert count(graph) == 2
    await_gone(process)  # the child does not keep its input open
    os.close(write_end)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_threads_get_their_own_answers(graph: LadybugGraph) -> None:
    def ask(i: int) -> int:
        return int(graph.run("UNWIND $x AS x RETURN sum(x) AS n", {"x": [i] * 3}).frame["n"].item())

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(20))) == [3 * i for i in range(20)]


def test_what_the_engine_gives_runs_no_code(url: str) -> None:
    """An answer is read as plain values, even if the process was compromised."""
    engine = Engine()
    script = "import os, struct, sys, pickle; data = pickle.dumps((None, os.getpid)); "
    script += "sys.stdout.buffer.write(struct.pack('<Q', len(data)) + data); sys.stdout.flush(); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        engine._readable.unregister(engine._answers)
        engine._answers = other.stdout  # pyright: ignore[reportAttributeAccessIssue]
        engine._readable.register(engine._answers)
        with pytest.raises(Exception, match=r"value of type posix\.getpid"):
            engine.rows("RETURN 1", {})
        other.kill()
    assert engine.ended
