"""Which company a communication belongs to: assigned by a person, made a lead, or put out of sight."""

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Conflict, Invalid
from memory.rows import In, Named, Row
from tools import companies, knowledge, names, workspace
from tools.communications.notes import record_note
from tools.communications.rows import Subject, get_subject

WITH_COMMUNICATION = "excluded with its communication"


class ContactOfOtherCompany(Invalid):
    """The contact does not belong to this company."""


class CompanyUnknown(Invalid):
    """Company {company_id} does not exist."""


class NotAnOutsideAddress(Invalid):
    """Choose one of the outside addresses of this communication."""

    shows = ("available_emails",)


class LinkedAlready(Conflict):
    """The communication is linked to a company already."""


class CompanyNameNeeded(Invalid):
    """{domain} is a public mail service: send companyName."""


class AssignIn(In):
    """The company, and the person there if known."""

    company_id: UUID
    contact_id: UUID | None = None


class AssignedOut(Row):
    """The company, and whether somebody was asked to reply."""

    success: bool = True
    company: Named
    followUpCreated: bool


class CreateLeadIn(In):
    """Who the lead is; the sender and the sender's domain unless the body says otherwise."""

    email: str | None = Field(default=None, max_length=320)
    companyName: str | None = Field(default=None, min_length=1, max_length=300)
    contactName: str | None = Field(default=None, min_length=1, max_length=300)


class LeadOut(Row):
    """What was created, or found and linked; `additional_linked` counts your other messages of the same sender."""

    success: bool = True
    action: Literal["created", "linked_existing", "linked_existing_contact"]
    company: Named
    contact: Named
    additional_linked: int
    message: str


class ExcludeIn(In):
    """Why it does not belong in sight."""

    reason: str | None = Field(default=None, max_length=500)


class ExcludedOut(Row):
    """Whether the communication is out of sight."""

    success: bool = True
    excluded: bool


class _Found(Row):
    company_id: UUID
    company_name: str
    contact_id: UUID
    contact_name: str


async def assign_company(tx: Tx, caller: Caller, communication_id: UUID, body: AssignIn) -> AssignedOut:
    """
    Link a communication, the unlinked rest of its thread and its activities to a company, and have it read again.

    When it waits for our answer, a high flag asks for the reply, once.
    Raises `CommunicationNotFound`, `CompanyUnknown`, `ContactOfOtherCompany`.
    """
    subject = await get_subject(tx, caller, communication_id, lock=True)
    company = await tx.one(
        Named,
        "SELECT id, name FROM companies WHERE id = %(company_id)s AND deleted_at IS NULL",
        missing=CompanyUnknown(company_id=body.company_id),
        company_id=body.company_id,
    )
    contact_id = body.contact_id or await _contact_by_email(tx, body.company_id, subject.sender_email)
    if body.contact_id:
        await tx.one(
            UUID,
            "SELECT id FROM contacts WHERE id = %(contact_id)s AND company_id = %(company_id)s AND deleted_at IS NULL",
            missing=ContactOfOtherCompany(),
            contact_id=body.contact_id,
            company_id=body.company_id,
        )
    await _link(tx, caller, subject, company.id, contact_id)
    flagged = await _ask_for_reply(tx, subject, company.id) if subject.awaiting_our_response else False
    await record_note(
        tx, caller, communication_id, content=f"Assigned to {company.name}.", action_type="assigned_company"
    )
    return AssignedOut(company=company, followUpCreated=flagged)


async def create_lead(tx: Tx, caller: Caller, communication_id: UUID, body: CreateLeadIn) -> LeadOut:
    """
    Make a company and a contact of an outside address, or link to those that exist, and take its other messages along.

    Two such leads wait for each other before they hold any message, for each takes messages that the other may hold.
    Raises `CommunicationNotFound`, `LinkedAlready`, `NotAnOutsideAddress`, `CompanyNameNeeded`, `CompanyExists`.
    """
    await tx.lock("companies", "identity")
    subject = await get_subject(tx, caller, communication_id, lock=True)
    if subject.company_id:
        raise LinkedAlready
    email = _outside_address(subject, body.email)
    found = await _known_contact(tx, email)
    if found:
        action: Literal["created", "linked_existing", "linked_existing_contact"] = "linked_existing_contact"
    else:
        action, found = await _make_lead(tx, caller, subject, email, body)
    await _link(tx, caller, subject, found.company_id, found.contact_id)
    others = await _link_sender(tx, caller, subject, email, found)
    await record_note(
        tx, caller, communication_id, content=f"Linked to {found.company_name}.", action_type="assigned_company"
    )
    return LeadOut(
        action=action,
        company=Named(id=found.company_id, name=found.company_name),
        contact=Named(id=found.contact_id, name=found.contact_name),
        additional_linked=others,
        message=f"{found.contact_name} is {'now ' if action != 'linked_existing_contact' else ''}a contact at {found.company_name}.",
    )


