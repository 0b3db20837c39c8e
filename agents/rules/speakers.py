"""Who says what in a transcript: lines like "Dana Lee: ..." give the words to a person, and the person to a side."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agents.rules.sentences import Sentence

Side = Literal["us", "them"]
_SPEAKER = re.compile(r"^(?P<name>[A-Z][\w.'-]*(?:\s[A-Z][\w.'-]*){0,2})(?:\s\([^)]{1,30}\))?:\s")


@dataclass(frozen=True, slots=True)
class Spoken:
    """A sentence, the side it belongs to, and the speaker where one is named."""

    sentence: Sentence
    side: Side
    name: str | None = None


def by_sender(sentences: Sequence[Sentence], side: Side) -> list[Spoken]:
    """Return the sentences as one sender's."""
    return [Spoken(sentence, side) for sentence in sentences]


def by_speaker(sentences: Sequence[Sentence], side: Side, ours: Sequence[str], theirs: Sequence[str]) -> list[Spoken]:
    """
    Return the sentences of a conversation with their speakers; a speaker holds the floor until the next is named.

    `ours` and `theirs` are the names of those present; who is neither counts for `side`.
    """
    spoken: list[Spoken] = []
    speaking, name = side, None
    for sentence in sentences:
        if found := _SPEAKER.match(sentence.text):
            speaking, name = _side_of(found["name"], ours, theirs, side), found["name"]
        spoken.append(Spoken(sentence, speaking, name))
    return spoken


def _side_of(name: str, ours: Sequence[str], theirs: Sequence[str], otherwise: Side) -> Side:
    said = set(name.lower().split())
    if any(said & set(known.lower().split()) for known in ours):
        return "us"
    return "them" if any(said & set(known.lower().split()) for known in theirs) else otherwise
