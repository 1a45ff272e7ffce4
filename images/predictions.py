"""Images under conditions, and a model's predictions for them; every image is attacked once and run once."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import special

from ..circuits import ClassInfo, Condition, Corruption
from ..errors import InputError
from ..models import ConstantOutputs, ViT
from .batch import Batch
from .condition_kind import Views
from .conditions import attack, attacker_of, changes_images, freezes_target, target_of
from .corruptions import constants_of
from .gradient_kinds import ITSELF
from .source import ImageRef, ImageSource
from .splits import SPLITS

BATCH = 64
"""Number of images per batch."""

_CACHE_BYTES = 256 * 2**20
"""Memory for attacked views: all recipes, corruptions and splits of a class use the same ones."""


@dataclass(frozen=True)
class Tally:
    """Counts of a model's predictions for images of one class, unattacked and under a condition.

    Attributes:
        tried: number of images.
        correct: number of images whose predicted class without attack is the true one.
        attacked_correct: the same under the condition; None for natural images.
        succeeded: number of `correct` images for which the attack succeeds, see `Predictions.successful`; None for
            natural images.
    """

    tried: int
    correct: int
    attacked_correct: int | None = None
    succeeded: int | None = None

    @property
    def accuracy(self) -> float | None:
        """Share of `correct` images; None without images."""
        return _share(self.correct, self.tried)

    @property
    def attacked_accuracy(self) -> float | None:
        return _share(self.attacked_correct, self.tried)

    @property
    def success(self) -> float | None:
        """Share of correct images for which the attack succeeds; None without such images or without an attack."""
        return _share(self.succeeded, self.correct)


def _share(part: int | None, whole: int) -> float | None:
    return None if part is None or not whole else part / whole


@dataclass(frozen=True)
class _Predicted:
    """The class with the highest logit, and the one with the highest logit apart from the true class."""

    index: int
    rival: int


class Predictions:
    """The images of a source under conditions, and the classes that one model predicts for them.

    Attributes:
        source: source of the images.
        model: the model.
        seed: seed of everything random in attacks.
        attackers: other models whose gradients attacks may follow.
    """

    def __init__(self, source: ImageSource, model: ViT, seed: int = 0, attackers: Sequence[ViT] = ()) -> None:
        self.source, self.model, self.seed, self.attackers = source, model, seed, tuple(attackers)
        self._by_key: Mapping[str, ViT] = {short_fingerprint(m): m for m in (*attackers, model)}
        self._known: dict[tuple[str, Condition | None], _Predicted] = {}
        self._views: OrderedDict[tuple[str, Condition], UInt8[np.ndarray, "height width 3"]] = OrderedDict()
        self._constants: dict[Corruption, ConstantOutputs] = {}

    def of(
        self, cls: ClassInfo, refs: Sequence[ImageRef], condition: Condition | None = None
    ) -> Int[np.ndarray, "image"]:
        """Return the predicted class of each image, unattacked or under a condition.

        Raises:
            BadImage: an image cannot be decoded.
            InputError: the attack is not possible.
        """
        return np.array([p.index for p in self._of(cls, refs, condition)], int)

    def _of(self, cls: ClassInfo, refs: Sequence[ImageRef], condition: Condition | None) -> list[_Predicted]:
        under = condition if condition is not None and changes_images(condition) else None
        new = [ref for ref in dict.fromkeys(refs) if (ref.hash, under) not in self._known]
        for start in range(0, len(new), BATCH):
            batch = new[start : start + BATCH]
            logits = _logits(self.model, self.views(cls, batch, under))
            rivals = logits.copy()
            rivals[:, cls.class_index] = -np.inf
            both = zip(logits.argmax(1).tolist(), rivals.argmax(1).tolist(), strict=True)
            self._known |= {(ref.hash, under): _Predicted(*p) for ref, p in zip(batch, both, strict=True)}
        return [self._known[ref.hash, under] for ref in refs]

    def views(self, cls: ClassInfo, refs: Sequence[ImageRef], condition: Condition | None = None) -> Views:
        """Return the images as the model sees them, before normalisation, unattacked or under a condition.

        Raises:
            BadImage: an image cannot be decoded.
            InputError: the attack is not possible.

        Examples:
            >>> predictions, three = Predictions(source, model), source.class_named("three")
            >>> pgd = CONDITIONS.resolve("pgd", {"eps": "8/255"})
            >>> predictions.views(three, source.candidates(three)[:4], pgd).shape
            (4, 64, 64, 3)
        """
        if condition is None or not changes_images(condition):
            return Batch(self.source, cls, tuple(refs), (), self.seed).views
        found = {ref.hash: v for ref in refs if (v := self._views.get((ref.hash, condition))) is not None}
        if new := [ref for ref in dict.fromkeys(refs) if ref.hash not in found]:
            batch = Batch(self.source, cls, tuple(new), (), self.seed, self.attacker(condition))
            found |= {ref.hash: view for ref, view in zip(new, attack(condition, batch), strict=True)}
        for ref in refs:
            self._views[ref.hash, condition] = found[ref.hash]
            self._views.move_to_end((ref.hash, condition))
        while len(self._views) * found[refs[0].hash].nbytes > _CACHE_BYTES:
            self._views.popitem(last=False)
        return np.stack([found[ref.hash] for ref in refs])

    def attacked_now(self, cls: ClassInfo, refs: Sequence[ImageRef], condition: Condition) -> Views:
        """Attack images again, with the attacking model as it is now, such as within an edit's `applied`.

        Raises:
            BadImage: an image cannot be decoded.
            InputError: the attack is not possible.
        """
        return attack(condition, Batch(self.source, cls, tuple(refs), (), self.seed, self.attacker(condition)))

    def constants(self, corruption: Corruption) -> ConstantOutputs:
        """Return the outputs that replace those of the model's senders; computed once for each corruption.

        Raises:
            InputError: see `constants_of`.
        """
        if corruption not in self._constants:
            self._constants[corruption] = constants_of(corruption, self.source, self.model)
        return self._constants[corruption]

    def attacker(self, condition: Condition) -> ViT | None:
        """Return the model whose gradients a condition follows; None if it follows none.

        Raises:
            InputError: it is not loaded.
        """
        key = attacker_of(condition)
        if key in (None, ITSELF):
            return key and self.model
        if key not in self._by_key:
            raise InputError(
                f"{condition.text}: follows the gradients of a model that is not loaded; expected 'itself' or one of "
                f"{', '.join(f'{key} ({m.name})' for key, m in self._by_key.items())}"
            )
        return self._by_key[key]

    def targets(
        self, cls: ClassInfo, refs: Sequence[ImageRef], condition: Condition
    ) -> Int[np.ndarray, "image"] | None:
        """Return each image's target class under an attack; None without a target.

        It is the attack's target, or, for an untargeted gradient attack, the class that the model predicts for the
        attacked image; if the attack fails, the class with the highest logit apart from the true one.
        """
        if freezes_target(condition):
            return np.array([p.rival for p in self._of(cls, refs, condition)], int)
        aims = self._aims(cls, refs, condition)
        return None if None in aims else np.array(aims, int)

    def _aims(self, cls: ClassInfo, refs: Sequence[ImageRef], condition: Condition) -> list[int | None]:
        """Return the attack's target for each image; None without one."""
        aim = {split: target_of(condition, self.source, cls, self.seed, split) for split in SPLITS}
        return [aim[self.source.split_of(ref)] for ref in refs]

    def correct(self, cls: ClassInfo, refs: Sequence[ImageRef]) -> Bool[np.ndarray, "image"]:
        """Return which images the model classifies correctly, unattacked."""
        return self.of(cls, refs) == cls.class_index

    def successful(self, cls: ClassInfo, refs: Sequence[ImageRef], condition: Condition) -> Bool[np.ndarray, "image"]:
        """Return for which correctly classified images an attack succeeds.

        It succeeds if the model predicts its target, or any other class if it has no target. An attack whose target is
        the class itself never succeeds.
        """
        predicted, aims = self.of(cls, refs, condition), self._aims(cls, refs, condition)
        aimed = np.array([aim in (None, index) for aim, index in zip(aims, predicted, strict=True)], bool)
        return self.correct(cls, refs) & aimed & (predicted != cls.class_index)

    def tally(self, cls: ClassInfo, refs: Sequence[ImageRef], condition: Condition | None = None) -> Tally:
        """Count the model's predictions for images of a class."""
        tried, correct = len(refs), int(self.correct(cls, refs).sum())
        if condition is None or not changes_images(condition):
            return Tally(tried, correct)
        attacked = int((self.of(cls, refs, condition) == cls.class_index).sum())
        return Tally(tried, correct, attacked, int(self.successful(cls, refs, condition).sum()))

    def most_often(self, cls: ClassInfo, refs: Sequence[ImageRef], condition: Condition | None = None) -> str:
        """Return the three classes predicted most often, with their counts, as text."""
        counts = Counter(self.of(cls, refs, condition).tolist()).most_common(3)
        return ", ".join(f"{self.source.name_of(index)!r} ({count})" for index, count in counts)


