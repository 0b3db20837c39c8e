"""How a message feels: a lexicon with negation, intensity and contrast; courtesy counts for next to nothing."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agents.rules.sentences import Sentence

Mood = Literal["positive", "neutral", "negative", "concerned", "excited"]

_LEXICON: dict[str, float] = {
    word: weight
    for weight, words in (
        (3.0, "thrilled ecstatic fantastic amazing outstanding awesome wonderful delighted superb begeistert ravi ravie encantado encantada"),
        (2.2, "excellent love loved excited exciting perfect brilliant impressed terrific hervorragend parfait excelente perfekt toll"),
        (1.5, ("great happy glad pleased enjoyed good helpful useful appreciate appreciated success successful win valuable promising "
              "super gut prima bien content genial bueno buena bonne agreed approved welcome congratulations smooth smoothly keen eager")),
        (0.8, "nice fine interested interesting works ok okay better easy thank thanks gracias danke merci recommend recommended ready progress"),
        (-0.8, ("slow late unclear confusing complicated delay delayed sorry unfortunately leider malheureusement lamentablemente busy hard "
               "expensive teuer cher caro pricey steep missing postpone postponed")),
        (-1.5, ("problem problems issue issues bad difficult wrong broken bug bugs error errors fail fails failed failing failure complaint "
               "concern concerns concerned worried worry worries hesitant risk risks risky doubt doubts unhappy poor schlecht sorge sorgen "
               "inquiet inquiets preocupado preocupada probl\u00e8me problema problem lost losing overcharged blocked stuck struggling struggle skeptical")),
        (-2.2, ("disappointed disappointing frustrated frustrating unacceptable annoyed annoying upset angry cancel cancelling canceling cancellation "
               "terminate termination useless entt\u00e4uscht d\u00e9\u00e7u d\u00e9\u00e7us decepcionado mess worst outage downtime unreliable dissatisfied")),
        (-3.0, "terrible horrible awful furious disaster outrageous disgusted inexcusable ridiculous scam fraud lawsuit"),
    )
    for word in words.split()
}  # fmt: skip
_CONCERN = frozenset(
    ["concern", "concerns", "concerned", "worried", "worry", "worries", "hesitant", "risk", "risks", "risky", "doubt", "doubts", "unsure", "skeptical", "nervous", "sorge", "sorgen", "inquiet", "inquiets", "preocupado", "preocupada"]
)  # fmt: skip
_PHRASES: tuple[tuple[re.Pattern[str], float], ...] = tuple(
    (re.compile(pattern), weight)
    for pattern, weight in (
        (r"\b(?:looking forward|look forward|can't wait|cannot wait)\b", 1.0),
        (r"\bwell done\b|\bkeep up the\b|\bsounds (?:good|great|perfect)\b|\bworks (?:well|great|perfectly)\b|\bgood (?:news|work|job)\b", 1.6),
        (r"\b(?:not|isn't|wasn't|aren't) (?:\w+ )?(?:happy|pleased|satisfied|good enough|working|acceptable|what we)\b", -2.2),
        (r"\b(?:doesn't|does not|don't|didn't|did not|won't) (?:work|meet|help|make sense|respond|reply|answer)\b", -1.6),
        (r"\bno (?:response|reply|answer|progress|one has)\b|\bstill (?:waiting|not|no|haven't|hasn't|broken|down)\b|\bnever (?:heard|received|got|worked|arrived)\b", -1.8),
        (r"\btoo (?:expensive|high|much|slow|late|long|risky|complicated|complex)\b|\bover budget\b|\bfed up\b|\blet down\b|\bat risk\b", -1.6),
        (r"\b(?:concerns?|issues?|problems?|bugs?|errors?) (?:is|are|was|were|has been|have been|got) (?:now |all |finally )?(?:resolved|fixed|solved|addressed|sorted|cleared)\b|\bno longer (?:worried|concerned)\b", 1.2),
        (r"\bwaste of\b|\bworst\b|\bnightmare\b|\bswitch(?:ing)? (?:away|to another)\b|\bwalk away\b", -2.4),
        (r"\bnot sure\b|\bnot convinced\b|\bon the fence\b|\bkeeps? me up\b|\bhold off\b|\bsecond thoughts\b", -1.4),
    )
)  # fmt: skip
_NEGATION = frozenset(["not", "no", "never", "none", "nothing", "neither", "without", "hardly", "barely", "isn't", "wasn't", "aren't", "don't", "doesn't", "didn't", "can't", "cannot", "won't", "wouldn't", "haven't", "hasn't", "kein", "keine", "keinen", "nicht", "ohne", "pas", "sans", "ni", "sin"])  # fmt: skip
_STRONGER = frozenset(
    [
        "very",
        "really",
        "extremely",
        "so",
        "super",
        "incredibly",
        "absolutely",
        "totally",
        "highly",
        "deeply",
        "quite",
        "sehr",
        "wirklich",
        "très",
        "vraiment",
        "muy",
    ]
)
_WEAKER = frozenset(["slightly", "somewhat", "little", "bit", "fairly", "rather", "etwas", "un", "peu", "algo"])
_WORD = re.compile(r"[^\W\d_]+(?:'[a-z]+)?")
_BUT = re.compile(r"\b(?:but|however|although|aber|mais|pero)\b")
_SOFTENED = re.compile(
    r"\bno (?:problem|problems|issue|issues|worries|concerns?|rush|doubt|risk)\b|\bnot a (?:problem|concern|issue)\b|\bhappy to\b|\bgood (?:morning|afternoon|evening|day|luck)\b|\bplease\b"
)
_CONCERN_PHRASE = re.compile(
    r"\bnot sure\b|\bnot convinced\b|\bon the fence\b|\bkeeps? me up\b|\bhold off\b|\bsecond thoughts\b|\bat risk\b"
)
_OFFERED = re.compile(r"^(?:if|should) (?:you|there|anything)\b|\blet (?:me|us) know if\b|\bin case (?:of|you)\b")


@dataclass(frozen=True, slots=True)
class Sentiment:
    """The mood of a message: score -1 to 1, confidence 0 to 1, and the sentence that tells it best."""

    mood: Mood
    score: float
    confidence: float
    evidence: Sentence | None


def weigh(text: str) -> tuple[float, float]:
    """Return (feeling, part of it that is concern) of one sentence; 0 is neutral."""
    lower = _SOFTENED.sub(" ", text.lower())
    turn = _BUT.search(lower)
    total = concern = 0.0
    for pattern, weight in _PHRASES:
        if pattern.search(lower):
            total += weight
            lower = pattern.sub(" ", lower)
            concern += weight if weight < 0 and _CONCERN_PHRASE.search(text.lower()) else 0.0
    words = [(match[0], match.start()) for match in _WORD.finditer(lower)]
    for index, (word, place) in enumerate(words):
        weight = _LEXICON.get(word)
        if weight is None:
            continue
        before = {other for other, _ in words[max(0, index - 3) : index]}
        value = (
            weight
            * (-0.6 if before & _NEGATION else 1.0)
            * (1.3 if before & _STRONGER else 0.7 if before & _WEAKER else 1.0)
        )
        if turn and place < turn.start():
            value *= 0.5
        total += value
        concern += value if word in _CONCERN and value < 0 else 0.0
    asked = 0.5 if lower.rstrip("\"') ").endswith("?") else 1.0
    return total * asked, concern * asked


def judge(sentences: Sequence[Sentence]) -> Sentiment:
    """Return the mood of the message; without feeling it is neutral."""
    weighed = [(sentence, *weigh(sentence.text[:600])) for sentence in sentences if not _OFFERED.search(sentence.lower)]
    felt = [(sentence, value, concern) for sentence, value, concern in weighed if abs(value) >= _FELT]
    if not felt:
        return Sentiment("neutral", 0.0, 0.75 if sentences else 0.5, None)
    total = sum(value for _, value, _ in felt)
    score = round(total / math.sqrt(total * total + 12), 2)
    strongest = max(felt, key=lambda item: abs(item[1]) if item[1] * total >= 0 else 0)
    mood = _mood(score, total, sum(concern for *_, concern in felt), " ".join(item[0].text for item in felt))
    agreeing = sum(abs(value) for _, value, _ in felt if value * total > 0) / sum(abs(value) for _, value, _ in felt)
    confidence = round(min(0.92, 0.55 + 0.25 * agreeing * min(1.0, abs(total) / 3) + 0.1 * (mood != "neutral")), 2)
    return Sentiment(mood, score, confidence, None if mood == "neutral" else strongest[0])


_FELT = 0.7
_CLEAR = 0.33


def _mood(score: float, total: float, concern: float, text: str) -> Mood:
    if score <= -_CLEAR:
        return "concerned" if concern <= total * 0.5 else "negative"
    if score >= _CLEAR:
        return (
            "excited"
            if total >= 4
            and ("!" in text or re.search(r"\b(?:thrilled|excited|exciting|love|can't wait)\b", text.lower()))
            else "positive"
        )
    return "neutral"
