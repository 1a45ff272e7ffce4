"""Queries on a store: named queries, Cypher, studies, and comparisons of circuits."""

from .ask import run as run
from .compare import compare as compare
from .compare import similarity_matrix as similarity_matrix
from .cross_results import CrossResults as CrossResults
from .cross_results import cross_matrix as cross_matrix
from .cross_results import read_cross_results as read_cross_results
from .defences import defence_records as defence_records
from .floors import Floor as Floor
from .measures import MEASURES as MEASURES
from .model_changes import ModelChange as ModelChange
from .model_diff import compare_models as compare_models
from .model_diff import read_model_changes as read_model_changes
from .named import NamedQuery as NamedQuery
from .named import is_name as is_name
from .named import list_named as list_named
from .named import named_queries as named_queries
from .nearest import store_similar as store_similar
from .pair import CircuitPair as CircuitPair
from .pair import PairFloors as PairFloors
from .pair import compare_pair as compare_pair
from .pair import pair_floors as pair_floors
from .similarity import Similarity as Similarity
from .studies import Study as Study
from .studies import read_studies as read_studies
from .swaps import SwapFloor as SwapFloor
from .swaps import swap_floor as swap_floor
