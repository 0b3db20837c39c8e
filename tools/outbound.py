"""
Outbound mail: one letter leaves once, whatever happens on the way.

    promise_mail   checks, reserves the effect and promises a job, in the caller's transaction
    deliver        draft -> "about to leave" (committed) -> send -> recorded; only whoever holds the reservation
    resume_mail    what the job does: whatever a killed process, a lost answer or a stale lease left behind

    killed before           the next one finds
    the draft               a reservation to take over
    "about to leave"        a draft stamped with the effect's id: it is thrown away and made anew
    the send, the record    the id of the draft; the mailbox says whether it is still one

Only a draft that the mailbox still calls a draft is sent again, and sending one draft twice sends one mail. When the
mailbox knows neither of them, nothing is repeated: the effect stays `unknown`, and the job ends dead, for a person to see.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from memory import effects
from memory.callers import Caller
from memory.db import Tx
from memory.effects import EffectElsewhere, EffectRow, NotReserved, OtherContent
from memory.errors import Conflict, Invalid, Outage
from memory.rows import In, Row
from tools import mail_accounts, names, outbound_rows
from tools.attention import settling
from tools.attention.settling import FollowedFlag
from tools.clients.microsoft import Letter, Mailbox, MailServiceDown, MailServiceWrong, Message, NeedsReauth
from tools.communications.rows import get_subject
from tools.mail_accounts import Begin, Mailboxes, SendMode
from tools.outbound_rows import Correspondence

KIND = "mail"
JOB = "outbound.send"
# Longer than every timeout of the mailbox together, so that nobody takes over from somebody who still waits.
LEASE = timedelta(minutes=3)
MOST_RECIPIENTS = 100
OUTSIDE_OF_CONTENT = {"ai_action_type", "flag_id", "next_step_days"}
ADDRESS = re.compile(r"[^\s@<>()\[\],;:\\\"]{1,64}@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
PLACEHOLDER = re.compile(
    r"\{\{[^{}\n]{0,80}\}\}"
    r"|\[\[[^\[\]\n]{0,80}\]\]"
    r"|\[(?:insert|your|their|recipient|first|last|full|company|contact|customer|client|product|name|date|day|time|link|url"
    r"|title|role|topic|price|amount|number|placeholder|tbd|todo|xx+)\b[^\[\]\n]{0,60}\](?!\()"
    r"|<(?:insert|your|placeholder)\b[^<>\n]{0,60}>",
    re.IGNORECASE,
)


class AddressUnusable(Invalid):
    """{address} is not an e-mail address."""


class TooManyRecipients(Invalid):
    """A mail goes to at most {most} addresses."""


class PlaceholderLeft(Invalid):
    """The mail still holds a placeholder: {placeholder}"""


class MailUnderway(Conflict):
    """This mail is being sent already."""


class MailChanged(Conflict):
    """This mail was sent already, with other copies or from another draft."""


class OutcomeUnknown(Outage):
    """The mail service did not say whether it sent the mail; that is being found out, so do not send it again."""


class SendMailIn(In):
    """
    A letter: the answer to a communication, or a new one.

    `flag_id` is the attention flag that it deals with; the flag's product then has its next step `next_step_days` later.
    """

    to: list[str] = Field(min_length=1, max_length=MOST_RECIPIENTS)
    subject: str = Field(min_length=1, max_length=998)
    body: str = Field(min_length=1, max_length=200_000)
    cc: list[str] = Field(default=[], max_length=MOST_RECIPIENTS)
    bcc: list[str] = Field(default=[], max_length=MOST_RECIPIENTS)
    communication_id: UUID | None = None
    draft_id: UUID | None = None
    ai_action_type: str | None = Field(default=None, max_length=100)
    flag_id: UUID | None = None
    next_step_days: int = Field(default=3, ge=0, le=90)


class DeliveryRow(Row):
    """What became of a letter: sent, or left as a draft in the person's mailbox."""

    status: Literal["sent", "drafted"]
    message_id: str | None
    is_draft: bool
    communication_id: UUID | None
    next_step_due_at: datetime | None = None


class _Request(BaseModel):
    """What is kept in the ledger of a letter that was promised."""

    model_config = ConfigDict(frozen=True)

    user_id: UUID
    letter: SendMailIn
    send_mode: SendMode
    waited_for: bool


# Promising ----------------------------------------------------------------------------------------------------------


