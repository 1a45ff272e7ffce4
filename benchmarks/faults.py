"""What a store survives: `circuitstore index` killed at random moments, and a graph server killed under it.

A small run over the digits is killed by SIGKILL again and again, mostly after its first answer, and each time run
again; whenever it comes to its end the store is held against that of a run left in peace, edge by edge, and another is
begun. For Neo4j the server is killed and started again as well, while the run goes on. The server is one from Maven
artifacts, started here.

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
    """A server of our own, whose account is in the environment."""
    with closing(OwnServer(folder)) as started:
        os.environ |= {"CIRCUITSTORE_NEO4J_USER": started.user, "CIRCUITSTORE_NEO4J_PASSWORD": started.password}
        yield started


Fall = tuple[str, bool]
"""Where a kill fell, and whether the store equalled the undisturbed one when the run had come to its end."""


def kill_the_command(trial: Trial, graph: OwnServer | None, kills: int, dice: random.Random, what: str) -> list[Fall]:
    """So many kills of the command."""
    fell: list[Fall] = []
    numbers = itertools.count()  # a run may end before its kill
    with tqdm(total=kills, desc=what, unit="kill", dynamic_ncols=True) as bar:
        while len(fell) < kills:
            name = f"store-{next(numbers)}"
            if graph is not None:
                graph.empty()
            some = trial.killed(name, dice, kills - len(fell))
            equal = not told(trial.differences(name))
            bar.write(f"{name}: killed {len(some)} times, {'equal' if equal else 'NOT equal'} at its end")
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
    return where + (", a file half written" if kill.unfinished else "")


def told(differences: list[str]) -> list[str]:
    for difference in differences:
        tqdm.write(f"  {difference}")
    return differences


def kill_the_server(trial: Trial, graph: OwnServer, kills: int, dice: random.Random) -> list[Fall]:
    """So many kills of the server at random moments of a run, each started again after up to 5 seconds."""
    fell: list[Fall] = []
    for number in tqdm(range(kills), desc="server", unit="kill", dynamic_ncols=True):
        graph.empty()
        after, away = dice.random() * trial.took_s, dice.random() * 5
        began = time.monotonic()
        restart = threading.Thread(target=_restart, args=(graph, after, away))
        restart.start()
        status = trial.index(f"server-{number}")
        took = time.monotonic() - began
        restart.join()
        if status != 0:  # it was away when the command began: the same command goes on
            status = trial.index(f"server-{number}")
        equal = status == 0 and not told(trial.differences(f"server-{number}"))
        when = f"killed after {after:.1f} s, away for {away:.1f} s and its start, the run took {took:.1f} s"
        tqdm.write(f"server-{number}: {when}, {'equal' if equal else 'NOT equal'} at its end")
        fell.append(("the server, while a run went on", equal))
    return fell


def _restart(graph: OwnServer, after_s: float, away_s: float) -> None:
    time.sleep(after_s)
    graph.kill()
    time.sleep(away_s)
    graph.start()


def summed(fell: dict[str, list[Fall]]) -> Table:
    """Kills by engine and by where they fell, and those whose store came out otherwise."""
    frame = pd.DataFrame([(engine, *fall) for engine, falls in fell.items() for fall in falls])
    frame.columns = ["engine", "where the kills fell", "equal"]
    counts = pd.crosstab(frame["where the kills fell"], frame["engine"])
    counts.loc["in a store that differed from the undisturbed one"] = (~frame["equal"]).groupby(frame["engine"]).sum()
    return Table(counts.rename_axis(columns=None).reset_index())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["ladybug", "neo4j", "both"], default="both")
    parser.add_argument("--kills", type=int, default=200, help="of the command, in all (default 200)")
    parser.add_argument("--server-kills", type=int, default=20, help="of the server (default 20)")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    engines = ["ladybug", "neo4j"] if asked.engine == "both" else [asked.engine]
    share, fell = asked.kills // len(engines), {}
    with tempfile.TemporaryDirectory() as folder:
        for engine in engines:
            dice, home = random.Random(f"{asked.seed} {engine}"), Path(folder, engine)
            home.mkdir()
            if engine == "ladybug":
                with closing(Trial(home, None)) as trial:
                    fell[engine] = kill_the_command(trial, None, share, dice, engine)
                continue
            with server(home / "server") as graph, closing(Trial(home, graph.url)) as trial:
                fell[engine] = kill_the_command(trial, graph, share, dice, engine)
                fell[engine] += kill_the_server(trial, graph, asked.server_kills, dice)
    print(f"\n{summed(fell).to_pandas().to_string(index=False)}")
    sound = all(equal for falls in fell.values() for _, equal in falls)
    print("\nevery store equals the undisturbed one" if sound else "\nNOT every store equals the undisturbed one")
    raise SystemExit(0 if sound else 1)


if __name__ == "__main__":
    main()
