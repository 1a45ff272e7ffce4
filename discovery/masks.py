"""Training of distributions over masks: the metric's distance from the full model plus a price on open edges.

Each step runs all images once, each with its own mask. The random numbers depend only on the seed and the step, so a
run that resumes from a journal gives the same result as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .gated_images import GatedImages
from .method import Task

Params = Mapping[str, Tensor]

TRAINED = {"gradient": "its gradient trains the masks, and other rules would not descend a loss"}
"""Why learned masks have no gradient mode."""


class MaskTraining:
    """Adam (Kingma & Ba 2015) on the parameters of a mask.

    Args:
        task: the task, whose journal is read and written.
        images: images on which masks are evaluated.
        params: initial values by name; modified in place.
        rate: step size.
        ascend: names of parameters that maximise the price instead of minimising it (Lagrange multipliers).
    """

    def __init__(
        self, task: Task, images: GatedImages, params: dict[str, Tensor], *, rate: float, ascend: tuple[str, ...] = ()
    ) -> None:
        self.task, self.images = task, images
        self.params = {name: value.to(images.device, torch.float64).requires_grad_() for name, value in params.items()}
        groups = [{"params": [value], "maximize": name in ascend} for name, value in self.params.items()]
        self.optimiser = torch.optim.Adam(groups, lr=rate)
        self.losses: list[float] = []
        self._resume()

    def run(
        self,
        steps: int,
        n_noise: int,
        masks: Callable[[Params, Float[Tensor, "image noise"]], Float[Tensor, "image edge"]],
        price: Callable[[Params, Float[Tensor, "image edge"], int], Tensor],
    ) -> None:
        """Train for `steps` steps in total, including those in the journal.

        Args:
            n_noise: random numbers per mask.
            masks: returns one mask per image, from uniform numbers in (0, 1).
            price: returns what is added to the distance, given the parameters, the masks and the step.
        """
        for step in range(len(self.losses), steps):
            noise = self._noise(step, n_noise)
            self.optimiser.zero_grad()
            with torch.enable_grad():
                drawn = masks(self.params, noise)
                distance, slopes = self.images.distance(drawn.detach())
                cost = price(self.params, drawn, step)
                torch.autograd.backward([drawn, cost], [slopes, torch.ones_like(cost)])
            self.optimiser.step()
            self.losses.append(distance)
            self.task.progress(step + 1, steps)
            self.task.journal.save(self._state())

    def _noise(self, step: int, count: int) -> Float[Tensor, "image noise"]:
        """Return uniform numbers in the open interval (0, 1)."""
        drawn = np.random.default_rng((self.task.seed, step)).random((len(self.images.full), count))
        return torch.from_numpy(drawn.clip(1e-6, 1 - 1e-6)).to(self.images.device)

    def _state(self) -> dict[str, np.ndarray]:
        state = {"losses": np.array(self.losses)}
        for name, value in self.params.items():
            moments = self.optimiser.state[value]
            state |= {f"{name}.{key}": moments[key].cpu().numpy() for key in ("exp_avg", "exp_avg_sq")}
            state[name] = value.detach().cpu().numpy()
        return state

    def _resume(self) -> None:
        kept = self.task.journal.read()
        if not kept:
            return
        self.losses = kept["losses"].tolist()
        for name, value in self.params.items():
            value.data.copy_(torch.from_numpy(kept[name]))
            moments = {key: torch.from_numpy(kept[f"{name}.{key}"]).to(value) for key in ("exp_avg", "exp_avg_sq")}
            self.optimiser.state[value] = {"step": torch.tensor(float(len(self.losses))), **moments}
