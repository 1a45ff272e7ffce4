"""The command line. Each command is its options and one library call; only this room reads settings."""

from .commands import app as app
from .commands import main as main