async def exclude(tx: Tx, caller: Caller, communication_id: UUID, body: ExcludeIn) -> ExcludedOut:
    """
    Take a communication out of every list and queue, and out of memory.

    Raises `CommunicationNotFound`.
    """
    await get_subject(tx, caller, communication_id, lock=True)
    await tx.run(
        """
        UPDATE communications
           SET excluded_at = coalesce(excluded_at, %(now)s), excluded_by = %(user_id)s, exclusion_reason = %(reason)s,
               awaiting_our_response = false
         WHERE id = %(communication_id)s
        """,
        communication_id=communication_id,
        user_id=caller.user_id,
        reason=body.reason,
    )
    await tx.run(
        """
        UPDATE activities SET match_status = 'excluded', excluded_at = %(now)s, excluded_by = %(user_id)s, exclude_reason = %(reason)s
         WHERE external_id = 'communication:' || %(communication_id)s::text AND match_status <> 'excluded'
        """,
        communication_id=communication_id,
        user_id=caller.user_id,
        reason=WITH_COMMUNICATION,
    )
    await knowledge.forget_source(tx, "communication", communication_id)
    return ExcludedOut(excluded=True)


async def restore(tx: Tx, caller: Caller, communication_id: UUID) -> ExcludedOut:
    """
    Bring an excluded communication back; an unanswered inbound message waits again.

    Raises `CommunicationNotFound`.
    """
    await get_subject(tx, caller, communication_id, lock=True)
    await tx.run(
        """
        UPDATE communications
           SET excluded_at = NULL, excluded_by = NULL, exclusion_reason = NULL,
               awaiting_our_response = (direction = 'inbound' AND responded_at IS NULL AND noise_type IS NULL AND response_due_by IS NOT NULL)
         WHERE id = %(communication_id)s AND excluded_at IS NOT NULL
        """,
        communication_id=communication_id,
    )
    await tx.run(
        """
        UPDATE activities SET match_status = 'matched', excluded_at = NULL, excluded_by = NULL, exclude_reason = NULL
         WHERE external_id = 'communication:' || %(communication_id)s::text AND match_status = 'excluded' AND exclude_reason = %(reason)s
        """,
        communication_id=communication_id,
        reason=WITH_COMMUNICATION,
    )
    await knowledge.promise_collecting(tx)
    return ExcludedOut(excluded=False)


async def _contact_by_email(tx: Tx, company_id: UUID, email: str | None) -> UUID | None:
    return await tx.maybe(
        UUID,
        "SELECT id FROM contacts WHERE company_id = %(company_id)s AND email = %(email)s AND deleted_at IS NULL",
        company_id=company_id,
        email=email,
    )


async def _link(tx: Tx, caller: Caller, subject: Subject, company_id: UUID, contact_id: UUID | None) -> None:
    """Link the message by hand and the unlinked rest of its thread with it, and have them read again."""
    params: dict[str, Any] = {
        "communication_id": subject.id,
        "user_id": subject.user_id,
        "thread_id": subject.thread_id,
        "company_id": company_id,
        "contact_id": contact_id,
        "decided_by": caller.user_id,
    }
    await tx.run(
        """
        UPDATE communications m
           SET company_id = %(company_id)s,
               contact_id = CASE WHEN m.id = %(communication_id)s THEN coalesce(%(contact_id)s, m.contact_id)
                                 ELSE coalesce(m.contact_id, %(contact_id)s) END,
               deal_id = CASE WHEN m.company_id IS DISTINCT FROM %(company_id)s THEN NULL ELSE m.deal_id END,
               match_status = CASE WHEN m.id = %(communication_id)s THEN 'manual' ELSE 'auto' END,
               match_confidence = 1.0,
               match_method = CASE WHEN m.id = %(communication_id)s THEN 'manual' ELSE 'thread_inherited' END,
               analysis_status = CASE WHEN m.analysis_status = 'skipped' THEN 'skipped' ELSE 'pending' END,
               analysis_attempts = 0
         WHERE m.id = %(communication_id)s
            OR (m.user_id = %(user_id)s AND m.thread_id = %(thread_id)s AND m.company_id IS NULL)
        """,
        **params,
    )
    await tx.run(
        """
        UPDATE activities SET company_id = %(company_id)s, contact_id = coalesce(%(contact_id)s, contact_id), match_status = 'matched',
               match_confidence = 1.0, matched_at = %(now)s
         WHERE external_id = 'communication:' || %(communication_id)s::text
        """,
        **params,
    )
    await tx.run(
        """
        UPDATE entity_match_reviews
           SET status = CASE WHEN proposed_company_id = %(company_id)s THEN 'confirmed' ELSE 'rejected' END,
               decided_by = %(decided_by)s, decided_at = %(now)s
         WHERE subject_type = 'communication' AND subject_id = %(communication_id)s AND status = 'pending'
        """,
        **params,
    )
    await tx.run(
        "UPDATE ai_summaries SET stale = true WHERE company_id = %(company_id)s OR contact_id = %(contact_id)s",
        **params,
    )
    await tx.enqueue("communications.analyze_pending", key="pending")