async def promise_mail(tx: Tx, caller: Caller, letter: SendMailIn, *, waited_for: bool = False) -> EffectRow:
    """
    Reserve the sending of a letter from the caller's mailbox, and promise a job that sees to it.

    `waited_for` is for a caller who goes on with `deliver` at once: then the job only looks after what that left behind.
    The same letter in the same place is the same effect; its row says what became of it.
    Raises `MailboxNotConnected`, `NeedsReauth`, `CommunicationNotFound`, `AddressUnusable`, `TooManyRecipients`,
    `PlaceholderLeft`, `DraftUnknown`, `DraftUnusable`, `EffectElsewhere`, `OtherContent`.
    """
    account = await mail_accounts.get_account(tx, caller)
    if letter.communication_id is not None:
        await get_subject(tx, caller, letter.communication_id)
    letter = _checked(letter)
    key = key_of(account.user_id, letter)
    effect = await effects.reserve(
        tx,
        key,
        KIND,
        effects.hash_content(letter.model_dump(mode="json", exclude=OUTSIDE_OF_CONTENT)),
        request=_Request(
            user_id=account.user_id, letter=letter, send_mode=account.send_mode, waited_for=waited_for
        ).model_dump(mode="json"),
        user_id=account.user_id,
        run_id=caller.run_id,
        lease=LEASE if waited_for else timedelta(0),
    )
    if effect.status == "reserved":
        if letter.draft_id is not None:
            await outbound_rows.check_draft(tx, caller, letter.draft_id)
        await tx.enqueue(JOB, at=tx.now + LEASE if waited_for else None, key=key, effect_key=key)
    return effect


def key_of(user_id: UUID, letter: SendMailIn) -> str:
    """
    Return the key under which this letter leaves once: whose, in answer to what, and a hash of what it says to whom.

    What deals with a flag leaves once for all who may deal with it.
    """
    content = effects.hash_content(sorted(letter.to), letter.subject, letter.body)
    if letter.flag_id is not None:
        return f"{KIND}:flag:{letter.flag_id}:{content}"
    return f"{KIND}:{user_id}:{letter.communication_id or 'new'}:{content}"


def _checked(letter: SendMailIn) -> SendMailIn:
    """
    Return the letter with its addresses in the form in which they are compared, each once.

    Raises `AddressUnusable`, `TooManyRecipients`, `PlaceholderLeft`.
    """
    seen: set[str] = set()
    sides = {side: _addresses(getattr(letter, side), seen) for side in ("to", "cc", "bcc")}
    if len(seen) > MOST_RECIPIENTS:
        raise TooManyRecipients(most=MOST_RECIPIENTS)
    if found := PLACEHOLDER.search(letter.subject) or PLACEHOLDER.search(letter.body):
        raise PlaceholderLeft(placeholder=found[0])
    return letter.model_copy(update={**sides, "subject": " ".join(letter.subject.split())})


def _addresses(addresses: Sequence[str], seen: set[str]) -> list[str]:
    found: list[str] = []
    for address in addresses:
        email = names.normalize_email(address)
        if email is None or not ADDRESS.fullmatch(email):
            raise AddressUnusable(address=address[:100])
        if email not in seen:
            seen.add(email)
            found.append(email)
    return found


# Delivering ---------------------------------------------------------------------------------------------------------


async def send_mail(begin: Begin, mailboxes: Mailboxes, caller: Caller, letter: SendMailIn) -> DeliveryRow:
    """
    Send a letter now, in transactions of its own, and return what became of it; repeated, return the same.

    Raises what `hand_in` and `see_through` raise.
    """
    async with begin() as tx:
        effect = await hand_in(tx, caller, letter)
    return await see_through(begin, mailboxes, effect)


async def hand_in(tx: Tx, caller: Caller, letter: SendMailIn) -> EffectRow:
    """
    Promise a letter that the caller goes on to see through, or return what became of the same one.

    Raises `MailUnderway`, `MailChanged`, and what `promise_mail` raises.
    """
    try:
        return await promise_mail(tx, caller, letter, waited_for=True)
    except EffectElsewhere:
        raise MailUnderway from None
    except OtherContent:
        raise MailChanged from None


async def see_through(begin: Begin, mailboxes: Mailboxes, effect: EffectRow) -> DeliveryRow:
    """
    Deliver the letter when it is reserved, and return what became of it.

    Raises what `deliver` raises, `OutcomeUnknown` when nobody knows.
    """
    return await deliver(begin, mailboxes, effect) if effect.status == "reserved" else _outcome(effect)


