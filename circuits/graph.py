"""The computation graph of a pre-norm vision transformer: senders, receivers and the edges between them.

Everything is derived from the number of layers, the number of heads and the form; nothing is stored. Names and index
order are those of EAP-IG and MIB, extended to the coarser forms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Int

from ..errors import InputError, unknown
from .universe import Component, Edges, Universe

Form = Literal["split", "head", "attention", "block"]
FORMS: tuple[Form, ...] = get_args(Form)
"""Forms from the finest to the coarsest; additive scores project from left to right by summing.

- `split`: each head has three inputs, q, k and v.
- `head`: one input per head.
- `attention`: one input per layer for all its heads (the graph of Vi-CD); heads send one by one.
- `block`: the heads of a layer are one node.
"""

PORTS = ("q", "k", "v")


class Place(NamedTuple):
    """Position of a sender or receiver.

    Attributes:
        layer: its block; None for `input` and `logits`.
        part: its position within the block's attention; None for the MLP, `input` and `logits`.
    """

    layer: int | None
    part: int | None


@dataclass(frozen=True)
class ComputationGraph(Universe):
    """Senders, receivers and edges of a model with `n_layers` blocks of `n_heads` heads.

    A sender feeds every later receiver, so the senders of a receiver are a prefix of all senders, and the flat edge
    order (by receiver, then by sender) is one block per receiver.
    """

    n_layers: int
    n_heads: int
    form: Form = "split"

    def __post_init__(self) -> None:
        if self.n_layers < 1 or self.n_heads < 1:
            raise InputError(f"a graph needs layers and heads, got {self.n_layers} and {self.n_heads}")
        if self.form not in FORMS:
            raise unknown("form", self.form, FORMS)

    @property
    def text(self) -> str:
        """`split form`."""
        return f"{self.form} form"

    @property
    def has_drawing(self) -> bool:
        return True

    @property
    def attributes(self) -> dict[str, str | int]:
        return {"form": self.form, "n_layers": self.n_layers, "n_heads": self.n_heads}

    def make_components(self) -> tuple[Component, ...]:
        """All nodes in topological order."""
        nodes = [Component("input", "input")]
        for layer in range(self.n_layers):
            if self.form == "block":
                nodes.append(Component(f"a{layer}", "attention", layer))
            else:
                if self.form == "attention":
                    nodes.append(Component(f"a{layer}.in", "attention-input", layer))
                nodes += [Component(f"a{layer}.h{h}", "head", layer, h) for h in range(self.n_heads)]
            nodes.append(Component(f"m{layer}", "mlp", layer))
        return (*nodes, Component("logits", "logits"))

    def make_edges(self) -> Edges:
        """By receiver, then by sender."""
        ports = np.array([port for _, port, _ in self._receivers], dtype=object)
        sender, receiver = self.sender_node[self.edge_sender], self.receiver_node[self.edge_receiver]
        return Edges(sender, receiver, tuple(ports[self.edge_receiver]))

    @cached_property
    def senders(self) -> tuple[str, ...]:
        """Names in index order: `input`, then per layer the heads (or the attention block) and the MLP."""
        return tuple(c.name for c in self.components if c.kind not in ("attention-input", "logits"))

    @cached_property
    def _receivers(self) -> tuple[tuple[str, str, int], ...]:
        """(node, port, number of previous senders) per receiver, in index order."""
        heads = 1 if self.form == "block" else self.n_heads
        receivers: list[tuple[str, str, int]] = []
        for layer in range(self.n_layers):
            before = 1 + layer * (heads + 1)
            match self.form:
                case "split":
                    names = [(f"a{layer}.h{h}", p) for p in PORTS for h in range(self.n_heads)]
                case "head":
                    names = [(f"a{layer}.h{h}", "") for h in range(self.n_heads)]
                case "attention":
                    names = [(f"a{layer}.in", "")]
                case "block":
                    names = [(f"a{layer}", "")]
            receivers += [(node, port, before) for node, port in names]
            receivers.append((f"m{layer}", "", before + heads))
        return (*receivers, ("logits", "", 1 + self.n_layers * (heads + 1)))

    @cached_property
    def receivers(self) -> tuple[str, ...]:
        """Names in index order, with the port: `a0.h1<q>`, `m0`, `logits`."""
        return tuple(f"{node}<{port}>" if port else node for node, port, _ in self._receivers)

    @property
    def n_senders(self) -> int:
        return len(self.senders)

    @property
    def n_receivers(self) -> int:
        return len(self._receivers)

    @cached_property
    def n_upstream(self) -> Int[np.ndarray, "receiver"]:
        """Number of senders that feed each receiver, which are the first ones in index order."""
        return np.array([before for _, _, before in self._receivers])

    @cached_property
    def offsets(self) -> Int[np.ndarray, "receiver_plus_one"]:
        """Offsets into the flat order: receiver r has the edges `offsets[r]:offsets[r + 1]`, sender 0 first."""
        return np.concatenate([[0], np.cumsum(self.n_upstream)])

    @property
    def n_edges(self) -> int:
        return int(self.offsets[-1])

    @cached_property
    def edge_sender(self) -> Int[np.ndarray, "edge"]:
        """Sender index of each edge."""
        return np.concatenate([np.arange(n) for n in self.n_upstream])

    @cached_property
    def edge_receiver(self) -> Int[np.ndarray, "edge"]:
        """Receiver index of each edge."""
        return np.repeat(np.arange(self.n_receivers), self.n_upstream)

    @cached_property
    def sender_node(self) -> Int[np.ndarray, "sender"]:
        """Node index of each sender."""
        return np.array([self.node_index[s] for s in self.senders])

    @cached_property
    def receiver_node(self) -> Int[np.ndarray, "receiver"]:
        """Node index of each receiver."""
        return np.array([self.node_index[node] for node, _, _ in self._receivers])

    @property
    def _senders_per_layer(self) -> int:
        return (self.n_senders - 1) // self.n_layers

    @property
    def _receivers_per_layer(self) -> int:
        return (self.n_receivers - 1) // self.n_layers

    def attention_senders(self, layer: int) -> range:
        """Return the senders of a layer's attention: one per head, or one for the block."""
        first = 1 + layer * self._senders_per_layer
        return range(first, first + self._senders_per_layer - 1)

    def mlp_sender(self, layer: int) -> int:
        """Return the sender of a layer's MLP."""
        return (layer + 1) * self._senders_per_layer

    def attention_receivers(self, layer: int) -> range:
        """Return the receivers of a layer's attention, port by port in the split form."""
        first = layer * self._receivers_per_layer
        return range(first, first + self._receivers_per_layer - 1)

    def mlp_receiver(self, layer: int) -> int:
        """Return the receiver of a layer's MLP."""
        return (layer + 1) * self._receivers_per_layer - 1

    @property
    def logits_receiver(self) -> int:
        """The last receiver."""
        return self.n_receivers - 1

    def sender_place(self, sender: int) -> Place:
        """Return the layer and part of a sender."""
        if sender == 0:
            return Place(None, None)
        layer, part = divmod(sender - 1, self._senders_per_layer)
        return Place(layer, part if part < self._senders_per_layer - 1 else None)

    def receiver_place(self, receiver: int) -> Place:
        """Return the layer and part of a receiver."""
        if receiver == self.logits_receiver:
            return Place(None, None)
        layer, part = divmod(receiver, self._receivers_per_layer)
        return Place(layer, part if part < self._receivers_per_layer - 1 else None)

    @cached_property
    def sender_depth(self) -> Int[np.ndarray, "sender"]:
        """Number of attentions and MLPs, in order, up to and including the one that contains each sender."""
        depth = np.zeros(self.n_senders, int)
        for layer in range(self.n_layers):
            depth[self.attention_senders(layer)] = 2 * layer + 1
            depth[self.mlp_sender(layer)] = 2 * layer + 2
        return depth

    @cached_property
    def receiver_depth(self) -> Int[np.ndarray, "receiver"]:
        """1 + number of attentions and MLPs before each receiver: larger than the depth of all its senders."""
        depth = np.full(self.n_receivers, 2 * self.n_layers + 1)
        for layer in range(self.n_layers):
            depth[self.attention_receivers(layer)] = 2 * layer + 1
            depth[self.mlp_receiver(layer)] = 2 * layer + 2
        return depth

    @property
    def structural_links(self) -> tuple[tuple[str, str], ...]:
        """`(a3.in, a3.h1)` pairs of the `attention` form: always open, never scored or counted."""
        if self.form != "attention":
            return ()
        return tuple((f"a{layer}.in", f"a{layer}.h{h}") for layer in range(self.n_layers) for h in range(self.n_heads))

    def to_matrix(self, values: np.ndarray) -> np.ndarray:
        """Return flat edge values `[..., edge]` as `[..., sender, receiver]`, zero where there is no edge."""
        matrix = np.zeros((*values.shape[:-1], self.n_senders, self.n_receivers), values.dtype)
        matrix[..., self.edge_sender, self.edge_receiver] = values
        return matrix

    def projection(self, form: Form) -> Int[np.ndarray, "edge"]:
        """Return, for each edge of this graph, its flat index in the coarser `form`.

        Raises:
            InputError: `form` is finer than this graph's.
        """
        if FORMS.index(form) < FORMS.index(self.form):
            raise InputError(
                f"the {self.form} form cannot be projected to the finer {form!r} form, because a sum does not "
                f"determine its parts; score again with form={form!r}"
            )
        target = ComputationGraph(self.n_layers, self.n_heads, form)
        sender = np.array([_coarser_sender(c, form, target) for c in self._sender_components])
        receiver = np.array([_coarser_receiver(c, p, form, target) for c, p in self._receiver_components])
        return target.offsets[receiver[self.edge_receiver]] + sender[self.edge_sender]

    @property
    def _sender_components(self) -> list[Component]:
        return [self.components[i] for i in self.sender_node]

    @property
    def _receiver_components(self) -> list[tuple[Component, str]]:
        return [(self.components[self.node_index[n]], port) for n, port, _ in self._receivers]


def computation_graph(universe: Universe) -> ComputationGraph:
    """Return a universe as a computation graph.

    Raises:
        InputError: it is another universe.

    Examples:
        >>> computation_graph(circuit.universe).form
        'split'
    """
    if not isinstance(universe, ComputationGraph):
        raise InputError(
            f"expected edges of a computation graph, got those of {universe.text}; running models, drawing circuits "
            "and comparing forms need a computation graph"
        )
    return universe


def _coarser_sender(component: Component, form: Form, target: ComputationGraph) -> int:
    if component.kind == "head" and form == "block":
        return target.senders.index(f"a{component.layer}")
    return target.senders.index(component.name)


def _coarser_receiver(component: Component, port: str, form: Form, target: ComputationGraph) -> int:
    if component.kind not in ("head", "attention-input"):
        return target.receivers.index(component.name)
    names = {
        "split": f"{component.name}<{port}>",
        "head": component.name,
        "attention": f"a{component.layer}.in",
        "block": f"a{component.layer}",
    }
    return target.receivers.index(names[form])
