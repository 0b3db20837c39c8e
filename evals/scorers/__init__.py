"""
Scorers: each asks one question of one answer and explains what it found.

A question that a case does not raise gets no score. An answer that never came is an error of the run: it is neither a
pass nor a zero, and no scorer sees it.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from unicodedata import normalize

from evals.cases import Case
from evals.subjects.kit import Answered

_PLAIN = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "„": '"', "–": "-", "—": "-", "\u00a0": " "})
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
_LIST_MARK = re.compile(r"^\s*\d{1,2}[.)]\s", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Score:
    """
    What one scorer says: value from 0 to 1, passed or not, and why. Both are None where the case does not ask.

    `said` and `meant` name the classes of a choice among several, for the confusion table.
    """

    value: float | None
    passed: bool | None
    explanation: str
    said: str | None = None
    meant: str | None = None


Judgement = Callable[[Case[Any, Any], Answered[Any]], Score]


@dataclass(frozen=True, slots=True)
class Scorer:
    """A question with its way of answering it."""

    name: str
    question: str
    score: Judgement


NOT_ASKED = Score(None, None, "The case does not ask.")


def scorer(question: str) -> Callable[[Judgement], Scorer]:
    """Make the decorated function a scorer of its own name."""

    def wrap(judge: Judgement) -> Scorer:
        return Scorer(judge.__name__, question, judge)

    return wrap


def share(right: int, of: int, explanation: str) -> Score:
    """Return a score for so many out of so many; only all of them pass."""
    return Score(right / of if of else 1.0, right == of, explanation)


def choice(said: str, meant: Sequence[str]) -> Score:
    """Return a score for a choice of which any of `meant` is right."""
    right = said in meant
    told = f"{said}, as it should be." if right else f"{said}, and should be {' or '.join(meant)}."
    return Score(float(right), right, told, said=said, meant=said if right else meant[0])


# Words --------------------------------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """Return the text as phrases are compared: case, spacing, typographic quotes and dashes make no difference."""
    return " ".join(normalize("NFKC", text).translate(_PLAIN).casefold().split())


def says(text: str, phrase: str) -> bool:
    """Tell whether the phrase stands in the text, beginning and ending at words; `a | b` is either."""
    within = plain(text)
    return any(_stands(within, plain(option)) for option in phrase.split("|") if option.strip())


def _stands(text: str, phrase: str) -> bool:
    begins = r"(?<!\w)" if phrase[:1].isalnum() else ""
    return re.search(begins + re.escape(phrase), text) is not None


def missing(text: str, phrases: Sequence[str]) -> list[str]:
    """Return the phrases that the text does not have."""
    return [phrase for phrase in phrases if not says(text, phrase)]


def numbers(text: str) -> list[str]:
    """Return the numbers in the text in their order, without the marks of a list."""
    return list(dict.fromkeys(_NUMBER.findall(_LIST_MARK.sub(" ", text))))


def foreign_numbers(text: str, material: str) -> list[str]:
    """Return the numbers that the material does not have, however they are punctuated there."""
    known = {re.sub(r"[.,]", "", number) for number in _NUMBER.findall(material)}
    known |= {part for number in known for part in re.split(r"[:/-]", number)}
    return [
        number
        for number in numbers(text)
        if not {part.lstrip("0") or "0" for part in re.split(r"[:/-]", re.sub(r"[.,]", "", number))}
        <= {part.lstrip("0") or "0" for part in known}
    ]


def quoted(items: Sequence[str]) -> str:
    """Return the items in quotation marks, with commas between them."""
    return ", ".join(f'"{item}"' for item in items)
