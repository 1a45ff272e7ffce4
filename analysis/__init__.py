"""Studies of a store: summaries, reports and pictures."""

from .drawing import draw_circuit as draw_circuit
from .report import write_report as write_report
from .summary import Summary as Summary
from .summary import summarise as summarise
