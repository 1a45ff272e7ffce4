"""Interventions: edits of a model, fitted on images, that change what it computes."""

from .ablation import ablate_components as ablate_components
from .ablation import ablate_edges as ablate_edges
from .controls import random_edges as random_edges
from .directions import Directions as Directions
from .directions import fit_directions as fit_directions
from .directions import fit_offsets as fit_offsets
from .edit import Edit as Edit
from .gated import Gate as Gate
from .gated import ProjectionGate as ProjectionGate
from .gated import gated as gated
from .gated import projection_gate as projection_gate
from .gated import threshold_at as threshold_at
from .greedy import GreedyComponents as GreedyComponents
from .greedy import greedy_components as greedy_components
from .group_directions import fit_group_directions as fit_group_directions
from .neurons import largest as largest
from .neurons import neuron_attack_effects as neuron_attack_effects
from .neurons import suppress_neurons as suppress_neurons
from .steering import steer_edges as steer_edges
from .steering import steer_senders as steer_senders
