"""Notes and hypotheses about what a store holds: a text with its subjects, and what was found out about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self, get_args

from ..errors import InputError, check_known, cut
from .recipe import digest

SubjectKind = Literal["circuit", "item", "class", "component", "edge", "pair", "query"]
"""What a note can be about; `pair` is two circuits."""

SUBJECT_KINDS: tuple[SubjectKind, ...] = get_args(SubjectKind)

HypothesisState = Literal["open", "supported", "refuted"]
"""What is known about a hypothesis."""

HYPOTHESIS_STATES: tuple[HypothesisState, ...] = get_args(HypothesisState)

PAIR = ".."
"""Between the ids of the two circuits of a pair."""

MAX_TEXT, MAX_NAME = 100_000, 200
"""Maximum number of characters of a note's text, and of an author's name or a tag."""


@dataclass(frozen=True, order=True)
class Subject:
    """Something that a note is about.

    Attributes:
        kind: one of `SUBJECT_KINDS`.
        ref: which one. `circuit`, `item`: its id. `pair`: the ids of two circuits in their order, with `..` between.
            `class`: data set, index and name, with `/` between. `component`, `edge`: id of the model, `/` and name.
            `query`: name of a named query, or Cypher.

    Raises:
        InputError: an unknown kind, or an empty reference.

    Examples:
        >>> Subject.of("class:digits/3/three")
        Subject(kind='class', ref='digits/3/three')
        >>> [part.text for part in Subject("edge", "f00d/a0.h1->a3.h2<q>").parts]
        ['component:f00d/a0.h1', 'component:f00d/a3.h2']
    """

    kind: SubjectKind
    ref: str

    def __post_init__(self) -> None:
        check_known("kind of subject", self.kind, SUBJECT_KINDS)
        if not isinstance(self.ref, str) or not self.ref.strip() or not _is_storable(self.ref):
            raise InputError(f"{self.kind}: expected the reference of a {self.kind} as text, got {cut(repr(self.ref))}")

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the subject of a text such as `circuit:3f2a`.

        Raises:
            InputError: the text has no kind, or an unknown one.
        """
        kind, colon, ref = text.partition(":")
        if not colon:
            raise InputError(f"expected a subject as KIND:REFERENCE, such as circuit:3f2a, got {cut(repr(text))}")
        return cls(kind, ref)  # pyright: ignore[reportArgumentType]  # it is checked there

    @property
    def text(self) -> str:
        """The subject as `KIND:REFERENCE`."""
        return f"{self.kind}:{self.ref}"

    @property
    def parts(self) -> tuple[Subject, ...]:
        """The circuits of a pair, the components of an edge; a note about the subject is also about these."""
        if self.kind == "pair":
            return tuple(Subject("circuit", id) for id in self.ref.split(PAIR))
        if self.kind == "edge":
            model, _, edge = self.ref.partition("/")
            ends = (end.partition("<")[0] for end in edge.split("->"))
            return tuple(Subject("component", f"{model}/{end}") for end in ends)
        return ()

    def concerns(self, other: Subject) -> bool:
        """Return whether a note about this subject is shown with the other one: the same, or a part of it."""
        return other == self or other in self.parts


@dataclass(frozen=True)
class Hypothesis:
    """What is known about the claim of a note.

    Attributes:
        state: one of `HYPOTHESIS_STATES`.
        evidence: what supports or refutes it.

    Raises:
        InputError: an unknown state.

    Examples:
        >>> Hypothesis("supported", (Subject("circuit", "3f2a"),)).state
        'supported'
    """

    state: HypothesisState = "open"
    evidence: tuple[Subject, ...] = ()

    def __post_init__(self) -> None:
        check_known("state of a hypothesis", self.state, HYPOTHESIS_STATES)
        object.__setattr__(self, "evidence", _sorted(self.evidence))


@dataclass(frozen=True)
class Note:
    """A text about parts of a store, which never changes; a later version replaces it.

    Attributes:
        text: what it says.
        author: name of its author.
        about: what it is about, sorted; empty if it is about the whole store.
        tags: words to find it by, sorted.
        hypothesis: what is known about its claim; None if it is only a note.
        replaces: id of the earlier version of this note; None if it is the first one.

    Raises:
        InputError: a text, name or tag that is empty, too long, or cannot be stored.

    Examples:
        >>> note = Note("the head reads the word", "ada", (Subject("component", "f00d/a3.h1"),), tags=("word",))
        >>> note == Note.from_dict(note.to_dict())
        True
        >>> note.state, note.properties()["tags"]
        (None, 'word')
    """

    text: str
    author: str
    about: tuple[Subject, ...] = ()
    tags: tuple[str, ...] = ()
    hypothesis: Hypothesis | None = None
    replaces: str | None = None

    def __post_init__(self) -> None:
        _check("text", self.text, MAX_TEXT, "\n\t")
        _check("author", self.author, MAX_NAME)
        for tag in self.tags:
            _check("tag", tag, MAX_NAME)
            if "," in tag:
                raise InputError(f"tag: expected a text without commas, got {cut(repr(tag))}")
        object.__setattr__(self, "about", _sorted(self.about))
        object.__setattr__(self, "tags", _sorted(self.tags))

    @cached_property
    def id(self) -> str:
        """Hash of everything that it says; the same note has the same id in every store."""
        return digest(self.to_dict())

    @property
    def sha256(self) -> str:
        """Checksum: the id, which covers the whole content."""
        return self.id

    @property
    def state(self) -> HypothesisState | None:
        """State of its hypothesis; None if it has none."""
        return None if self.hypothesis is None else self.hypothesis.state

    def to_dict(self) -> dict[str, Any]:
        """Return the note as JSON values, without its id."""
        evidence = [] if self.hypothesis is None else [[s.kind, s.ref] for s in self.hypothesis.evidence]
        return {
            "text": self.text,
            "author": self.author,
            "about": [[subject.kind, subject.ref] for subject in self.about],
            "tags": list(self.tags),
            "hypothesis": None if self.hypothesis is None else {"state": self.state, "evidence": evidence},
            "replaces": self.replaces,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`."""
        found = values["hypothesis"]
        return cls(
            values["text"],
            values["author"],
            tuple(Subject(kind, ref) for kind, ref in values["about"]),
            tuple(values["tags"]),
            found and Hypothesis(found["state"], tuple(Subject(kind, ref) for kind, ref in found["evidence"])),
            values["replaces"],
        )

    def properties(self) -> dict[str, Any]:
        """Return id, text, author, tags (with commas between), state and `replaces`, as its node in the graph has."""
        return {
            "id": self.id,
            "text": self.text,
            "author": self.author,
            "tags": ", ".join(self.tags),
            "state": self.state,
            "replaces": self.replaces,
        }


def _sorted(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(set(values)))


def _is_storable(text: str) -> bool:
    """Return whether every database can store a text: it has no NUL and no unpaired surrogate."""
    return "\0" not in text and text.encode("utf-8", "ignore").decode() == text


def _check(what: str, text: object, limit: int, allowed: str = "") -> None:
    """Check a text of a note.

    Raises:
        InputError: it is empty or too long, or has control characters other than the `allowed` ones.
    """
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{what}: expected a text that is not empty, got {cut(repr(text))}")
    if len(text) > limit:
        raise InputError(f"{what}: expected at most {limit:,} characters, got {len(text):,}; shorten it")
    if not _is_storable(text) or any(char < " " and char not in allowed for char in text):
        raise InputError(f"{what}: expected a text without control characters, got {cut(repr(text))}")
