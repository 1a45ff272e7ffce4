"""Runs the command line: `python -m circuitstore.cli`."""

from .commands import main

main()
