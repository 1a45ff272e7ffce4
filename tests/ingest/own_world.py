"""What tests of a user's own results share: a model with images and scores, and a spec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from circuitstore.circuits import EdgeScores
from circuitstore.images import ImageSource
from circuitstore.ingest.own import OwnImages, OwnResult
from circuitstore.models import ViT
from torch import Tensor

SPEC = """
name = "computed"
model = "digits"
[images]
source = "digits"
per_class = 12
only = ["three"]
[[condition]]
kind = "natural"
[[condition]]
kind = "typographic"
[[recipe]]
method = "eap"
form = "block"
[[extract]]
edges = 12
[[extract]]
top = 9
"""

PATCH = {"kind": "my-patch", "version": 1, "side": 8}
METHOD = {"kind": "my-gradients", "version": 2, "steps": 3}


@dataclass(frozen=True)
class World:
    """A model, images of its classes, and scores as a user's program may compute them."""

    model: ViT
    source: ImageSource

    def clean(self, digit: int, first: int = 0, count: int = 12) -> Tensor:
        refs = self.source.candidates(self.source.classes[digit])[first : first + count]
        return self.model.preprocess.normalise(np.stack([self.source.view(ref) for ref in refs]))

    @staticmethod
    def patched(images: Tensor) -> Tensor:
        attacked = images.clone()
        attacked[:, :, -8:, -8:] = 1.0
        return attacked

    def scores(self, seed: int, count: int = 12, form: str = "block") -> EdgeScores:
        graph = self.model.graph(form)
        values = np.random.default_rng(seed).normal(size=(count, graph.n_edges)).astype(np.float32)
        values[:, [graph.index_of(name) for name in ("input->m0", "m0->logits", "input->logits")]] += 3
        return EdgeScores.from_images(graph, values)

    def images(self, digit: int, attack: bool = False, **changes: Any) -> OwnImages:
        clean = self.clean(digit)
        name = self.source.classes[digit].name
        given: dict[str, Any] = {"dataset": "mine", "class_name": name, "images": clean, "corruption": "blur"}
        if attack:
            given |= {"condition": PATCH, "attacked": self.patched(clean)}
        return OwnImages(**(given | changes))

    def result(self, digit: int, attack: bool = False, **changes: Any) -> OwnResult:
        scores = self.scores(10 * digit + attack)
        images = changes.pop("images", self.images(digit, attack))
        given: dict[str, Any] = {"model": self.model, "method": METHOD, "scores": scores}
        return OwnResult(images=images, **(given | {"circuits": [scores.greedy(12), scores.top(9)]} | changes))

    def results(self) -> list[OwnResult]:
        return [self.result(digit, attacked) for digit in (3, 7) for attacked in (False, True)]
