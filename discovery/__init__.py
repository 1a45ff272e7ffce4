"""Finding circuits: methods that score edges, metrics, and how well a circuit does alone."""

from .discover import Cost as Cost
from .discover import Images as Images
from .discover import discover as discover
from .discover import estimate_cost as estimate_cost
from .discover import score_edges as score_edges
from .effects import Effects as Effects
from .evaluate import evaluate as evaluate
from .evaluate import evaluate_many as evaluate_many
from .evaluate import outcomes as outcomes
from .exact import patch_edges as patch_edges
from .journal import Journal as Journal
from .method import Found as Found
from .method import Method as Method
from .metrics import METRICS as METRICS
from .metrics import get_metric as get_metric
from .metrics import resolve_metric as resolve_metric
from .nodes import patch_nodes as patch_nodes
from .path_patching import PathEffect as PathEffect
from .path_patching import head_to_head as head_to_head
from .path_patching import patch_path as patch_path
from .registry import METHODS as METHODS
from .registry import get_method as get_method
from .registry import resolve_method as resolve_method
from .retention import smallest_with_retention as smallest_with_retention
from .scoring import RESIDUAL_LIMIT as RESIDUAL_LIMIT
from .tokens import token_groups as token_groups
