"""Output for people: the summary and the report of a store, the sheet of images of a spec, and maps drawn on images."""

from .image_drawings import draw_footprint as draw_footprint
from .image_drawings import draw_map as draw_map
from .notes import notes_as_json as notes_as_json
from .notes import notes_as_markdown as notes_as_markdown
from .report import write_report as write_report
from .sheet import draw_sheet as draw_sheet
from .sheet import write_sheet as write_sheet
from .summary import Summary as Summary
from .summary import summarise as summarise
