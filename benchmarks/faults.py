"""What a store survives: `circuitstore index` killed at random moments, and a graph server killed under it.

A small run over the digits is killed by SIGKILL again and again and each time run again; whenever it comes to its end
the store is held against that of a run left in peace, edge by edge, and another is begun. For Neo4j the server is
killed and started again as well, while the run goes on. The server is one from Maven artifacts, started here.

    python benchmarks/faults.py                         200 kills, half of them on each engine, and 20 of the server
    python benchmarks/faults.py --engine ladybug --kills 50
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import threading
import time
from collections import Counter
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


def kill_the_command(trial: Trial, graph: OwnServer | None, kills: int, dice: random.Random, what: str) -> Table:
    """So many kills of the command; where each fell, and whether the store equals the undisturbed one."""
    fell: list[tuple[Kill, bool]] = []
    with tqdm(total=kills, desc=what, unit="kill", dynamic_ncols=True) as bar:
        while len(fell) < kills:
            name = f"store-{len(fell)}"
            if graph is not None:
                graph.empty()
            some = trial.killed(name, dice, kills - len(fell))
            equal = not told(trial.differences(name))
            bar.write(f"{name}: killed {len(some)} times, {'equal' if equal else 'NOT equal'} at its end")
            fell += [(kill, equal) for kill in some]
            bar.update(len(some))
    counted = Counter((place(kill), equal) for kill, equal in fell)
    rows = [(where, n, "yes" if equal else "NO") for (where, equal), n in sorted(counted.items())]
    return Table(pd.DataFrame(rows, columns=["where they fell", "kills", "store equals the undisturbed one"]))


def place(kill: Kill) -> str:
    if not kill.discoveries:
        return "0 before the first answer" + (", a file half written" if kill.unfinished else "")
    stored = f"{kill.discoveries} answers, {kill.circuits} circuits in the archive"
    return stored + (", a file half written" if kill.unfinished else "")


def told(differences: list[str]) -> list[str]:
    for difference in differences:
        tqdm.write(f"  {difference}")
    return differences


def kill_the_server(trial: Trial, graph: OwnServer, kills: int, dice: random.Random) -> Table:
    """So many kills of the server at random moments of a run, each started again after up to 5 seconds."""
    rows = []
    for number in tqdm(range(kills), desc="server", unit="kill", dynamic_ncols=True):
        graph.empty()
        after, away = dice.random() * trial.took_s, dice.random() * 5
        began = time.monotonic()
        restart = threading.Thread(target=lambda after=after, away=away: _restart(graph, after, away))
        restart.start()
        status = trial.index(f"server-{number}")
        took = time.monotonic() - began
        restart.join()
        if status != 0:  # it was away when the command began: the same command goes on
            status = trial.index(f"server-{number}")
        equal = status == 0 and not told(trial.differences(f"server-{number}"))
        tqdm.write(f"server-{number}: {'equal' if equal else 'NOT equal'} at its end")
        rows.append((round(after, 2), round(away, 1), round(took, 1), "yes" if equal else "NO"))
    columns = ["killed after s", "away for s, and its start", "the run took s", "store equals the undisturbed one"]
    return Table(pd.DataFrame(rows, columns=columns))


def _restart(graph: OwnServer, after_s: float, away_s: float) -> None:
    time.sleep(after_s)
    graph.kill()
    time.sleep(away_s)
    graph.start()


def show(title: str, table: Table) -> bool:
    """Print a table; whether every store in it equals the undisturbed one."""
    print(f"\n{title}\n{table.to_pandas().to_string(index=False)}", flush=True)
    return "NO" not in set(table.to_pandas().iloc[:, -1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["ladybug", "neo4j", "both"], default="both")
    parser.add_argument("--kills", type=int, default=200, help="of the command, in all (default 200)")
    parser.add_argument("--server-kills", type=int, default=20, help="of the server (default 20)")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    engines = ["ladybug", "neo4j"] if asked.engine == "both" else [asked.engine]
    share, sound = asked.kills // len(engines), True
    with tempfile.TemporaryDirectory() as folder:
        for engine in engines:
            dice, home = random.Random(f"{asked.seed} {engine}"), Path(folder, engine)
            home.mkdir()
            if engine == "ladybug":
                with closing(Trial(home, None)) as trial:
                    sound &= show("LadybugDB", kill_the_command(trial, None, share, dice, engine))
                continue
            with server(home / "server") as graph, closing(Trial(home, graph.url)) as trial:
                sound &= show("Neo4j", kill_the_command(trial, graph, share, dice, engine))
                sound &= show("Neo4j, the server killed", kill_the_server(trial, graph, asked.server_kills, dice))
    print("\nevery store equals the undisturbed one" if sound else "\nNOT every store equals the undisturbed one")
    raise SystemExit(0 if sound else 1)


if __name__ == "__main__":
    main()
