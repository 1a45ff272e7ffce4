"""Circuit discovery: methods that score or select edges, and extractions that find a circuit's size."""

from .bisection import smallest_by_bisection as smallest_by_bisection
from .conserved import RESIDUAL_LIMIT as RESIDUAL_LIMIT
from .discover import Cost as Cost
from .discover import discover as discover
from .discover import estimate_cost as estimate_cost
from .discover import score_edges as score_edges
from .extractions import EXTRACTIONS as EXTRACTIONS
from .extractions import ExtractionKind as ExtractionKind
from .extractions import is_absolute as is_absolute
from .extractions import sized_by as sized_by
from .method import Method as Method
from .method import MethodOutput as MethodOutput
from .registry import METHODS as METHODS
from .retention import smallest_with_retention as smallest_with_retention
