"""`python -m circuitstore.cli`."""

from .commands import main

main()
