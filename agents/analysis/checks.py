"""
What of an answer may stand. The same for a model and for rules.

A quote stands in the message or the item is unsure; what is unsure is dropped. Products are those offered, promises are
named by number, and in a mail nobody promises for the other side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from agents import guards
from agents.analysis.outputs import Commitment, Item, Message, Reading
from agents.rules.dates import Calendar, find_due
from tools import playbook

T = TypeVar("T", bound=Item)
AGAINST = frozenset({"deal_at_risk", "competitor_evaluating", "competitor_mentioned"})
UNTRUSTED_MOST = 0.84
"""A message that talks to machines is never sure enough to be acted on."""
FARTHEST = timedelta(days=3 * 366)
_CATEGORIES = {
    "pricing_request": "pricing", "pricing_inquiry": "pricing", "budget_discussed": "pricing", "meeting_request": "scheduling",
    "demo_request": "scheduling", "demo_inquiry": "scheduling", "objection_raised": "objection", "objection": "objection",
    "competitor": "objection", "competitive_risk": "objection", "risk_signal": "objection", "ready_to_proceed": "ready_to_buy",
    "buying_signal": "ready_to_buy", "trial_request": "ready_to_buy", "follow_up": "follow_up", "direct_question": "info_request",
    "technical_question": "info_request",
}  # fmt: skip
_ACTIONS = {
    "pricing": "Answer the question about the price",
    "scheduling": "Propose a time",
    "objection": "Answer the objection",
    "ready_to_buy": "Send what they need to go ahead",
    "follow_up": "Give them an update",
    "info_request": "Answer the question",
    "general": "Read and decide whether an answer is due",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """What may be kept, by the fields of `NewAnalysis`, and how many items were too unsure."""

    kept: dict[str, Any]
    hidden: int


def check(reading: Reading, message: Message, offered: Sequence[UUID], *, suspected: bool) -> Checked:
    """Return what of the reading the message supports; `offered` are the open promises in the order of their numbers."""
    sieve = _Sieve(message, suspected=suspected or reading.flags.injection_suspected)
    items = _passed(reading, message, sieve)
    kept = _character(reading, message, sieve) | {column: _shown(found) for column, found in items.items()}
    kept |= {
        "promises": [
            *_promises(items["extracted_commitments_us"], "we_promised", message),
            *_promises(items["extracted_commitments_them"], "they_promised", message),
        ],
        "items": [] if sieve.suspected or not _is_theirs(message) else _learned(items),
        "fulfilled_promise_ids": _fulfilled(reading, message, offered),
        "away_until": _return_day(reading.away_until, message),
    }
    kept["thread"] = _thread(kept, message)
    return Checked(kept, sieve.hidden)


def _passed(reading: Reading, message: Message, sieve: "_Sieve") -> dict[str, list[Any]]:
    """Return the items that pass, by the column that keeps them."""
    named = [item for item in reading.competitors if item.competitor.casefold() in sieve.source.casefold()]
    return {
        "key_questions": sieve.pass_through(reading.key_questions),
        "extracted_facts": sieve.pass_through(reading.facts),
        "extracted_signals": sieve.pass_through(reading.signals),
        "extracted_objections": sieve.pass_through(reading.objections),
        "extracted_commitments_us": sieve.pass_through(_spoken_for(reading.commitments_us, message, "us")),
        "extracted_commitments_them": sieve.pass_through(_spoken_for(reading.commitments_them, message, "them")),
        "extracted_competitors": sieve.pass_through(named),
        "extracted_next_steps": sieve.pass_through(reading.next_steps),
    }


def _character(reading: Reading, message: Message, sieve: "_Sieve") -> dict[str, Any]:
    trigger = reading.playbook_trigger if reading.playbook_trigger in playbook.PLAYS else playbook.UNKNOWN
    flags = reading.flags.model_dump() | {
        "injection_suspected": sieve.suspected,
        "requires_response": reading.flags.requires_response and message.direction == "inbound",
    }
    return {
        "summary": guards.clean(reading.summary)[:1000],
        "communication_type": reading.communication_type,
        "playbook_trigger": trigger,
        "request_type": reading.request_type,
        "products_discussed": _known_products(reading, message),
        "sentiment": reading.sentiment,
        "sentiment_score": reading.sentiment_score,
        "sentiment_confidence": reading.sentiment_confidence,
        "urgency": reading.urgency,
        "potential_triggers": list(reading.potential_triggers),
        "flags": flags,
        "overall_confidence": min(reading.overall_confidence, UNTRUSTED_MOST if sieve.suspected else 1.0),
    }


class _Sieve:
    """Holds items against the message and counts those that do not pass."""

    def __init__(self, message: Message, *, suspected: bool) -> None:
        self.source = f"{message.subject}\n{message.content}"
        self.suspected = suspected
        self.hidden = 0

    def pass_through(self, items: Sequence[T]) -> list[T]:
        settled = guards.settle_quotes(items, self.source)
        passed = [item for item in settled if guards.gate(item.confidence) != "hidden"]
        self.hidden += len(settled) - len(passed)
        if self.suspected:
            return [item.model_copy(update={"confidence": min(item.confidence, UNTRUSTED_MOST)}) for item in passed]
        return passed


def _is_theirs(message: Message) -> bool:
    return message.direction == "inbound" or message.channel in ("call", "meeting")


def _spoken_for(items: Sequence[Commitment], message: Message, side: str) -> list[Commitment]:
    """Lower what one side is said to have promised by the other; only in a conversation do both speak."""
    if message.channel in ("call", "meeting") or side == ("them" if message.direction == "inbound" else "us"):
        return list(items)
    return [item.model_copy(update={"confidence": min(item.confidence, guards.UNSUPPORTED)}) for item in items]


def _shown(items: Sequence[Item]) -> list[dict[str, Any]]:
    return [item.model_dump(mode="json") | {"certainty": guards.gate(item.confidence)} for item in items]


def _known_products(reading: Reading, message: Message) -> list[str]:
    named = {name.casefold() for name in reading.products_discussed}
    return [product for product in message.products if product.casefold() in named]


# Promises ---------------------------------------------------------------------------------------------------------


def _promises(items: Sequence[Commitment], direction: str, message: Message) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for item in items:
        due_by, due_text = _due(item, message)
        found.append({
            "direction": direction,
            "promise_text": guards.clean(item.commitment)[:1000] or item.quote[:1000],
            "promiser_name": item.who[:200] or None,
            "due_by": due_by,
            "due_text": due_text,
            "confidence": round(item.confidence, 2),
            "quote": item.quote,
        })  # fmt: skip
    return found


def _due(item: Commitment, message: Message) -> tuple[datetime | None, str | None]:
    """Resolve the words of the message here, whoever read them; a date of the reader's own counts only without words."""
    calendar = Calendar.of(message.sentAt, message.timezone)
    if item.due_text and guards.supported(item.due_text, message.content):
        due = find_due(item.due_text, calendar)
        return (due.at if due else None), item.due_text[:200]
    due = find_due(item.quote, calendar)
    if due is not None:
        return due.at, due.text
    said = _moment(item.due_by, calendar)
    if said is None or not message.sentAt - timedelta(days=1) <= said <= message.sentAt + FARTHEST:
        return None, None
    return said, None