async def resume_mail(begin: Begin, mailboxes: Mailboxes, key: str) -> DeliveryRow | None:
    """
    See to a promised letter; None when there is nothing to do.

    A failure that somebody was told of is not tried again here: they may have written something else since.
    Raises `MailUnderway` or `EffectElsewhere` while somebody else is at it, `OutcomeUnknown` while nobody knows, and what `deliver` raises.
    """
    async with begin() as tx:
        await effects.doubt_stale(tx)
        effect = await effects.find_effect(tx, key)
        if effect is None:
            return None
        told = effect.status == "failed" and _request(effect).waited_for
        if effect.status in {"reserved", "failed"} and not told:
            effect = await effects.reserve(tx, key, KIND, effect.content_hash, lease=LEASE)
    if told:
        return None
    match effect.status:
        case "reserved":
            return await deliver(begin, mailboxes, effect)
        case "unknown":
            return await _find_out(begin, mailboxes, effect)
        case _:
            return _outcome(effect)


async def deliver(begin: Begin, mailboxes: Mailboxes, effect: EffectRow) -> DeliveryRow:
    """
    Carry a reserved letter to the mailbox, and out of it.

    Raises `OutcomeUnknown` when the mailbox did not answer the last step; whatever else is raised, nothing has left.
    """
    request = _request(effect)
    try:
        mailbox = mailboxes.open(request.user_id)
        draft = await _draft(begin, mailbox, effect, request)
        # One that is no draft any more was sent by a former attempt that was not heard.
        leaves = draft.is_draft and request.send_mode == "send"
        lost = await _leave(begin, mailbox, effect, draft) if leaves else None
    except NotReserved:
        raise MailUnderway from None
    except Exception as failure:
        await _fail(begin, effect, request.user_id, failure)
        raise
    if lost is not None:
        return await _doubt(begin, mailbox, effect, request, draft, lost)
    return await _conclude(begin, effect, request, draft, is_draft=draft.is_draft and not leaves)


async def _draft(begin: Begin, mailbox: Mailbox, effect: EffectRow, request: _Request) -> Message:
    """Return the draft to send: the one a former attempt finished, else a new one."""
    key = str(effect.id)
    if finished := (effect.result or {}).get("draft_id"):
        if (message := await mailbox.find_message(finished)) is not None:
            return message
        raise OutcomeUnknown
    if effect.attempts > 1 and (left := await mailbox.find_by_key(key)) is not None:
        if not left.is_draft:
            return left
        await mailbox.delete_draft(left.id)  # nobody knows how far it was written
    letter = _letter(request.letter)
    answered = await _answered(begin, mailbox, request)
    if answered is not None:
        return await mailbox.create_reply_draft(answered, letter, key)
    return await mailbox.create_draft(letter, key)


async def _answered(begin: Begin, mailbox: Mailbox, request: _Request) -> str | None:
    """Return the id, in the sender's own mailbox, of the message that is answered."""
    if request.letter.communication_id is None:
        return None
    async with begin() as tx:
        ids = await outbound_rows.find_ids(tx, request.user_id, request.letter.communication_id)
    if ids.message_id is not None:
        return ids.message_id
    if ids.internet_message_id is None:
        return None
    found = await mailbox.find_by_internet_id(f"<{ids.internet_message_id.strip('<>')}>")
    return found.id if found else None


async def _leave(begin: Begin, mailbox: Mailbox, effect: EffectRow, draft: Message) -> Exception | None:
    """
    Commit that this draft is about to leave, and send it; from the commit on only the mailbox can say what happened.

    Returns the failure that leaves open whether it left, raises the one that does not.
    """
    async with begin() as tx:
        await effects.mark_sent(tx, effect, lease=LEASE)
        await effects.keep(tx, effect.key, {"draft_id": draft.id})
    try:
        await mailbox.send_draft(draft.id)
    except MailServiceDown as failure:
        if not failure.reached:
            raise
        return failure
    except MailServiceWrong as failure:  # such as 404: the draft may have left under another attempt
        return failure
    return None


async def _doubt(
    begin: Begin, mailbox: Mailbox, effect: EffectRow, request: _Request, draft: Message, lost: Exception
) -> DeliveryRow:
    """Ask the mailbox at once what became of the draft; what it does not confirm is asked again later, by the job."""
    try:
        message = await mailbox.find_message(draft.id)
    except Outage:
        message = None
    if message is not None and not message.is_draft:
        return await _conclude(begin, effect, request, message, is_draft=False)
    async with begin() as tx:
        await effects.settle(tx, effect, "unknown", error=str(lost))
    raise OutcomeUnknown from lost


