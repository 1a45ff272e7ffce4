"""Output for people: the summary and the report of a store, and the sheet of images of a spec."""

from .report import write_report as write_report
from .sheet import draw_sheet as draw_sheet
from .sheet import write_sheet as write_sheet
from .summary import Summary as Summary
from .summary import summarise as summarise
