"""The images of a defence study: every class under every condition, split by split, and the trials about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np

from ..circuits import NATURAL, NO_INTERVENTION, ClassInfo, Condition, Intervention, Trial, short_names
from ..defence.labelled import LabelledImages, joined
from ..errors import InputError, unknown
from ..images import (
    CONDITIONS,
    ImageRef,
    Split,
    changes_images,
    role_of,
    target_of,
)
from .choice import Choice
from .knowing import attacked_knowing, knowing_attack
from .plan import Plan, run_classes
from .requests import conditions_of, named_conditions
from .spec import DefenceSpec, Spec, errors_at
from .study import report_trial


class StudyImages:
    """The images of a defence study.

    Attributes:
        plan: the plan, with the model and the source of the images.
        settings: the table `defence` of the spec.
        natural: the condition without an attack.
        conditions: all conditions of the study, natural first.
        against: the attacks that defences are fitted against.
        names: short name of each condition.
        classes: the classes.
        notices: messages for the user about the images.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        spec = plan.spec
        self.settings = _settings(spec)
        self.natural = CONDITIONS.resolve(NATURAL)
        attackers = dict(enumerate(plan.attackers))
        listed = conditions_of(spec, attackers)
        self.conditions = [self.natural, *(c for c in dict.fromkeys(listed) if c != self.natural)]
        texts = short_names([c.text for c in self.conditions])
        self.names = {c: texts[c.text] for c in self.conditions}
        self.against = _attacks(spec, self.settings, self.names)
        notices: dict[str, None] = {}
        self.classes = run_classes(spec, plan.source, notices)
        if len(self.classes) < 2:
            raise InputError(f"{spec.origin}: images.only: a defence study needs at least two classes")
        if spec.images.choose == "successful":
            raise InputError(
                f"{spec.origin}: images.choose: a defence is reported on all images, not only on those whose attack "
                "succeeds; use 'all' or 'correct' (directions are fitted on images whose attack succeeds in any case)"
            )
        self.choice = Choice(plan)
        self._trial = cache(self._basis)
        self.notices = tuple(notices)

    def refs(self, cls: ClassInfo, split: Split) -> tuple[ImageRef, ...]:
        """Return the images of a class in one split."""
        return getattr(self.choice.of(cls, self.natural, self.plan.spec.images.choose), split)

    def target(self, cls: ClassInfo, condition: Condition, split: Split) -> int | None:
        """Return the class that an attack aims at on images of a class; None without one."""
        if not changes_images(condition):
            return None
        return target_of(condition, self.plan.source, cls, self.plan.spec.seed, split)

    def of_class(self, cls: ClassInfo, condition: Condition, split: Split, *, knowing: int = 0) -> LabelledImages:
        """Return the images of a class under a condition.

        Args:
            cls: the class.
            condition: the condition.
            split: the split.
            knowing: attack again, with the model as it is now and this number of random starts; 0 for the condition's
                own images.

        Raises:
            InputError: the class has no image in the split.
        """
        refs, predictions = self.refs(cls, split), self.choice.predictions
        if not refs:
            raise InputError(
                f"class {cls.name!r}: no {split} images; raise images.per_class, or leave it out with images.only"
            )
        if knowing:
            views = attacked_knowing(predictions, cls, refs, condition, knowing)
        else:
            views = predictions.views(cls, refs, condition)
        model, labels = self.plan.model, np.full(len(refs), cls.class_index)
        hashes = tuple(ref.hash for ref in refs)
        return LabelledImages.of(model, model.preprocess.normalise(views), labels, hashes=hashes)

    def of_all(self, condition: Condition, split: Split) -> LabelledImages:
        """Return the images of all classes under a condition, class by class."""
        return joined([self.of_class(cls, condition, split) for cls in self.classes])

    def successful(self, condition: Condition) -> tuple[LabelledImages, LabelledImages, np.ndarray]:
        """Return discovery images whose attack succeeds: unattacked, attacked, and the class that each turns into.

        Raises:
            InputError: there are fewer than two.
        """
        predictions, kept, aims = self.choice.predictions, [], []
        for cls in self.classes:
            refs = self.refs(cls, "discovery")
            kept.append(predictions.successful(cls, refs, condition) if refs else np.zeros(0, bool))
            aims.append(predictions.of(cls, refs, condition) if refs else np.zeros(0, int))
        good, turned = np.concatenate(kept), np.concatenate(aims)
        if good.sum() < 2:
            raise InputError(
                f"{condition.text}: the attack succeeds on {int(good.sum())} of {len(good)} discovery images, and "
                "directions need at least two; make the attack stronger, or leave it out of defence.against"
            )
        clean, attacked = (self.of_all(c, "discovery")[good] for c in (self.natural, condition))
        few = set(clean.spread(self.settings.pairs).hashes)
        chosen = np.array([hash_ in few for hash_ in clean.hashes])
        return clean[chosen], attacked[chosen], turned[good][chosen]

    def trial(self, cls: ClassInfo, condition: Condition, intervention: Intervention, *, knowing: bool) -> Trial:
        """Return the question how a class's report images are classified under a condition and an intervention."""
        basis = self._trial(cls, condition)
        shown = condition
        if knowing:
            shown = knowing_attack(condition, self.settings.restarts, self.plan.source)
        return replace(basis, condition=shown, intervention=intervention)

    def _basis(self, cls: ClassInfo, condition: Condition) -> Trial:
        return report_trial(self.plan, cls, condition, NO_INTERVENTION)


def _settings(spec: Spec) -> DefenceSpec:
    if spec.defence is None:
        raise InputError(
            f"{spec.origin}: defence: this table is missing; add [defence], such as\n[defence]\nsizes = [24, 48]"
        )
    return spec.defence


def _attacks(spec: Spec, settings: DefenceSpec, names: Mapping[Condition, str]) -> list[Condition]:
    """Return the attacks that defences are fitted against, given the short names of all conditions."""
    attacks = [c for c in names if role_of(c) == "attack"]
    if settings.against is not None:
        with errors_at(spec, "defence.against"):
            named = {
                name: [c for c in names if names[c] == name] or named_conditions(name, list(names))
                for name in settings.against
            }
            for name, found in named.items():
                if not set(found) & set(attacks):
                    raise unknown("attack", name, [c.text for c in attacks])
        return [c for c in attacks if any(c in found for found in named.values())]
    if not attacks:
        raise InputError(f"{spec.origin}: condition: a defence study needs at least one attack, got none")
    return attacks
