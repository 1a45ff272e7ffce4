"""Makes the parts of the documentation that are taken from the program: `python docs/generate.py`.

`docs/cli.md` from the help of every command; the blocks between `<!-- queries -->` marks in
`README.md` from a store that `make demo` filled. A test compares the first with the program.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

HEAD = """# The command line

Made from `--help` by `python docs/generate.py`.

A command prints its rows on stdout and everything else (progress, notes, messages) on stderr.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | done, and something is to be looked at: items failed, `verify` found differences, `doctor` found a fault |
| 2 | not done: a mistake in what was given, told in one message: what was expected, what came, where, what to do |
| 130 | interrupted by Ctrl-C; what was finished is stored, and the same command goes on |

Where the store is, first found first: the options `--store`, `--graph`, `--catalog`; the environment
variables `CIRCUITSTORE_STORE`, `CIRCUITSTORE_GRAPH`, `CIRCUITSTORE_CATALOG`; the fields `store`, `graph`,
`catalog` of `circuitstore.toml` in the current folder; the folder `./circuitstore-data`.
"""


def help_of(*command: str) -> str:
    """The help text of a command, 80 columns wide."""
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "circuitstore.cli", *command, "--help"],
        env=environment,
        capture_output=True,
        check=True,
        text=True,
        encoding="utf-8",
    )
    return done.stdout.replace("python -m circuitstore.cli", "circuitstore").strip()


def commands() -> list[str]:
    """Names of the commands, in the order of the help."""
    listed = help_of().split("Commands:\n")[1].split("\n\n")[0]
    return [line.split()[0] for line in listed.splitlines() if re.match(r"  \w", line)]


def cli_reference() -> str:
    """The text of `docs/cli.md`."""
    sections = [f"## circuitstore {name}\n\n```text\n{help_of(name)}\n```\n" for name in commands()]
    return "\n".join([HEAD, f"```text\n{help_of()}\n```\n", *sections])


QUERY = re.compile(r"<!-- query -->\n```bash\n(.*?)```\n```text\n.*?```", re.DOTALL)


def with_output(text: str) -> str:
    """`text` with the output of every marked query, asked of the store of the settings in force."""

    def answered(match: re.Match[str]) -> str:
        command = match[1]
        shell = ["bash", "-euc", command]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            shell, cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, check=True, text=True
        )
        return f"<!-- query -->\n```bash\n{command}```\n```text\n{done.stdout}```"

    return QUERY.sub(answered, text)


def main() -> None:
    """Write `docs/cli.md`, and the answers in `README.md`."""
    (ROOT / "docs" / "cli.md").write_text(cli_reference(), encoding="utf-8")
    readme = ROOT / "README.md"
    readme.write_text(with_output(readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
