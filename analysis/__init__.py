"""Studies of a store: summaries and reports."""

from .report import write_report as write_report
from .summary import Summary as Summary
from .summary import summarise as summarise
