"""Notes: what their ids cover, what cannot be a note, and what a note about a subject is also about."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from circuitstore.circuits import HYPOTHESIS_STATES, SUBJECT_KINDS, Hypothesis, Note, Subject
from circuitstore.errors import InputError
from hypothesis import given
from hypothesis import strategies as st

characters = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))
words = st.text(characters, min_size=1, max_size=20).filter(str.strip)
subjects = st.builds(Subject, st.sampled_from(SUBJECT_KINDS), words)
some = st.lists(subjects, max_size=3).map(tuple)
notes = st.builds(
    Note,
    text=words,
    author=words,
    about=some,
    tags=st.lists(words.filter(lambda tag: "," not in tag), max_size=3).map(tuple),
    hypothesis=st.none() | st.builds(Hypothesis, st.sampled_from(HYPOTHESIS_STATES), some),
    replaces=st.none() | st.just("e" * 64),
)


@given(notes)
def test_a_note_survives_its_json(note: Note) -> None:
    there = Note.from_dict(note.to_dict())
    assert there == note and there.id == note.id


@given(notes, st.randoms(use_true_random=False))
def test_the_order_of_subjects_and_tags_is_not_part_of_a_note(note: Note, random: Random) -> None:
    about, tags = list(note.about) * 2, list(note.tags) * 2
    random.shuffle(about)
    random.shuffle(tags)
    assert replace(note, about=tuple(about), tags=tuple(tags)).id == note.id


def test_every_field_is_part_of_its_id() -> None:
    note = Note("text", "ada", (Subject("circuit", "a"),), ("tag",), Hypothesis("open"))
    others = {
        "text": "other",
        "author": "grace",
        "about": (Subject("item", "a"),),
        "tags": ("tag", "other"),
        "hypothesis": Hypothesis("open", (Subject("circuit", "b"),)),
        "replaces": "e" * 64,
    }
    ids = {replace(note, **{name: value}).id for name, value in others.items()}
    ids |= {replace(note, hypothesis=value).id for value in (None, Hypothesis("refuted"))}
    assert len(ids | {note.id}) == len(others) + 3


@given(subjects)
def test_a_subject_is_its_text(subject: Subject) -> None:
    assert Subject.of(subject.text) == subject


def test_a_pair_concerns_its_circuits_and_an_edge_its_components() -> None:
    pair, edge = Subject("pair", "aa..bb"), Subject("edge", "f0/a0.h1->a3.h2<q>")
    assert [part.text for part in pair.parts] == ["circuit:aa", "circuit:bb"]
    assert [part.text for part in edge.parts] == ["component:f0/a0.h1", "component:f0/a3.h2"]
    assert pair.concerns(pair) and pair.concerns(Subject("circuit", "bb")) and not pair.concerns(edge)
    assert Subject("circuit", "aa").parts == () and not Subject("circuit", "aa").concerns(pair)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"text": "  "}, "text: expected a text that is not empty, got '  '"),
        ({"text": "a" * 100_001}, "text: expected at most 100,000 characters, got 100,001; shorten it"),
        ({"text": "a\0b"}, "text: expected a text without control characters"),
        ({"text": "a\ud800b"}, "text: expected a text without control characters"),
        ({"author": "ada\nlovelace"}, "author: expected a text without control characters"),
        ({"author": ""}, "author: expected a text that is not empty"),
        ({"tags": ("a,b",)}, "tag: expected a text without commas, got 'a,b'"),
        ({"tags": ("t" * 201,)}, "tag: expected at most 200 characters"),
    ],
)
def test_what_cannot_be_a_note_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(Note("text", "ada"), **values)


def test_what_cannot_be_a_subject_is_named() -> None:
    with pytest.raises(InputError, match=r"unknown kind of subject 'circut'.*circuit"):
        Subject.of("circut:3f2a")
    with pytest.raises(InputError, match="expected a subject as KIND:REFERENCE, such as circuit:3f2a, got '3f2a'"):
        Subject.of("3f2a")
    with pytest.raises(InputError, match="class: expected the reference of a class as text, got ' '"):
        Subject.of("class: ")
    with pytest.raises(InputError, match="unknown state of a hypothesis 'true'"):
        Hypothesis("true")


def test_any_script_and_markup_is_a_text() -> None:
    text = "<script>alert(1)</script> \u202eright to left\u202c\n\tمذكرة 🧠"
    assert Note.from_dict(Note(text, "ada").to_dict()).text == text
