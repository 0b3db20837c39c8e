"""A message, read by the analysis agent: what it keeps of the answer."""

from datetime import date
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from agents import guards
from agents.analysis import checks
from agents.analysis.outputs import ANALYSIS, CONTENT_TOKENS, Message
from agents.purposes import Purpose
from evals.cases import MessageInput, made_id
from evals.subjects.kit import Answered, Asker
from tools.playbook import PLAYS


class PromiseRead(BaseModel):
    """A promise that is kept; `due` is its day in the message's own zone."""

    direction: str
    text: str
    quote: str
    due: date | None


class Read(BaseModel):
    """What is kept of a reading; questions and quotes as they are shown, objections by kind."""

    summary: str
    promises: list[PromiseRead]
    questions: list[str]
    objections: list[str]
    sentiment: str
    urgency: str
    requires_response: bool
    injection_suspected: bool
    fulfilled: list[int]
    items: list[str]
    suggested_action: str
    hidden: int


def asks(_: MessageInput) -> Purpose[Any, Any]:
    """Return the question that is put."""
    return ANALYSIS


async def answer(asker: Asker, case: MessageInput) -> Answered[Read]:
    """
    Have the message read as the agent has it read.

    Raises `ModelUnavailable` and what `Asker.ask` raises.
    """
    suspected = guards.suspicious(f"{case.subject}\n{case.content}")
    message = message_of(case)
    offered = [made_id("promise", promise.number) for promise in case.openPromises]
    said = await asker.ask(ANALYSIS, message)
    checked = checks.check(said.value, message, offered, suspected=suspected)
    return Answered(_read(checked.kept, checked.hidden, offered, ZoneInfo(case.timezone)), said)


def message_of(case: MessageInput) -> Message:
    """Return the case as the agent puts it."""
    return Message.model_validate(
        case.model_dump()
        | {
            "subject": guards.clean(case.subject)[:500],
            "content": guards.capped(guards.clean(case.content), CONTENT_TOKENS),
            "playbookTriggers": case.playbookTriggers or sorted(PLAYS),
        }
    )


def _read(kept: dict[str, Any], hidden: int, offered: list[UUID], zone: ZoneInfo) -> Read:
    return Read(
        summary=kept["summary"],
        promises=[
            PromiseRead(
                direction="we" if promise["direction"] == "we_promised" else "they",
                text=promise["promise_text"],
                quote=promise["quote"],
                due=promise["due_by"].astimezone(zone).date() if promise["due_by"] else None,
            )
            for promise in kept["promises"]
        ],
        questions=[f"{item['question']} ({item['quote']})" for item in kept["key_questions"]],
        objections=list(dict.fromkeys(item["objection"] for item in kept["extracted_objections"])),
        sentiment=kept["sentiment"],
        urgency=kept["urgency"],
        requires_response=kept["flags"]["requires_response"],
        injection_suspected=kept["flags"]["injection_suspected"],
        fulfilled=[offered.index(promise_id) + 1 for promise_id in kept["fulfilled_promise_ids"]],
        items=[item["text"] for item in kept["items"]],
        suggested_action=kept["thread"]["ai_suggested_action"],
        hidden=hidden,
    )
