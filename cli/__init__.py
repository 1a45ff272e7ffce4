"""The command line: options and one library call a command. Settings are read here and nowhere else."""

from .commands import app as app
from .commands import main as main
