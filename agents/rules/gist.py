"""The one or two sentences of a message that say what it is about, word for word."""

import re
from collections.abc import Callable, Sequence

from agents.rules.sentences import Sentence

_WORD = re.compile(r"[^\W\d_]{4,}")
_NUMBER = re.compile(r"\d")
_MONEY = re.compile(r"[$\u20ac\u00a3]\s?\d|\b\d[\d,.]*\s?(?:usd|eur|gbp|k|%)\b", re.IGNORECASE)
_EMPTY_TALK = re.compile(
    r"^(?:(?:many )?thanks?(?: you)?\b.{0,60}$|thank you (?:so much |very much )?for your (?:time|email|message|reply|call)\b|i hope (?:you|this|all)|hope (?:you|this|all)|"
    r"looking forward|i look forward|have a (?:great|good|nice)|please (?:let me know|feel free|do not hesitate|don't hesitate)|let me know if you have|"
    r"see you|talk soon|sounds good|great,? |ok(?:ay)?\b.{0,20}$|no problem|as (?:discussed|promised|mentioned)\W*$|nice to (?:meet|hear)|good to (?:hear|speak)|"
    r"it was (?:great|good|nice|a pleasure)|my pleasure|congratulations|happy \w+day|if you have any)",
    re.IGNORECASE,
)
_LONGEST = 240
_ENOUGH = 300


def summarize(subject: str, sentences: Sequence[Sentence], weight: Callable[[Sentence], float]) -> str:
    """
    Return one or two sentences of the message in their order, or its subject when it says nothing.

    `weight` adds what other rules found in a sentence: a promise, a request, an objection. Small talk never counts.
    """
    topic = {word.lower() for word in _WORD.findall(subject)}
    scored = [
        (_salience(sentence, index, topic) + weight(sentence), -index, sentence)
        for index, sentence in enumerate(sentences)
    ]
    telling = sorted((item for item in scored if item[0] > 0), key=lambda item: item[:2], reverse=True)
    if not telling:
        return subject.strip()[:_ENOUGH] or (sentences[0].text[:_LONGEST] if sentences else "")
    chosen = [telling[0][2]]
    if len(telling) > 1 and len(chosen[0].text) + len(telling[1][2].text) <= _ENOUGH:
        chosen.append(telling[1][2])
    chosen.sort(key=lambda sentence: sentence.start)
    return " ".join(_shortened(sentence.text) for sentence in chosen)


def _salience(sentence: Sentence, index: int, topic: set[str]) -> float:
    text = sentence.text
    words = {word.lower() for word in _WORD.findall(text)}
    if _EMPTY_TALK.search(text) or len(words) < 2:
        return -3.0
    score = 0.6 if index == 0 else 0.3 if index == 1 else 0.0
    score += min(len(words & topic), 2) * 0.4
    score += 0.4 if _MONEY.search(text) else 0.2 if _NUMBER.search(text) else 0.0
    return score - (0.5 if len(text) > _LONGEST else 0.0)


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return text[:_LONGEST].rsplit(" ", 1)[0].rstrip(",;:") + "\u2026"
