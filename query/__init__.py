"""Asking a store: named queries and Cypher of the user's, and comparisons from the archive's matrices."""

from .ask import run as run
from .compare import Similarity as Similarity
from .compare import compare as compare
from .compare import similarity_matrix as similarity_matrix
from .measures import MEASURES as MEASURES
from .named import NamedQuery as NamedQuery
from .named import is_name as is_name
from .named import list_named as list_named
from .named import named_queries as named_queries
