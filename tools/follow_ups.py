"""
Follow-ups: a person deals with a flag by writing to the customer, from their mailbox or by their own means.

One letter is under way for a flag at a time. The same letter again gives what became of the first; in draft mode the letter
lies in the person's mailbox and the flag stays open.
"""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from memory import effects
from memory.callers import Caller
from memory.db import Tx
from memory.errors import BadGateway, Forbidden
from memory.rows import In, Row
from tools import names, outbound, outbound_rows
from tools.attention import settling
from tools.attention.context import find_answered
from tools.attention.rows import FlagRow, check_open, check_writable, hold_flag
from tools.clients.microsoft import MailServiceBusy, MailServiceDown
from tools.mail_accounts import Begin, Mailboxes
from tools.outbound import AddressUnusable, MailUnderway, OutcomeUnknown, SendMailIn
from tools.outbound_rows import WrittenByHand

Recipient = Annotated[str, Field(min_length=1, max_length=320)]
Recipients = Recipient | Annotated[list[Recipient], Field(min_length=1, max_length=outbound.MOST_RECIPIENTS)]
MAILED = "followup_email"
BY_HAND = "followup_email_manual"


class MailNotSent(BadGateway):
    """The mail was not sent: {reason}"""


class MailInDoubt(BadGateway):
    """The mail service did not say whether it sent the mail; that is being found out, so do not send it again."""


class PersonNeeded(Forbidden):
    """Only a person can say what they have written."""


class SendFollowUpIn(In):
    """The letter as you want it to leave; the product's next step is due so many days later."""

    to: Recipients
    subject: str = Field(min_length=1, max_length=998)
    body: str = Field(min_length=1, max_length=200_000)
    cc: list[Recipient] = Field(default=[], max_length=outbound.MOST_RECIPIENTS)
    bcc: list[Recipient] = Field(default=[], max_length=outbound.MOST_RECIPIENTS)
    next_step_days: int = Field(default=3, ge=0, le=90)


class MarkSentIn(In):
    """What you have written, or said, by your own means."""

    channel: Literal["email", "call", "meeting", "sms", "chat"]
    to: Recipient
    subject: str = Field(min_length=1, max_length=998)
    body: str = Field(min_length=1, max_length=200_000)
    next_step_days: int = Field(default=3, ge=0, le=90)


class FollowUpSentOut(Row):
    """What became of the letter: sent, and the flag resolved; or left as a draft in your mailbox, and the flag open."""

    success: bool = True
    sent: bool
    drafted: bool
    provider: Literal["microsoft"] = "microsoft"
    message_id: str | None
    resolved: bool
    next_step_due_at: datetime | None


class MarkedSentOut(Row):
    """The flag is resolved."""

    success: bool = True
    resolved: bool
    next_step_due_at: datetime | None


async def send_follow_up(
    begin: Begin, mailboxes: Mailboxes, caller: Caller, flag_id: UUID, body: SendFollowUpIn
) -> FollowUpSentOut:
    """
    Send a letter that deals with a flag, in transactions of its own, and return what became of it.

    Raises `FlagNotFound`, `NotYourFlag`, `NotForMail`, `FlagNotOpen`, `MailUnderway`, `MailNotSent`, `MailInDoubt`, and
    what `outbound.hand_in` and `outbound.see_through` raise.
    """
    async with begin() as tx:
        flag = await hold_flag(tx, caller, flag_id)
        check_writable(flag)
        letter = await _letter(tx, caller, flag, body)
        effect = await outbound.hand_in(tx, caller, letter)
        if effect.status == "reserved":
            check_open(flag)
            await _check_alone(tx, flag_id, effect.key)
    try:
        sent = await outbound.see_through(begin, mailboxes, effect)
    except OutcomeUnknown as unknown:
        raise MailInDoubt from unknown
    except (MailServiceDown, MailServiceBusy) as failure:
        raise MailNotSent(reason=failure.message) from failure
    return FollowUpSentOut(
        sent=not sent.is_draft,
        drafted=sent.is_draft,
        message_id=sent.message_id,
        resolved=not sent.is_draft,
        next_step_due_at=sent.next_step_due_at,
    )


async def _letter(tx: Tx, caller: Caller, flag: FlagRow, body: SendFollowUpIn) -> SendMailIn:
    """Return the letter, as the answer to the message that the flag asks to answer if the caller may read that."""
    return SendMailIn(
        **body.model_dump(exclude={"to"}),
        to=[body.to] if isinstance(body.to, str) else body.to,
        communication_id=await find_answered(tx, caller, flag),
        ai_action_type=MAILED,
        flag_id=flag.id,
    )


async def _check_alone(tx: Tx, flag_id: UUID, key: str) -> None:
    """
    Refuse a letter while another one is under way for the flag.

    Raises `MailUnderway`, `MailInDoubt` when nobody knows yet whether that one was sent.
    """
    other = await tx.maybe(
        str,
        """
        SELECT status FROM effects
         WHERE kind = 'mail' AND status IN ('reserved', 'sent', 'unknown') AND request #>> '{letter,flag_id}' = %(flag_id)s
           AND key <> %(key)s
         ORDER BY status DESC LIMIT 1
        """,
        flag_id=str(flag_id),
        key=key,
    )
    if other == "unknown":
        raise MailInDoubt
    if other is not None:
        raise MailUnderway


async def mark_sent(tx: Tx, caller: Caller, flag_id: UUID, body: MarkSentIn) -> MarkedSentOut:
    """
    Write down that a person has dealt with a flag by their own means; the same again changes nothing.

    Raises `FlagNotFound`, `NotYourFlag`, `NotForMail`, `FlagNotOpen`, `AddressUnusable`, `MailUnderway`, `MailInDoubt`.
    """
    flag = await hold_flag(tx, caller, flag_id)
    check_writable(flag)
    email = _address(body)
    key = f"by_hand:{flag_id}:{effects.hash_content(body.channel, email or body.to, body.subject, body.body)}"
    done = await effects.once(tx, key)
    if done is not None:
        return MarkedSentOut.model_validate(done)
    check_open(flag)
    await _check_alone(tx, flag_id, key)
    followed = settling.FollowedFlag(id=flag.id, company_id=flag.company_id, company_product_id=flag.company_product_id)
    said = WrittenByHand(
        user_id=_person(caller),
        **body.model_dump(include={"channel", "to", "subject", "body"}),
        email=email,
        answers=await find_answered(tx, caller, flag),
        flag=followed,
        ai_action_type=BY_HAND,
    )
    await outbound_rows.record_by_hand(tx, said)
    due_at = await settling.set_next_step(
        tx, said.user_id, flag.company_product_id, subject=body.subject, days=body.next_step_days
    )
    marked = MarkedSentOut(resolved=True, next_step_due_at=due_at)
    await effects.keep(tx, key, marked.model_dump(mode="json"))
    return marked


def _address(body: MarkSentIn) -> str | None:
    """
    Return to which address it went; what is no mail need not have gone to one.

    Raises `AddressUnusable`.
    """
    email = names.normalize_email(body.to)
    if email is not None and outbound.ADDRESS.fullmatch(email):
        return email
    if body.channel == "email":
        raise AddressUnusable(address=body.to[:100])
    return None


def _person(caller: Caller) -> UUID:
    if caller.user_id is None:
        raise PersonNeeded
    return caller.user_id
