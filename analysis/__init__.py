"""What people read: the summary of a store, its report, and a sheet of the images that a spec asks for."""

from .report import write_report as write_report
from .sheet import draw_sheet as draw_sheet
from .sheet import write_sheet as write_sheet
from .summary import Summary as Summary
from .summary import summarise as summarise
