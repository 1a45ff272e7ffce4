"""Neurons of MLPs: paths through the layers, their scores, and how they are found."""

from .baselines import Activation as Activation
from .baselines import InfluencePattern as InfluencePattern
from .baselines import PerLayer as PerLayer
from .baselines import RandomNeurons as RandomNeurons
from .find import SEARCHES as SEARCHES
from .find import neuron_paths as neuron_paths
from .find import resolve_search as resolve_search
from .integral import Integral as Integral
from .paths import NeuronPaths as NeuronPaths
from .paths import Score as Score
from .scores import score_paths as score_paths
from .search import Exhaustive as Exhaustive
from .search import PathSearch as PathSearch
from .search import Search as Search
