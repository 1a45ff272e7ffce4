"""The condition `typographic`: a text on the image, in one of three regimes, and its controls.

The regimes of Żukowska et al. (2026) are values of `place`, `number` and `size`: one large text (the default), several
small texts (`scattered`), and a text along the border (`border`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..circuits import ClassInfo, Condition
from ..circuits.kinds import ABSENT, choice, whole
from ..errors import InputError
from .batch import Batch, with_draws
from .condition_kind import ConditionKind, Role, Views
from .font import FONT_NAMES
from .lettering import PLACES, Lettering
from .params import colour, number, rgb, share
from .source import ImageSource
from .splits import Split
from .words import CONTROLS, NO_WORD, listed_words, word_of_attack, word_of_control, words_param
from .writing import write


def _control(condition: Condition) -> str:
    return str(dict(condition.params).get("control", "none"))


def _word(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> str:
    """Return the text written on images of the class."""
    word = word_of_attack(condition["text"], source, cls, seed)
    return word_of_control(_control(condition), word, source, cls, seed)


def _words(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> tuple[str, ...]:
    """Return the text written on images of the class, in brackets if only its block is drawn."""
    word = _word(condition, source, cls, seed)
    return (f"[{word}]" if _control(condition) == NO_WORD else word,)


def _write(condition: Condition, batch: Batch) -> Views:
    word = _word(condition, batch.source, batch.cls, batch.seed)
    style = _lettering(condition)
    return np.stack([write(view, word, style, draws) for view, draws in with_draws(batch, condition)])


def _lettering(condition: Condition) -> Lettering:
    style = Lettering(
        size=number(condition["size"]),
        place=next(p for p in PLACES if p == condition["place"]),
        number=int(number(condition["number"])),
        colour=rgb(condition["colour"]),
        outline=rgb(condition["outline"]),
        font=next(f for f in FONT_NAMES if f == dict(condition.params).get("font", FONT_NAMES[0])),
    )
    if _control(condition) != NO_WORD:
        return style
    if style.outline is None:
        raise InputError(f"typographic: control = {NO_WORD!r}: the block has the outline's colour; set outline")
    return replace(style, colour=None)


def _target(condition: Condition, source: ImageSource, cls: ClassInfo, seed: int) -> int | None:
    """Return the class that the attack's word names: a control keeps the target of its attack."""
    return source.class_index_of(word_of_attack(condition["text"], source, cls, seed))


def _of_split(condition: Condition, split: Split) -> Condition:
    """Return the condition with the text of this split: report images have the held-out text, if there is one."""
    params = dict(condition.params)
    held_out = params.pop("held_out", None)
    if held_out is None:
        return condition
    return replace(condition, params=tuple((params | {"text": held_out} if split == "report" else params).items()))


def _notice(condition: Condition) -> str | None:
    held_out = dict(condition.params).get("held_out")
    shared = set() if held_out is None else listed_words(condition["text"]) & listed_words(held_out)
    if not shared:
        return None
    return f"typographic: held_out: {', '.join(map(repr, sorted(shared)))} is in text, too: it is not held out"


def _role(condition: Condition) -> Role:
    return "attack" if _control(condition) == "none" else "control"


def _controls(condition: Condition, attack: Condition) -> bool:
    """Return whether two conditions differ only in that the first one is a control."""
    params = dict(condition.params)
    return params.pop("control", None) is not None and attack == replace(condition, params=tuple(params.items()))


TYPOGRAPHIC = ConditionKind(
    key="typographic",
    name=(
        "a text written on the image; `other class` writes the word of one other class on all images "
        "of a class, chosen by the seed and the set of classes; random places depend only on the image "
        "and the seed; a `control` keeps the place, the size and the target of the attack; report images have the "
        "text `held_out` if it is given"
    ),
    apply=_write,
    target=_target,
    words=_words,
    of_split=_of_split,
    notice=_notice,
    role=_role,
    controls=_controls,
    params={
        "text": words_param(),
        "held_out": replace(words_param(), default=ABSENT),
        "size": share(0.15, 0.01, 1.0),
        "place": choice(*PLACES, default="bottom"),
        "number": whole(1, 1, 100),
        "colour": colour("white"),
        "outline": colour("black", none=True),
        "font": replace(choice(*FONT_NAMES), added_later=True),
        "control": replace(choice(*CONTROLS), added_later=True),
    },
)
