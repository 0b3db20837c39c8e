"""
The words and the action of a proposal: all of them ours.

Whoever may change the product reads a proposal, the message only its mailbox's owner and managers. So the words of the
message stand in none, but for the title of a task where the two are the same person.
"""

import re
from datetime import datetime
from typing import Any

from agents.advising.checks import Chosen
from agents.advising.outputs import Evidence
from tools import advising, names
from tools.advising import AdvisingSubject, Proposal
from tools.lifecycle import CreateSuggestionIn, SuggestedAction

TITLE = 160
_NAME = re.compile(r"[a-z]{2,14}(?: [a-z]{2,14}){0,2}")
_CALLS = frozenset({"call", "meeting"})
_SAID = {
    "our_promise": "We promised something",
    "their_promise": "They promised something",
    "question": "They asked something",
    "objection": "They raised an objection",
    "signal": "They gave a signal",
    "competitor": "They named another supplier",
}
_TASK = {
    "our_promise": "Keep what was promised",
    "question": "Answer the question",
    "objection": "Answer the objection",
}


def proposal(chosen: Chosen, subject: AdvisingSubject, now: datetime, *, suspected: bool) -> Proposal:
    """Return what is proposed to a person; it waits as long as its message is a reason to do something."""
    because = _because(chosen.evidence, subject)
    title, command, params = _move(chosen, subject, because, suspected=suspected)
    suggestion = CreateSuggestionIn(
        suggestionType=chosen.offer.kind,
        title=title,
        description=because,
        confidence=chosen.confidence,
        sourceType=_source(subject),
        sourceId=str(subject.communication_id),
        suggestedAction=SuggestedAction(command=command, params=params),
        expiresAt=now + advising.FRESH,
    )
    return Proposal(suggestion=suggestion, quote=chosen.quote)


def _move(
    chosen: Chosen, subject: AdvisingSubject, because: str, *, suspected: bool
) -> tuple[str, str, dict[str, Any]]:
    offer = chosen.offer
    match offer.kind:
        case "advance_stage":
            title = f"Move {subject.product_name} to {offer.stage}"
            return title[:300], "advance-stage", {"toStageId": offer.target, "reason": because}
        case "schedule_followup":
            step = {"nextStep": f"Follow up: {because[:1].lower()}{because[1:]}", "dueDate": offer.target}
            return f"Plan the next step for {offer.day}", "set-next-step-due", step
        case "flag_risk":
            return "Note that it is at risk", "add-note", {"content": f"At risk. {because}", "noteType": "internal"}
        case "add_task":
            title = _task(chosen.evidence, subject, suspected=suspected)
            return title, "add-task", {"title": title, "description": because, "type": "follow_up"} | _due(chosen)


def _task(evidence: Evidence, subject: AdvisingSubject, *, suspected: bool) -> str:
    words = evidence.says[:TITLE]
    if not words or suspected or subject.owner_id != subject.user_id:
        return f"{_TASK[evidence.kind]} in {_message(subject)}"
    return f"Answer: {words}" if evidence.kind == "question" else words


def _due(chosen: Chosen) -> dict[str, str]:
    return {"due_at": chosen.offer.target} if chosen.offer.target else {}


def _because(evidence: Evidence, subject: AdvisingSubject) -> str:
    """Return why, in words of ours; a kind that a message has smuggled in is not repeated."""
    name = evidence.name.replace("_", " ")
    kind = f" ({name})" if _NAME.fullmatch(name) and evidence.kind in ("signal", "objection") else ""
    due = f" until {evidence.due}" if evidence.due else ""
    return f"{_SAID[evidence.kind]}{kind}{due}, in {_message(subject)}."


def _message(subject: AdvisingSubject) -> str:
    day = subject.occurred_at.astimezone(names.zone_of(subject.timezone)).date()
    what = {"email": "an e-mail", "sms": "a text message"}.get(subject.channel, f"a {subject.channel}")
    return f"{what} of {day.isoformat()}"


def _source(subject: AdvisingSubject) -> Any:
    if subject.channel == "email":
        return "email"
    return "transcript" if subject.channel in _CALLS else "activity"
