"""A flag's context as words."""

from datetime import datetime
from typing import Any

from agents.attention.outputs import STALLED, StalledInputs
from agents.drafting import words
from agents.drafting.outputs import REPLY, ReplyInputs
from agents.purposes import Purpose
from tools import names
from tools.attention.context import FlagContext

SILENCES = ((0, "They wrote today."), (1, "They wrote yesterday."), (4, "They wrote a few days ago."), (7, "Nothing was heard from them for days."),
            (14, "Nothing was heard from them for over a week."))  # fmt: skip
SILENT_LONG = "Nothing was heard from them for more than two weeks."
NEVER = "We have never heard from them in writing."
UNKNOWN_STAGE = "no stage"


def question(context: FlagContext, now: datetime) -> tuple[Purpose[Any, Any], ReplyInputs | StalledInputs]:
    """Return what is asked of the model for this flag, and with what."""
    if context.flag.flag_type == "NEEDS_REPLY":
        return REPLY, reply_inputs(context, now)
    return STALLED, stalled_inputs(context, now)


def stalled_inputs(context: FlagContext, now: datetime) -> StalledInputs:
    """Return what a letter that takes a stalled sale up again is written from."""
    days = _days_silent(context, now)
    silence = NEVER if days is None else next((said for limit, said in SILENCES if days <= limit), SILENT_LONG)
    known = _common(context, now)
    if context.last_inbound_at is None:
        known["email_date"] = "never"
    return StalledInputs(
        **known,
        temporal_context=silence,
        reason=context.flag.reason,
        recommended_action=context.flag.recommended_action or "",
        last_inbound_summary=context.last_inbound,
        last_outbound_summary=context.last_outbound,
    )


def reply_inputs(context: FlagContext, now: datetime) -> ReplyInputs:
    """Return what an answer is written from; the flag's own words may be somebody else's, so they are left out."""
    days = _days_silent(context, now)
    return ReplyInputs(
        **_common(context, now),
        temporal_context=NEVER if days is None else words.waited(days),
        reason="They wait for our answer.",
        recommended_action="Answer what they asked; where the material has no answer, leave a placeholder.",
        tone="as they write to us",
        instructions="",
        subject=context.subject,
        questions=context.questions[:8],
        last_inbound_summary=context.last_inbound,
        last_outbound_summary=context.last_outbound,
    )


def first_name(context: FlagContext) -> str:
    """Return how the person is greeted."""
    return (context.contact_name or "").split(" ")[0]


def _common(context: FlagContext, now: datetime) -> dict[str, Any]:
    zone = names.zone_of(context.user_timezone)
    heard = context.last_inbound_at or now
    return {
        "company_name": context.flag.company.name,
        "contact_first_name": first_name(context),
        "contact_title": context.contact_title or "",
        "sender_name": context.user_name,
        "product_name": context.product_name or "",
        "stage_name": context.stage_name or UNKNOWN_STAGE,
        "stage_context": _stage(context),
        "email_date": heard.astimezone(zone).date().isoformat(),
        "current_date": now.astimezone(zone).date().isoformat(),
        "available_times": [words.spoken(slot) for slot in words.free_slots(context.busy, now, zone)],
        "open_promises": context.open_promises[:5],
        "style": words.style_of(context.style, context.avoided),
    }


def _stage(context: FlagContext) -> str:
    if context.stage_name is None or context.days_in_stage is None:
        return "There is no sale under way."
    return f"The sale has been in this stage for {context.days_in_stage} days."


def _days_silent(context: FlagContext, now: datetime) -> int | None:
    if context.last_inbound_at is None:
        return None
    zone = names.zone_of(context.user_timezone)
    return (now.astimezone(zone).date() - context.last_inbound_at.astimezone(zone).date()).days
