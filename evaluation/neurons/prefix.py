"""The scores of `candidates.Together` without its repeated runs.

When the candidates of layer l are scored, the run before block l is the same as in every later step: only the path's
neurons are scaled. It is therefore kept, at every scale, and grows by one block per layer. After block l the run with
the whole layer scaled differs from it only in the neurons of block l, so only the blocks behind it run again.

Earlier neurons enter a candidate's score only through a sum of their gradients, which is the derivative of F as they
all move: by the same amount for JAS, by their clean values for the path integral. This tangent is carried forward with
the kept run, and its product with the gradient behind block l is the sum; nothing runs backward through the kept run.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from ...models.neuron_runs import replaced
from ...models.receiver_runs import after_heads, logits_from_block
from ...models.vit import installed
from .candidates import Candidate, Candidates, with_ig, with_jas
from .explained import Column, Explained, batches
from .integral import Integral
from .paths import Score


@dataclass(frozen=True)
class Moving:
    """Values with their tangent; None if they do not move."""

    value: Tensor
    tangent: Tensor | None

    @classmethod
    def of(cls, dual: Tensor) -> Moving:
        """Take apart a dual tensor."""
        return cls(*forward_ad.unpack_dual(dual))

    @property
    def dual(self) -> Tensor:
        """The dual tensor."""
        return self.value if self.tangent is None else forward_ad.make_dual(self.value, self.tangent)

    def at(self, runs: Any) -> Moving:
        """Return some runs."""
        return Moving(self.value[runs], None if self.tangent is None else self.tangent[runs])

    @classmethod
    def joined(cls, parts: Sequence[Moving]) -> Moving:
        """Return the runs of all parts."""
        tangents = [part.tangent for part in parts if part.tangent is not None]
        return cls(torch.cat([part.value for part in parts]), torch.cat(tangents) if tangents else None)


class Behind(NamedTuple):
    """The kept run behind the heads of a block, at every scale.

    Attributes:
        middle: the stream behind the heads, at the neurons' tokens.
        neurons: the values that the block's neurons would have.
        stream: the stream behind the block with the whole layer scaled.
    """

    middle: Moving
    neurons: Moving
    stream: Moving


class Prefix(Candidates):
    """Paths that grow layer by layer, with the runs in which only their neurons are scaled."""

    def __init__(self, explained: Explained, integral: Integral, score: Score, at_once: int) -> None:
        _load_forward_mode()
        self.integral, self.score, self.at_once = integral, score, at_once
        self.n_points = len(integral.points[0])
        self.explained, self.layer = explained, 0
        self.stream = Moving(explained.stream.repeat_interleave(self.n_points, dim=0), None)
        self.values = explained.stream.new_zeros(explained.clean[0].shape[:2], dtype=explained.model.exact_dtype)

    def scores(self) -> Candidate:
        clean = self.explained.clean[self.layer].to(self.values)
        gradient, moved = torch.zeros_like(clean), clean.new_zeros(len(clean))
        parts, first = [], 0
        for rows, scale, weight in batches(self.explained, self.integral, self.at_once):
            runs, first = slice(first, first + len(rows)), first + len(rows)
            parts.append(self._through_block(self.stream.at(runs), self.explained.clean[self.layer][rows], scale))
            slope = weight * self._slope(self.explained.labels[rows], parts[-1].stream.value)
            gradient.index_add_(0, rows, slope[:, self.explained.places] @ self._writing)
            if (tangent := parts[-1].stream.tangent) is not None:
                moved.index_add_(0, rows, (slope * tangent).sum(dim=(1, 2)))
        self.behind = Behind(*map(Moving.joined, zip(*parts, strict=True)))
        if self.score == "ig":
            return with_ig(clean, gradient, moved)
        return with_jas(clean, gradient, self.values, moved[:, None])

    def take(self, rows: Int[Tensor, "new"], neurons: Int[Tensor, "new k"]) -> None:
        self.explained, self.values = self.explained.at(rows), self.values[rows]
        clean = self.explained.clean[self.layer]
        chosen = torch.zeros_like(clean[:, 0], dtype=torch.bool).scatter(1, neurons, True)
        self.values = self.values + (clean * chosen[:, None]).sum(dim=2).to(self.values)
        runs = (rows[:, None] * self.n_points + torch.arange(self.n_points, device=rows.device)).flatten()
        self.stream = self._with_path(Behind(*(part.at(runs) for part in self.behind)), chosen)
        self.layer += 1

    @property
    def block(self) -> Any:
        return self.explained.model.blocks[self.layer]

    @property
    def _writing(self) -> Float[Tensor, "d_model neuron"]:
        """What each neuron writes to the stream."""
        weight = self.block.mlp.fc2.weight.detach().to(self.values)
        return weight if isinstance(self.block.ls2, nn.Identity) else self.block.ls2.gamma.detach()[:, None] * weight

    def _through_block(self, stream: Moving, clean: Tensor, scale: Column) -> Behind:
        """Run the block with all of its neurons scaled."""
        block, places, seen = self.block, self.explained.places, []

        def whole(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
            seen.append(Moving.of(args[0][:, places]))
            return (replaced(args[0], places, scale.to(clean) * clean),)

        with torch.no_grad(), _forward_mode(stream), installed(block.mlp.fc2.register_forward_pre_hook(whole)):
            middle = after_heads(self.explained.model, self.layer, stream.dual, whole=self.explained.tokens != "class")
            behind = middle + block.ls2(block.mlp(block.norm2(middle)))
            return Behind(Moving.of(middle[:, places]), seen[0], Moving.of(behind))

    def _slope(self, labels: Tensor, stream: Tensor) -> Float[Tensor, "run token d_model"]:
        """Return ∂F/∂stream behind the block."""
        read = stream.detach().requires_grad_()
        with torch.enable_grad():
            logits = logits_from_block(self.explained.model, self.layer + 1, read)
            probability = logits.to(self.values.dtype).softmax(dim=1).gather(1, labels[:, None])
            return torch.autograd.grad(probability.sum(), read)[0].to(self.values.dtype)

    def _with_path(self, behind: Behind, chosen: Bool[Tensor, "row neuron"]) -> Moving:
        """Return the stream behind the block with only the chosen neurons scaled."""
        clean = self.explained.clean[self.layer].repeat_interleave(self.n_points, dim=0)
        mask = chosen.repeat_interleave(self.n_points, dim=0)[:, None].expand_as(clean)
        scale = torch.from_numpy(self.integral.points[0]).to(clean).repeat(len(chosen))[:, None, None]
        value, tangent = scale * clean, torch.ones_like(clean) if self.score == "jas" else clean
        rest = Moving(clean, None) if self.integral.others == "frozen" else behind.neurons
        still = torch.zeros_like(clean) if rest.tangent is None else rest.tangent
        moves = behind.stream.tangent is not None or bool(chosen.any())
        neurons = Moving(torch.where(mask, value, rest.value), torch.where(mask, tangent, still) if moves else None)
        mlp, places = self.block.mlp, self.explained.places
        with torch.no_grad(), _forward_mode(neurons):
            new = behind.middle.dual + self.block.ls2(mlp.fc2(neurons.dual))
            return Moving.of(replaced(behind.stream.dual, places, new))


@cache
def _load_forward_mode() -> None:
    """Load what torch loads with the first tangent; it warns about its own use of torch.jit."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", FutureWarning)
        forward_ad.make_dual(torch.zeros(()), torch.zeros(()))


@contextmanager
def _forward_mode(stream: Moving) -> Iterator[None]:
    """Let modules compute tangents in the `with` block, if the stream has one."""
    with ExitStack() as stack:
        if stream.tangent is not None:
            stack.enter_context(forward_ad.dual_level())
            stack.enter_context(sdpa_kernel([SDPBackend.MATH]))  # fused attention has no forward mode
            stack.enter_context(_FixedWeights())
        yield


class _FixedWeights(TorchFunctionMode):
    """Compute tangents of linear layers without products with the weights' tangents, which are 0."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.linear and not kwargs:
            value, tangent = forward_ad.unpack_dual(args[0])
            if tangent is not None:
                return forward_ad.make_dual(F.linear(value, *args[1:]), F.linear(tangent, args[1]))
        return func(*args, **(kwargs or {}))
