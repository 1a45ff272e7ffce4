"""Checks of gradient attacks: hidden gradients resist an attack without robustness (Athalye et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..circuits import ClassInfo, Condition
from .conditions import CONDITIONS
from .params import number, pixels
from .predictions import Predictions
from .source import ImageRef

LARGE = 32 / 255
"""A budget that any unhidden gradient should turn into success."""


@dataclass(frozen=True)
class AttackChecks:
    """Success rates of an attack and of its variants on the same correctly classified images.

    Attributes:
        attacker: fingerprint of the model whose gradients the attack follows.
        images: number of correctly classified images.
        success: success rate of the attack.
        one_step: of one step of the whole budget (FGSM).
        more_steps: of PGD with twice as many steps, at least 20.
        more_restarts: of PGD with two more restarts.
        large: with a budget of 32/255 or four times the budget, whichever is larger, at most 1.
    """

    attacker: str
    images: int
    success: float
    one_step: float
    more_steps: float
    more_restarts: float
    large: float

    @property
    def suspicious(self) -> tuple[str, ...]:
        """The signs of hidden gradients; success rates count as different from a tenth on."""
        signs = {
            "one step of the whole budget does better": self.one_step > self.success + 0.1,
            "more steps do worse": self.more_steps < self.success - 0.1,
            "more restarts do worse": self.more_restarts < self.success - 0.1,
            "a large budget does not turn nearly all images": self.large < 0.9,
        }
        return tuple(sign for sign, present in signs.items() if present)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "suspicious": list(self.suspicious)}


def attack_checks(
    predictions: Predictions, cls: ClassInfo, refs: Sequence[ImageRef], condition: Condition
) -> AttackChecks | None:
    """Run the variants of a gradient attack; None for other conditions and without correctly classified images.

    Args:
        predictions: the images and the model.
        cls: class of the images.
        refs: the images.
        condition: the attack.

    Examples:
        >>> predictions, three = Predictions(source, model), source.class_named("three")
        >>> pgd = CONDITIONS.resolve("pgd", {"eps": "6/255"})
        >>> attack_checks(predictions, three, source.candidates(three)[:8], pgd).suspicious
        ()
    """
    attacker = predictions.attacker(condition)
    if attacker is None:
        return None
    right = [ref for ref, good in zip(refs, predictions.correct(cls, refs), strict=True) if good]
    if not right:
        return None

    def rate(kind: str, **changes: Any) -> float:
        params = {k: v for k, v in (dict(condition.params) | changes).items() if k in CONDITIONS[kind].params}
        return float(predictions.successful(cls, right, CONDITIONS.resolve(kind, params)).mean())

    given = dict(condition.params)
    steps, restarts = int(number(given.get("steps", 1))), int(number(given.get("restarts", 0)))
    return AttackChecks(
        attacker=attacker.fingerprint,
        images=len(right),
        success=rate(condition.kind),
        one_step=rate("fgsm"),
        more_steps=rate("pgd", steps=max(20, 2 * steps), step="auto"),
        more_restarts=rate("pgd", restarts=restarts + 2),
        large=rate("pgd", eps=min(1.0, max(LARGE, 4 * pixels(given["eps"]))), step="auto"),
    )
