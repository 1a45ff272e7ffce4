"""Neurons of MLPs: paths through the layers, their scores, and how they are found."""

from .paths import NeuronPaths as NeuronPaths
from .paths import Score as Score
