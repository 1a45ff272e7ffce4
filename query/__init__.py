"""Queries on a store: named queries, Cypher, studies, and comparisons of circuits."""

from .ask import run as run
from .compare import compare as compare
from .compare import similarity_matrix as similarity_matrix
from .floors import Floor as Floor
from .measures import MEASURES as MEASURES
from .named import NamedQuery as NamedQuery
from .named import is_name as is_name
from .named import list_named as list_named
from .named import named_queries as named_queries
from .nearest import store_similar as store_similar
from .similarity import Similarity as Similarity
from .studies import Study as Study
from .studies import read_studies as read_studies
