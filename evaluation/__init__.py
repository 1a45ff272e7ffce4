"""What a model does on pairs of images: metrics, patching of edges, nodes and paths, and how well circuits do alone."""

from .baselines import magnitude_scores as magnitude_scores
from .baselines import random_curves as random_curves
from .circuit_tests import hypothesis_tests as hypothesis_tests
from .completeness import completeness as completeness
from .completeness import minimality as minimality
from .curves import FaithfulnessCurve as FaithfulnessCurve
from .curves import faithfulness_curve as faithfulness_curve
from .edges import patch_edges as patch_edges
from .effects import Effects as Effects
from .evaluate import evaluate as evaluate
from .evaluate import evaluate_many as evaluate_many
from .evaluate import outcomes as outcomes
from .execution import DEFAULT as DEFAULT
from .execution import Execution as Execution
from .journal import Journal as Journal
from .measured import MeasuredPairs as MeasuredPairs
from .measured import measure as measure
from .metrics import METRICS as METRICS
from .metrics import MetricKind as MetricKind
from .nodes import patch_nodes as patch_nodes
from .pairs import ImagePairs as ImagePairs
from .paths import PathEffect as PathEffect
from .paths import head_to_head as head_to_head
from .paths import patch_path as patch_path
from .tokens import token_groups as token_groups
