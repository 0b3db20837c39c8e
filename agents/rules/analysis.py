"""Reads a communication without a model, by the rules of this folder; typed and cited like a model's answer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from agents import guards
from agents.analysis.outputs import (
    ANALYSIS,
    Commitment,
    Competitor,
    Fact,
    Flags,
    Message,
    NextStep,
    ObjectionItem,
    Question,
    Reading,
    Signal,
)
from agents.rules import (
    answers,
    gist,
    objections,
    playbook,
    promises,
    questions,
    sentences,
    sentiment,
    signals,
    urgency,
)
from agents.rules.dates import Calendar, find_dates
from agents.rules.objections import Objection
from agents.rules.playbook import Scene
from agents.rules.promises import Promise
from agents.rules.questions import Ask
from agents.rules.sentences import Sentence
from agents.rules.sentiment import Sentiment
from agents.rules.signals import Finding
from agents.rules.speakers import Side, Spoken, by_sender, by_speaker

MOST = 8
"""Items of one kind that are kept."""
_KEEPING = re.compile(
    r"\b(?:attached|enclosed|here (?:is|are|you go|it is)|as promised|please find|i(?:'ve| have)? (?:just |now |already )?(?:sent|shared|uploaded|forwarded|attached|updated|"
    r"signed|booked|scheduled|fixed|completed|submitted|confirmed|checked|reviewed|ordered|paid|processed)|we(?:'ve| have)? (?:just |now |already )?(?:sent|shared|uploaded|forwarded|attached|"
    r"updated|signed|booked|scheduled|fixed|completed|submitted|confirmed|checked|reviewed|ordered|paid|processed|shipped|delivered)|is (?:now )?(?:done|ready|live|fixed|complete|signed|booked)|"
    r"(?:has|have) been (?:sent|shared|updated|signed|booked|scheduled|fixed|completed|submitted|confirmed|shipped|delivered|paid|processed)|anbei|ci-joint|adjunto)\b"
)
_TO_ANSWER = re.compile(
    r"\b(?:get back|come back to you|let you know|follow up|circle back|be in touch|keep you (?:posted|updated|informed)|reply|respond|answer|confirm|"
    r"update you|hear (?:back )?from (?:me|us)|send (?:it|that|this|them)|have (?:it|that|both|this|them))\b"
)
_SUBSTANTIAL = 12
"""Words from which on a message says more than thanks."""
_CONTENT_WORD = re.compile(r"[^\W\d_]{4,}")
_COMMON = frozenset(
    ["will", "shall", "send", "sent", "share", "shared", "back", "with", "your", "you", "this", "that", "then", "them", "they", "have", "over", "here", "there", "would", "could", "should", "about", "today", "tomorrow", "week", "month", "friday", "monday", "tuesday", "wednesday", "thursday", "next", "once", "after", "before", "when", "from", "also", "just", "please", "thanks", "attached", "know", "make", "sure", "need", "want", "like", "promised", "checked", "latest", "been", "were", "into", "some", "more", "let's", "call", "email", "mail", "message", "follow"]
)  # fmt: skip
_ANSWERED = frozenset({"ready_to_proceed", "deal_at_risk", "demo_request", "trial_request", "competitor_evaluating"})
"""Signals that a person should answer even when nothing is asked."""
_MONEY = re.compile(r"[$\u20ac\u00a3]\s?\d|\b\d[\d.,]*\s?(?:usd|eur|gbp|dollars|euros?)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Heard:
    """What the single rules found in a message."""

    said: Sequence[Sentence]
    asked: Sequence[Ask]
    made: Sequence[Promise]
    opposed: Sequence[Objection]
    shown: Sequence[Finding]
    facts: Sequence[Finding]
    rivals: Sequence[Finding]
    mood: Sentiment
    calendar: Calendar
    away: bool


@answers(ANALYSIS)
def read(message: Message) -> Reading:
    """Return what the message says, as far as rules can tell; a language they do not know lowers the confidence."""
    heard = _hear(message)
    scene = _scene(message, heard)
    kind = playbook.communication_type(scene)
    wanted = "other" if heard.away else playbook.request_type(scene)
    weights = _weights(heard)
    return Reading(
        summary=gist.summarize(message.subject, heard.said, lambda sentence: weights.get(sentence.start, 0.0)),
        communication_type=kind,
        playbook_trigger="informational" if heard.away else playbook.playbook_trigger(scene, kind, wanted),
        request_type=wanted,
        products_discussed=signals.find_products(f"{message.subject}\n{message.content}", message.products),
        sentiment=heard.mood.mood,
        sentiment_score=heard.mood.score,
        sentiment_confidence=heard.mood.confidence,
        urgency=scene.urgency,
        potential_triggers=["none"] if heard.away else playbook.potential_triggers(scene, wanted),
        flags=_flags(message, scene, away=heard.away),
        fulfilled_promises=[] if heard.away else _fulfilled(heard.said, message),
        away_until=_return(heard) if heard.away else "",
        overall_confidence=_confidence(message.content, heard.said),
        **_items(message, heard),
    )


def _hear(message: Message) -> _Heard:
    # What talks to machines is read by nobody here: it asks, promises and sums up nothing.
    said = [sentence for sentence in sentences.split(message.content) if not guards.suspicious(sentence.text)]
    calendar = Calendar.of(message.sentAt, message.timezone)
    away = message.direction == "inbound" and playbook.is_away_notice(message.subject, message.content)
    spoken = _spoken(message, said)
    theirs = [words.sentence for words in spoken if words.side == "them"]
    return _Heard(
        said=said,
        asked=[] if away else questions.find_asks(said),
        made=[] if away else promises.find_promises(spoken, calendar),
        opposed=objections.find_objections(theirs),
        shown=signals.find_signals(theirs),
        facts=signals.find_facts(theirs),
        rivals=signals.find_competitors(said, message.competitors),
        mood=sentiment.judge(said),
        calendar=calendar,
        away=away,
    )


def _scene(message: Message, heard: _Heard) -> Scene:
    return Scene(
        text=" ".join(sentence.text for sentence in heard.said),
        subject=message.subject,
        sentences=heard.said,
        asked=heard.asked,
        signals={signal.name for signal in heard.shown if signal.confidence >= guards.SHOWN},
        objections={objection.kind for objection in heard.opposed if not objection.addressed},
        competitors={rival.name for rival in heard.rivals} if message.direction != "outbound" else set[str](),
        promised=bool(heard.made),
        mood=heard.mood.mood,
        urgency=urgency.judge(heard.said, heard.asked, heard.calendar, message.subject),
        direction=message.direction,
        stage=message.stage,
        is_customer=message.isCustomer,
        is_known=message.isKnown,
        is_reply=message.isReply,
    )


class _Items(TypedDict):
    key_questions: list[Question]
    facts: list[Fact]
    signals: list[Signal]
    objections: list[ObjectionItem]
    commitments_us: list[Commitment]
    commitments_them: list[Commitment]
    competitors: list[Competitor]
    next_steps: list[NextStep]


def _items(message: Message, heard: _Heard) -> _Items:
    """Return everything found as cited items, so many of each kind."""
    content = message.content
    asked = [ask for ask in heard.asked if ask.kind != "proposal"]
    return {
        "key_questions": [Question(question=ask.sentence.text, **_cited(content, ask.sentence, ask.probability)) for ask in asked[:MOST]],
        "facts": [Fact(fact=fact.sentence.text, **_cited(content, fact.sentence, fact.confidence)) for fact in heard.facts[:MOST]],
        "signals": [
            Signal(signal=found.name, detail=found.sentence.text, **_cited(content, found.sentence, found.confidence))
            for found in heard.shown[:MOST]
        ],
        "objections": [
            ObjectionItem(objection=found.kind, detail=found.sentence.text, addressed=found.addressed,
                          **_cited(content, found.sentence, found.confidence))
            for found in heard.opposed[:MOST]
        ],
        "commitments_us": _commitments(content, heard.made, "we_promised"),
        "commitments_them": _commitments(content, heard.made, "they_promised"),
        "competitors": [
            Competitor(competitor=rival.name, context=rival.detail, **_cited(content, rival.sentence, rival.confidence))  # pyright: ignore[reportArgumentType] - a context of signals.py
            for rival in heard.rivals[:MOST]
        ],
        "next_steps": _next_steps(message, heard),
    }  # fmt: skip


def _side(message: Message) -> Side:
    return "them" if message.direction == "inbound" else "us"


def _spoken(message: Message, said: Sequence[Sentence]) -> list[Spoken]:
    """Objections, signals and facts are the buyer's own words; only a conversation holds both sides'."""
    side = _side(message)
    if message.channel in ("call", "meeting"):
        return by_speaker(said, side, message.ourParticipants, message.theirParticipants)
    return by_sender(said, side)


class _Cited(TypedDict):
    confidence: float
    quote: str


def _cited(content: str, sentence: Sentence, confidence: float) -> _Cited:
    return {"confidence": round(confidence, 2), "quote": content[sentence.start : sentence.end]}


def _commitments(content: str, made: Sequence[Promise], direction: str) -> list[Commitment]:
    return [
        Commitment(
            commitment=promise.text,
            due_text=promise.due.text if promise.due else "",
            due_by=promise.due.at.isoformat() if promise.due and promise.due.at else "",
            who=promise.who or "",
            **_cited(content, promise.sentence, promise.confidence),
        )
        for promise in made
        if promise.direction == direction
    ][:MOST]


def _next_steps(message: Message, heard: _Heard) -> list[NextStep]:
    """What was promised, by who promised it; what was requested, by who is to do it."""
    steps = [
        NextStep(
            step=promise.text,
            owner="us" if promise.direction == "we_promised" else "them",
            priority="high" if promise.due and promise.due.at else "medium",
            **_cited(message.content, promise.sentence, promise.confidence),
        )
        for promise in heard.made
    ]
    readers = "us" if message.direction == "inbound" else "them"
    steps += [
        NextStep(
            step=ask.sentence.text,
            owner=readers,
            priority="medium",
            **_cited(message.content, ask.sentence, ask.probability),
        )
        for ask in heard.asked
        if ask.kind == "request" and ask.probability >= guards.SHOWN
    ]
    return steps[:MOST]


def _flags(message: Message, scene: Scene, *, away: bool) -> Flags:
    text = scene.head
    priced = _MONEY.search(scene.text) is not None or any(
        re.search(rf"(?<!\w){re.escape(word)}(?:s|d)?(?!\w)", text) for word in message.priceWords
    )
    logistics = not away and playbook.is_simple_logistics(scene, priced=priced)
    wants = any(questions.wants_answer(ask) for ask in scene.asked) or scene.urgency == "high"
    matters = bool(scene.objections or scene.competitors or scene.signals & _ANSWERED)
    return Flags(
        requires_response=message.direction == "inbound"
        and not away
        and (wants or matters or scene.mood == "negative")
        and not logistics,
        contains_pricing=priced,
        contains_objection=bool(scene.objections),
        is_simple_logistics=logistics,
        injection_suspected=guards.suspicious(f"{message.subject}\n{message.content}"),
    )


def _fulfilled(said: Sequence[Sentence], message: Message) -> list[int]:
    """
    Return the numbers of this side's promises that the message keeps.

    A sentence reports something as done or attached and shares its words with the promise; in the promise's own thread
    one shared word is enough, and a promise to answer is kept by the next message that says more than thanks.
    """
    reports = [sentence for sentence in said if _KEEPING.search(sentence.lower) and "?" not in sentence.text]
    reported = [_content_words(sentence.text) for sentence in reports]
    around = (
        _content_words(f"{message.subject} {' '.join(sentence.text for sentence in said[:4])}")
        if reports
        else set[str]()
    )
    substantial = len(" ".join(sentence.text for sentence in said).split()) >= _SUBSTANTIAL
    kept: list[int] = []
    for promise in message.openPromises:
        if promise.who != _side(message):
            continue
        wanted = _content_words(promise.promise)
        shares = wanted and any(len(wanted & words) >= max(1, (len(wanted) + 1) // 2) for words in reported)
        sends = promise.same_thread and reports and (not wanted or wanted & around)
        answers_it = promise.same_thread and substantial and _TO_ANSWER.search(promise.promise.lower())
        if shares or sends or answers_it:
            kept.append(promise.number)
    return kept


def _content_words(text: str) -> set[str]:
    return {word.lower().rstrip("s") for word in _CONTENT_WORD.findall(text) if word.lower() not in _COMMON}


def _return(heard: _Heard) -> str:
    """Return the ISO date on which somebody who is away is back, as far as the notice tells."""
    for sentence in heard.said:
        dates = [due for due in find_dates(sentence.text, heard.calendar) if due.at]
        if dates and re.search(
            r"\b(?:until|till|back|return\w*|through|bis|zur\u00fcck|retour|hasta|regres\w+)\b", sentence.lower
        ):
            last = dates[-1].at
            return last.astimezone(heard.calendar.zone).date().isoformat() if last else ""
    return ""


def _weights(heard: _Heard) -> dict[int, float]:
    weights: dict[int, float] = {}
    for sentence, weight in (
        *((ask.sentence, 1.1 if ask.kind == "question" else 0.9) for ask in heard.asked),
        *((promise.sentence, 1.0) for promise in heard.made),
        *((objection.sentence, 1.2) for objection in heard.opposed),
        *((signal.sentence, 1.0) for signal in heard.shown),
    ):
        weights[sentence.start] = weights.get(sentence.start, 0.0) + weight
    return weights


def _confidence(content: str, said: Sequence[Sentence]) -> float:
    if not said:
        return 0.5
    spoken = sentences.language(content)
    return 0.82 if spoken == "en" else 0.74 if spoken != "other" else 0.55
