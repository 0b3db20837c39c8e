"""How soon a message wants to be acted on: high, medium or low."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from agents.rules.dates import Calendar, find_dates
from agents.rules.questions import Ask
from agents.rules.sentences import Sentence

Urgency = Literal["high", "medium", "low"]

_PRESSING = re.compile(
    r"\b(?:urgent(?:ly)?|asap|a\.s\.a\.p|as soon as possible|immediate(?:ly)?|right away|straight away|critical|emergency|time[- ]sensitive|"
    r"top priority|high priority|without delay|deadline is|eod|end of (?:the )?day|by cob|dringend|sofort|urgence|urgente)\b"
)
_ELSEWHERE = re.compile(
    r"\b(?:in|for) (?:any |an )?(?:urgent|emergency|critical) (?:cases?|matters?|requests?|questions?|enquir(?:y|ies)|inquir(?:y|ies)|assistance)\b|"
    r"\bin (?:case of (?:an )?emergency|dringenden f\u00e4llen)\b"
)
"""Whom to turn to when something is urgent: an absence note says it, and presses nobody."""
_BROKEN = re.compile(
    r"\b(?:is|are|been|completely|still) down\b|\boutage\b|\bnot working\b|\b(?:can't|cannot|unable to|couldn't) (?:log ?in|access|use|work|open|process|ship|bill|operate)\b|"
    r"\bblocked\b|\bblocker\b|\bstopped working\b|\bnothing (?:works|scans|prints|loads|happens)\b|\bdata loss\b|\blawyer|\blegal action\b|\bescalat\w+"
)
_RELAXED = re.compile(
    r"\b(?:no rush|no hurry|whenever (?:you|it)|not urgent|take your time|when you get a chance|at your convenience|fyi|for your information|nothing urgent)\b"
)
_SOON = timedelta(hours=36)
_WEEK = timedelta(days=7)


def judge(sentences: Sequence[Sentence], asked: Sequence[Ask], calendar: Calendar, subject: str = "") -> Urgency:
    """
    Return how urgent the message is.

    High: it presses, something is broken, or what is asked is due within a day and a half. Medium: something is asked
    or due within a week. A message that says that there is no rush is never high.
    """
    text = " ".join(sentence.lower for sentence in sentences)[:20_000] + " " + subject.lower()[:300]
    text = _ELSEWHERE.sub(" ", text)
    relaxed = _RELAXED.search(text) is not None
    if not relaxed and (_PRESSING.search(text) or _BROKEN.search(text)):
        return "high"
    waits = [_waiting(ask.sentence, calendar) for ask in asked]
    if not relaxed and any(wait is not None and wait <= _SOON for wait in waits):
        return "high"
    if relaxed:
        return "low"
    if any(ask.kind != "proposal" for ask in asked) or any(wait is not None and wait <= _WEEK for wait in waits):
        return "medium"
    return "low"


def _waiting(sentence: Sentence, calendar: Calendar) -> timedelta | None:
    """Return how long until what the sentence asks for is due; a mere date of a meeting is no deadline."""
    waits = [due.at - calendar.sent_at for due in find_dates(sentence.text, calendar) if due.at and due.deadline]
    return min(waits, default=None)
