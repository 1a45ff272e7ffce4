"""The word that a typographic attack writes on images of a class, and the words of the attack's controls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..circuits import ClassInfo
from ..circuits.kinds import Param
from ..circuits.recipe import Scalar
from ..errors import InputError, unknown
from .condition_kind import OTHER_CLASS, other_class
from .font import spell
from .labels import plain
from .seeds import Draws, rank
from .source import ImageSource

NO_WORD = "no word"
CONTROLS = ("none", "own class", "nonsense", NO_WORD)
"""What a control writes instead of the attack's word: the word of the images' own class, a pronounceable word of the
same length that names no class, or no letters, only the block that the word would cover; `none` for the attack."""

_CONSONANTS, _VOWELS, _TRIES = "bdfgklmnprstvz", "aeiou", 1000


def words_param() -> Param:
    """Return the parameter for the word of each class: a text, `other class`, a table of classes or a list of words.

    Tables and lists have canonical JSON as their canonical form, which no text has: the font lacks braces and brackets.
    """

    def read(value: Any) -> Scalar:
        value = _parsed(value)
        match value:
            case str():
                return _text(value)
            case dict():
                canonical: Any = {str(name): _text(word) for name, word in value.items()}
            case list() | tuple():
                canonical = sorted({_text(word) for word in value})
            case _:
                raise ValueError(value)
        if not canonical:
            raise ValueError(value)
        return json.dumps(canonical, sort_keys=True, ensure_ascii=False)

    allowed = f"the text to write, {OTHER_CLASS!r}, a table of words by class, or a list to draw each class's word from"
    return Param(OTHER_CLASS, allowed, read)


def listed_words(text: Scalar) -> set[str]:
    """Return the words in a canonical value of `words_param`; the name `other class` counts as none."""
    match _parsed(text):
        case dict() as table:
            return set(table.values())
        case list() as words:
            return set(words)
    return set() if text == OTHER_CLASS else {str(text)}


def _parsed(value: Any) -> Any:
    """Return the table or list that a text in canonical JSON stands for; any other value unchanged."""
    if isinstance(value, str) and value.startswith(("{", "[")):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value


def _text(word: Any) -> str:
    if not isinstance(word, str) or not word.strip():
        raise ValueError(word)
    spell(word)  # its error names the missing character
    return " ".join(word.split())


def word_of_attack(text: Scalar, source: ImageSource, cls: ClassInfo, seed: int) -> str:
    """Return the word that an attack writes on images of a class.

    Args:
        text: canonical value of `words_param`.
        source: source of the images.
        cls: their class.
        seed: seed of the choice from a list.

    Raises:
        InputError: there is no other class; the table lacks the class or has a name that is no class; every word of
            the list is that of the class itself.
    """
    match _parsed(text):
        case dict() as table:
            return _from_table(table, source, cls)
        case list() as words:
            return _from_list(words, source, cls, seed)
    if text != OTHER_CLASS:
        return str(text)
    if len(source.classes) < 2:
        raise InputError(
            f"typographic, text = {OTHER_CLASS!r}: needs two classes (the image's and the one written), "
            f"but {source.name} has one; give the text itself"
        )
    return source.word(other_class(source, cls, seed))


def _from_table(table: Mapping[str, str], source: ImageSource, cls: ClassInfo) -> str:
    names = [c.name for c in source.classes]
    for name in table:
        if name not in names:
            raise unknown("class", name, names, where="typographic: text")
    if cls.name not in table:
        raise InputError(f"typographic: text: the table has no word for class {cls.name!r}; add one")
    return table[cls.name]


def _from_list(words: list[str], source: ImageSource, cls: ClassInfo, seed: int) -> str:
    others = [word for word in words if source.class_index_of(word) != cls.class_index]
    if not others:
        raise InputError(f"typographic: text: every word of the list is that of class {cls.name!r}; add another word")
    return min(others, key=lambda word: rank("word", seed, cls.key, word))


def word_of_control(control: Scalar, word: str, source: ImageSource, cls: ClassInfo, seed: int) -> str:
    """Return the word that a control writes on images of a class instead of the attack's word.

    Args:
        control: one of `CONTROLS`; `no word` returns the attack's word, whose block is drawn.
        word: the attack's word.
        source: source of the images.
        cls: their class.
        seed: seed of the nonsense word.

    Raises:
        InputError: every nonsense word of this length that was tried names a class.
    """
    match control:
        case "own class":
            return source.word(cls)
        case "nonsense":
            return _nonsense(word, source, cls, seed)
        case _:
            return word


def _nonsense(word: str, source: ImageSource, cls: ClassInfo, seed: int) -> str:
    """Return a word with the same length whose letters are consonants and vowels in turn, and that names no class."""
    draws, taken = Draws("nonsense", seed, cls.key, word), {plain(word)}
    for _ in range(_TRIES):
        drawn = _syllables(spell(word).lower(), draws)
        if plain(drawn) not in taken and source.class_index_of(drawn) is None:
            return drawn
    raise InputError(
        f"typographic: control = 'nonsense': no other word of the length of {word!r} was found that names no class; "
        "use a longer text"
    )


def _syllables(word: str, draws: Draws) -> str:
    """Replace letters by consonants and vowels in turn; other characters are kept."""
    letters, turn = [], draws.below(2)
    for sign in word:
        if sign.isalpha():
            pool = (_CONSONANTS, _VOWELS)[turn]
            sign, turn = pool[draws.below(len(pool))], 1 - turn
        letters.append(sign)
    return "".join(letters)