def predict(model: ViT, views: Views) -> Int[np.ndarray, "image"]:
    """Return the class with the highest logit for each 8-bit view.

    Examples:
        >>> three = source.class_named("three")
        >>> predict(model, np.stack([source.view(ref) for ref in source.candidates(three)[:4]]))
        array([3, 3, 3, 2])
    """
    return _logits(model, views).argmax(1)


def probabilities(model: ViT, views: Views) -> Float[np.ndarray, "image class"]:
    """Return the softmax probability of each class for each 8-bit view.

    Examples:
        >>> three = source.class_named("three")
        >>> shares = probabilities(model, np.stack([source.view(ref) for ref in source.candidates(three)[:4]]))
        >>> shares.shape, shares.argmax(1)
        ((4, 10), array([3, 3, 3, 2]))
    """
    return special.softmax(_logits(model, views).astype(np.float64), axis=1)


def _logits(model: ViT, views: Views) -> Float[np.ndarray, "image class"]:
    return model.logits(model.preprocess.normalise(views)).float().cpu().numpy()


def short_fingerprint(model: ViT) -> str:
    """Return the first 16 hexadecimal digits of a model's fingerprint, which name it in conditions.

    Examples:
        >>> model.fingerprint.startswith(short_fingerprint(model))
        True
    """
    return model.fingerprint[:16]