async def _find_out(begin: Begin, mailboxes: Mailboxes, effect: EffectRow) -> DeliveryRow:
    """
    Learn what became of a letter whose sender was not heard, long after it can still be on its way.

    Raises `OutcomeUnknown` when the mailbox knows neither the draft nor the mail.
    """
    request = _request(effect)
    mailbox = mailboxes.open(request.user_id)
    draft_id = (effect.result or {}).get("draft_id")
    message = await mailbox.find_message(draft_id) if draft_id else None
    message = message or await mailbox.find_by_key(str(effect.id))
    if message is None:
        raise OutcomeUnknown
    if not message.is_draft:
        return await _conclude(begin, effect, request, message, is_draft=False)
    async with begin() as tx:
        await effects.settle(tx, effect, "failed", error="it is still a draft")
        effect = await effects.reserve(tx, effect.key, KIND, effect.content_hash, lease=LEASE)
    return await deliver(begin, mailboxes, effect)


async def _fail(begin: Begin, effect: EffectRow, user_id: UUID, failure: Exception) -> None:
    """Record that nothing has left."""
    async with begin() as tx:
        if isinstance(failure, NeedsReauth):
            await mail_accounts.require_reauth(tx, user_id)
        status = "unknown" if isinstance(failure, OutcomeUnknown) else "failed"
        try:
            await effects.settle(tx, effect, status, error=f"{type(failure).__name__}: {failure}"[:500])
        except NotReserved:
            return


async def _conclude(
    begin: Begin, effect: EffectRow, request: _Request, message: Message, *, is_draft: bool
) -> DeliveryRow:
    """Record that it has left (or lies in the mailbox), with everything that follows, in one transaction."""
    async with begin() as tx:
        # The flag before the effect, as whoever hands a letter in.
        flag = await settling.find_followed(tx, request.letter.flag_id)
        try:
            await effects.settle(tx, effect, "confirmed", error=None)
        except NotReserved:
            # Somebody who took over has concluded it already, with the same draft.
            found = await effects.find_effect(tx, effect.key)
            return _outcome(found or effect)
        communication_id = due_at = None
        if not is_draft:
            communication_id = await outbound_rows.record_sent(tx, _correspondence(request, message, flag))
            due_at = await _set_next_step(tx, request, flag)
        elif request.letter.draft_id is not None:
            await outbound_rows.record_drafted(tx, request.letter.draft_id, message.id)
        outcome = DeliveryRow(
            status="drafted" if is_draft else "sent",
            message_id=message.id,
            is_draft=is_draft,
            communication_id=communication_id,
            next_step_due_at=due_at,
        )
        kept: dict[str, Any] = {"draft_id": message.id, **outcome.model_dump(mode="json")}
        await effects.keep(tx, effect.key, kept)
    return outcome


async def _set_next_step(tx: Tx, request: _Request, flag: FollowedFlag | None) -> datetime | None:
    letter = request.letter
    return await settling.set_next_step(
        tx,
        request.user_id,
        flag.company_product_id if flag else None,
        subject=letter.subject,
        days=letter.next_step_days,
    )


def _correspondence(request: _Request, message: Message, flag: FollowedFlag | None) -> Correspondence:
    letter = request.letter
    return Correspondence(
        user_id=request.user_id,
        to=letter.to,
        cc=letter.cc,
        subject=letter.subject,
        body=letter.body,
        answers=letter.communication_id,
        draft_id=letter.draft_id,
        ai_action_type=letter.ai_action_type,
        message_id=message.id,
        internet_message_id=message.internet_message_id,
        conversation_id=message.conversation_id,
        sent_at=message.sent_date_time if not message.is_draft else None,
        flag=flag,
    )


def _outcome(effect: EffectRow) -> DeliveryRow:
    """
    Return the outcome of a concluded letter.

    Raises `MailUnderway` while it is, `OutcomeUnknown` when nobody knows.
    """
    if effect.status == "confirmed" and effect.result is not None:
        return DeliveryRow.model_validate(effect.result)
    if effect.status == "unknown":
        raise OutcomeUnknown
    raise MailUnderway


def _request(effect: EffectRow) -> _Request:
    return _Request.model_validate(effect.request)


def _letter(letter: SendMailIn) -> Letter:
    return Letter(to=letter.to, subject=letter.subject, text=letter.body, cc=letter.cc, bcc=letter.bcc)
