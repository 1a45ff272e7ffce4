"""Fault injection: `circuitstore index` killed at random moments, and the graph server killed during a run.

A small run over the digits is repeatedly killed by SIGKILL, mostly after its first answer, and run again. When it
finishes, the store is compared edge by edge with that of an undisturbed run, and a new run starts. For Neo4j the server
is also killed and restarted during a run. The benchmark starts its own server, from Maven artifacts.

    python benchmarks/faults.py                         200 kills, half of them on each engine, and 20 of the server
    python benchmarks/faults.py --engine ladybug --kills 50
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pandas as pd
from circuitstore.results import Table
from circuitstore.tests.kills import Kill, Trial
from circuitstore.tests.neo4j_server import OwnServer
from tqdm import tqdm


@contextmanager
def server(folder: Path) -> Iterator[OwnServer]:
    """Start a server, and put its account into the environment."""
    with closing(OwnServer(folder)) as started:
        os.environ |= {"CIRCUITSTORE_NEO4J_USER": started.user, "CIRCUITSTORE_NEO4J_PASSWORD": started.password}
        yield started


Fall = tuple[str, bool]
"""When a kill happened, and whether the store of the finished run equals the undisturbed one."""


def kill_the_command(trial: Trial, graph: OwnServer | None, kills: int, rng: random.Random, what: str) -> list[Fall]:
    """Kill the command `kills` times."""
    fell: list[Fall] = []
    numbers = itertools.count()  # a run may end before its kill
    with tqdm(total=kills, desc=what, unit="kill", dynamic_ncols=True) as bar:
        while len(fell) < kills:
            name = f"store-{next(numbers)}"
            if graph is not None:
                graph.empty()
            some = trial.killed(name, rng, kills - len(fell))
            equal = not report(trial.differences(name))
            bar.write(f"{name}: killed {len(some)} times, {'equal' if equal else 'NOT equal'} at the end")
            fell += [(place(kill, trial.circuits), equal) for kill in some]
            bar.update(len(some))
    return fell


def place(kill: Kill, circuits: int) -> str:
    if not kill.discoveries:
        where = "before the first answer was stored"
    elif kill.circuits < circuits:
        where = "between the first answer and the last circuit in the archive"
    else:
        where = "all in the archive, not all in the graph or the command not ended"
    return where + (", with a half-written file" if kill.unfinished else "")


def report(differences: list[str]) -> list[str]:
    for difference in differences:
        tqdm.write(f"  {difference}")
    return differences


def kill_the_server(trial: Trial, graph: OwnServer, kills: int, rng: random.Random) -> list[Fall]:
    """Kill the server `kills` times at random moments of a run, and restart it after up to 5 seconds."""
    fell: list[Fall] = []
    for number in tqdm(range(kills), desc="server", unit="kill", dynamic_ncols=True):
        graph.empty()
        after, away = rng.random() * trial.took_s, rng.random() * 5
        began = time.monotonic()
        restart = threading.Thread(target=_restart, args=(graph, after, away))
        restart.start()
        status = trial.index(f"server-{number}")
        took = time.monotonic() - began
        restart.join()
        if status != 0:  # it was down when the command began: the same command continues
            status = trial.index(f"server-{number}")
        equal = status == 0 and not report(trial.differences(f"server-{number}"))
        when = f"killed after {after:.1f} s, down for {away:.1f} s plus its start, the run took {took:.1f} s"
        tqdm.write(f"server-{number}: {when}, {'equal' if equal else 'NOT equal'} at the end")
        fell.append(("the server, during a run", equal))
    return fell


def _restart(graph: OwnServer, after_s: float, away_s: float) -> None:
    time.sleep(after_s)
    graph.kill()
    time.sleep(away_s)
    graph.start()


def counts_by_engine(fell: dict[str, list[Fall]]) -> Table:
    """Count kills by engine and moment, and those after which the store differed."""
    frame = pd.DataFrame([(engine, *fall) for engine, falls in fell.items() for fall in falls])
    frame.columns = ["engine", "moment of the kill", "equal"]
    counts = pd.crosstab(frame["moment of the kill"], frame["engine"])
    counts.loc["the store differed from the undisturbed one"] = (~frame["equal"]).groupby(frame["engine"]).sum()
    return Table(counts.rename_axis(columns=None).reset_index())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["ladybug", "neo4j", "both"], default="both")
    parser.add_argument("--kills", type=int, default=200, help="kills of the command, in total (default 200)")
    parser.add_argument("--server-kills", type=int, default=20, help="kills of the server (default 20)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    engines = ["ladybug", "neo4j"] if args.engine == "both" else [args.engine]
    share, fell = args.kills // len(engines), {}
    with tempfile.TemporaryDirectory() as folder:
        for engine in engines:
            rng, home = random.Random(f"{args.seed} {engine}"), Path(folder, engine)
            home.mkdir()
            if engine == "ladybug":
                with closing(Trial(home, None)) as trial:
                    fell[engine] = kill_the_command(trial, None, share, rng, engine)
                continue
            with server(home / "server") as graph, closing(Trial(home, graph.url)) as trial:
                fell[engine] = kill_the_command(trial, graph, share, rng, engine)
                fell[engine] += kill_the_server(trial, graph, args.server_kills, rng)
    print(f"\n{counts_by_engine(fell).to_pandas().to_string(index=False)}")
    all_equal = all(equal for falls in fell.values() for _, equal in falls)
    print("\nevery store equals the undisturbed one" if all_equal else "\nNOT every store equals the undisturbed one")
    raise SystemExit(0 if all_equal else 1)


if __name__ == "__main__":
    main()