def _moment(text: str, calendar: Calendar) -> datetime | None:
    try:
        if len(text) == len("2026-01-31"):
            return calendar.moment(date.fromisoformat(text))
        said = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (said if said.tzinfo else said.replace(tzinfo=calendar.zone)).astimezone(UTC)


def _fulfilled(reading: Reading, message: Message, offered: Sequence[UUID]) -> list[UUID]:
    """Return the promises behind the numbers; outsiders can only keep their own."""
    may_keep = {
        promise.number
        for promise in message.openPromises
        if message.direction != "inbound" or promise.who == "them" or message.channel in ("call", "meeting")
    }
    numbers = dict.fromkeys(
        number for number in reading.fulfilled_promises if number in may_keep and 1 <= number <= len(offered)
    )
    return [offered[number - 1] for number in numbers]


def _return_day(text: str, message: Message) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    sent = message.sentAt.date()
    return day if message.direction == "inbound" and sent <= day <= sent + timedelta(days=366) else None


# What is learned --------------------------------------------------------------------------------------------------


def _learned(items: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Return what is kept about the company; signals and objections in the sender's own words."""
    learned = [_item("fact", fact.fact, fact, {}, fact_type="business") for fact in items["extracted_facts"]]
    learned += [
        _item(
            "concern" if signal.signal in AGAINST else "buying_signal", signal.quote, signal, {"signal": signal.signal}
        )
        for signal in items["extracted_signals"]
    ]
    learned += [
        _item("objection", item.quote, item, {"objection": item.objection, "resolved": item.addressed})
        for item in items["extracted_objections"]
    ]
    learned += [
        _item("concern", f"{item.competitor} ({item.context.replace('_', ' ')})", item,
              {"signal": "competitor_mentioned", "competitor": item.competitor, "context": item.context})
        for item in items["extracted_competitors"]
    ]  # fmt: skip
    return learned


def _item(kind: str, text: str, item: Item, detail: dict[str, Any], fact_type: str | None = None) -> dict[str, Any]:
    strength = (
        {"strength": "strong" if item.confidence >= guards.ACTS else "moderate"} if kind == "buying_signal" else {}
    )
    return {
        "kind": kind,
        "fact_type": fact_type,
        "text": guards.clean(text)[:1000] or item.quote[:1000],
        "detail": detail | strength,
        "quote": item.quote,
        "confidence": round(item.confidence, 2),
    }


# The conversation -------------------------------------------------------------------------------------------------


def _thread(kept: dict[str, Any], message: Message) -> dict[str, Any]:
    play = playbook.find_play(kept["playbook_trigger"])
    category = _CATEGORIES.get(play.trigger, "general")
    negative = kept["sentiment"] in ("negative", "concerned")
    waits = kept["flags"]["requires_response"]
    mood = "urgent" if negative and kept["urgency"] == "high" else "negative" if negative else (
        "positive" if kept["sentiment"] in ("positive", "excited") else "neutral"
    )  # fmt: skip
    top = kept["urgency"] == "high" or (waits and play.tier <= 2)
    quotes = [
        item["quote"] for name in ("extracted_objections", "extracted_signals", "key_questions") for item in kept[name]
    ]
    return {
        "ai_priority": "high" if top else "medium" if waits or kept["urgency"] == "medium" else "low",
        "ai_category": category,
        "ai_sentiment": mood,
        "ai_thread_summary": kept["summary"],
        "ai_suggested_action": _ACTIONS[category]
        if waits
        else "Wait for their answer"
        if message.direction == "outbound"
        else "No answer is due",
        "ai_evidence_quotes": list(dict.fromkeys(quotes))[:3],
        "signals": _thread_signals(kept),
    }


def _thread_signals(kept: dict[str, Any]) -> dict[str, Any]:
    names = [signal["signal"] for signal in kept["extracted_signals"]]
    objections = [item["objection"] for item in kept["extracted_objections"]]
    return {
        "competitor_mentions": [item["competitor"] for item in kept["extracted_competitors"]],
        "budget_discussed": "budget_confirmed" in names or "price" in objections,
        "timeline_mentioned": bool({"timeline_urgent", "decision_timeline"} & set(names)),
        "buying_signals": [name for name in names if name not in AGAINST],
        "objections": objections,
        "out_of_office": {"until": kept["away_until"]} if kept["away_until"] else None,
    }