async def _ask_for_reply(tx: Tx, subject: Subject, company_id: UUID) -> bool:
    touched = await tx.run(
        """
        INSERT INTO attention_flags (company_id, source_type, source_id, flag_type, severity, reason, recommended_action, created_at)
        VALUES (%(company_id)s, 'communication', %(communication_id)s::text, 'NEEDS_REPLY', 'high', %(reason)s, 'Reply to the sender', %(now)s)
        ON CONFLICT (source_type, source_id, flag_type) WHERE status <> 'resolved' AND source_id IS NOT NULL DO NOTHING
        """,
        company_id=company_id,
        communication_id=subject.id,
        reason=f"{subject.sender_name or subject.sender_email or 'Somebody'} waits for an answer: {subject.subject or 'no subject'}",
    )
    return touched > 0


def _outside_address(subject: Subject, wanted: str | None) -> str:
    """Return the address that becomes the lead; it must be one of the message's own outside addresses."""
    available = [
        email for person in subject.their_participants if (email := names.normalize_email(person.get("email")))
    ]
    if subject.sender_email and subject.sender_email not in available:
        available.insert(0, subject.sender_email)
    email = names.normalize_email(wanted) or (available[0] if available else None)
    if email is None or email not in available:
        raise NotAnOutsideAddress(available_emails=available)
    return email


async def _known_contact(tx: Tx, email: str) -> _Found | None:
    return await tx.maybe(
        _Found,
        """
        SELECT c.id AS company_id, c.name AS company_name, t.id AS contact_id, t.name AS contact_name
          FROM contacts t JOIN companies c ON c.id = t.company_id
         WHERE t.email = %(email)s AND t.deleted_at IS NULL AND c.deleted_at IS NULL
         ORDER BY t.created_at LIMIT 1
        """,
        email=email,
    )


async def _make_lead(
    tx: Tx, caller: Caller, subject: Subject, email: str, body: CreateLeadIn
) -> tuple[Literal["created", "linked_existing"], _Found]:
    own = await workspace.get_workspace(tx)
    domain = names.domain_of(email)
    generic = domain in own.generic_mail_domains
    company = await tx.maybe(
        Named,
        "SELECT id, name FROM companies WHERE domain = %(domain)s AND deleted_at IS NULL ORDER BY created_at LIMIT 1",
        domain=None if generic else domain,
    )
    action: Literal["created", "linked_existing"] = "linked_existing" if company else "created"
    if company is None:
        company = await _new_company(tx, caller, None if generic else domain, body.companyName, domain or "")
    name = body.contactName or _name_of(subject, email)
    first_name, last_name = names.split_name(name)
    contact_id = await tx.one(
        UUID,
        """
        INSERT INTO contacts (company_id, name, first_name, last_name, email, ai_detection_source, ai_detected_at)
        VALUES (%(company_id)s, %(name)s, %(first_name)s, %(last_name)s, %(email)s, 'email', %(now)s)
        RETURNING id
        """,
        company_id=company.id,
        name=name,
        first_name=first_name,
        last_name=last_name,
        email=email,
    )
    return action, _Found(company_id=company.id, company_name=company.name, contact_id=contact_id, contact_name=name)


async def _new_company(tx: Tx, caller: Caller, domain: str | None, name: str | None, shown_domain: str) -> Named:
    if name is None and domain is None:
        raise CompanyNameNeeded(domain=shown_domain)
    created = await companies.create_company(
        tx,
        caller,
        companies.CreateCompanyIn(name=name or (domain or "").split(".")[0].title(), domain=domain, status="cold_lead"),
    )
    company = created.parse().company
    await tx.run(
        "UPDATE companies SET enrichment_source = 'email_import' WHERE id = %(company_id)s", company_id=company.id
    )
    return Named(id=company.id, name=company.name)


def _name_of(subject: Subject, email: str) -> str:
    """Return the name under which the address wrote, or one made of its local part."""
    for person in subject.their_participants:
        if names.normalize_email(person.get("email")) == email and person.get("name"):
            return str(person["name"])
    if subject.sender_email == email and subject.sender_name:
        return subject.sender_name
    return email.split("@", maxsplit=1)[0].replace(".", " ").replace("_", " ").title()


async def _link_sender(tx: Tx, caller: Caller, subject: Subject, email: str, found: _Found) -> int:
    """
    Link every other unlinked message of this sender, in all mailboxes, and return how many of them the caller may see.

    Whose contact an address is, is everybody's knowledge; how much a colleague has heard from it is not.
    """
    linked = await tx.many(
        UUID,
        """
        UPDATE communications
           SET company_id = %(company_id)s, contact_id = %(contact_id)s, match_status = 'auto', match_confidence = 1.0,
               match_method = 'contact_email', analysis_attempts = 0,
               analysis_status = CASE WHEN analysis_status = 'skipped' THEN 'skipped' ELSE 'pending' END
         WHERE sender_email = %(email)s AND company_id IS NULL AND id <> %(communication_id)s AND excluded_at IS NULL
        RETURNING user_id
        """,
        company_id=found.company_id,
        contact_id=found.contact_id,
        email=email,
        communication_id=subject.id,
    )
    return sum(caller.scope in (None, user_id) for user_id in linked)
