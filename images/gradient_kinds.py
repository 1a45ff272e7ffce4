"""The conditions `fgsm` and `pgd`: attacks that follow a model's gradients.

Their `model` is the attacking model: `itself`, the model that is indexed, or the short fingerprint of another model,
whose attacked images the indexed model sees, too (a transfer attack).
"""

from __future__ import annotations

from ..circuits import ClassInfo, Condition
from ..circuits.kinds import choice, whole
from ..errors import InputError, warn
from .batch import Batch
from .condition_kind import OTHER_CLASS, ConditionKind, Views, class_named, other_class
from .gradient_attacks import NORMS, ORDERS, GradientAttack, attack_views
from .params import budget, label, number, pixels
from .seeds import Draws
from .source import ImageSource

UNTARGETED = "untargeted"
"""Value of `target`: away from the true class."""

ITSELF = "itself"
"""Value of `model`: the gradients are those of the model that is indexed."""


def _aim(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> int | None:
    """Return the target class of a gradient attack."""
    name = str(condition["target"])
    if name == UNTARGETED:
        return None
    return other_class(source, cls, seed).class_index if name == OTHER_CLASS else class_named(condition, source, name)


def _follow_gradients(condition: Condition, batch: Batch) -> Views:
    if batch.model is None:
        raise InputError(f"{condition.text}: this attack follows a model's gradients, and there is no model")
    target = _aim(condition, batch.source, batch.cls, batch.seed)
    found = attack_views(
        batch.model,
        batch.views,
        [batch.cls.class_index if target is None else target] * len(batch.refs),
        _gradient_attack(condition),
        targeted=target is not None,
        draws=[Draws(condition.kind, condition.version, batch.seed, ref.hash) for ref in batch.refs],
    )
    if found.flat.any():
        warn(
            f"{condition.text}: the gradient vanishes in every pixel of {int(found.flat.sum())} of {len(batch.refs)} "
            f"images of class {batch.cls.name!r}; the attack has no direction there, which is no sign of robustness"
        )
    return found.views


def _gradient_attack(condition: Condition) -> GradientAttack:
    given = dict(condition.params)
    eps, steps = pixels(given["eps"]), int(number(given.get("steps", 1)))
    step = given.get("step", given["eps"])
    return GradientAttack(
        eps=eps,
        norm=next(n for n in NORMS if n == given["norm"]),
        steps=steps,
        step=None if step == "auto" else pixels(step),
        restarts=int(number(given.get("restarts", 0))),
        order=next(o for o in ORDERS if o == given.get("order", ORDERS[0])),
    )


def _eight_bits(condition: Condition) -> str | None:
    """Return a notice if rounding to 8 bits changes the budget of a gradient attack."""
    levels = pixels(condition["eps"]) * 255
    if condition["norm"] != "linf" or abs(levels - round(levels)) < 1e-6:
        return None
    kept = int(levels)
    effect = f"the attack is rounded to {kept}/255" if kept else "the attack changes no pixel"
    return f"{condition.text}: eps is {levels:.3g} of 255 grey levels, and attacked images have 8 bits: {effect}"


_GRADIENT_PARAMS = {
    "eps": budget(),
    "norm": choice(*NORMS, default="linf"),
    "target": label(f"{UNTARGETED!r}, {OTHER_CLASS!r}, or the name, label or index of a class", default=UNTARGETED),
    "model": label("short fingerprint of the attacking model", default=ITSELF),
}
"""The parameters that gradient attacks share."""

FGSM = ConditionKind(
    key="fgsm",
    name=(
        "one step along the gradient's signs (`l2`: along the gradient), of the size of the budget `eps`; "
        "untargeted, away from the true class"
    ),
    source="Goodfellow et al. 2015",
    apply=_follow_gradients,
    target=_aim,
    params=_GRADIENT_PARAMS,
    follows_gradients=True,
    notice=_eight_bits,
)
PGD = ConditionKind(
    key="pgd",
    name=(
        "steps along the gradient's signs (`l2`: along the gradient), each followed by the projection on the "
        "budget `eps` and the clamp to [0, 1]; of several random starts the one with the largest loss counts"
    ),
    source="Madry et al. 2018",
    apply=_follow_gradients,
    target=_aim,
    params={
        **_GRADIENT_PARAMS,
        "steps": whole(20, 1, 100_000),
        "step": budget("auto", auto=True),
        "restarts": whole(1, 0, 1000),
        "order": choice(*ORDERS, default=ORDERS[0]),
    },
    follows_gradients=True,
    notice=_eight_bits,
)
