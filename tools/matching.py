"""
Matching: whose communication this is, found by address, domain, name and thread; what is not certain waits for a person.

Evidence decides what may be linked without asking. The sender's or a participant's own address, its business domain and
the thread are evidence; a name or an address in the text is a suggestion, for anybody can write one.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from memory.callers import Caller
from memory.db import Json, Tx
from memory.rows import In, Row
from tools.communications.rows import VISIBLE, CommunicationNotFound

OFFERED = 15
Evidence = Literal[
    "thread",
    "thread_other",
    "sender_email",
    "participant_email",
    "domain",
    "subdomain",
    "contact_domain",
    "name",
    "body_email",
]
"""`thread`: the address has taken part in the linked thread before; `thread_other`: only others have."""
Decision = Literal["REJECT", "NURTURE", "BOOK", "ROUTE_TO_PIPELINE"]


class MatchSubject(Row):
    """The communication to place. `linked` is true when it has a company or a person has decided."""

    id: UUID
    user_id: UUID
    company_id: UUID | None
    contact_id: UUID | None
    channel: str
    direction: Literal["inbound", "outbound", "internal"]
    subject: str | None
    full_content: str | None
    content_preview: str | None
    sender_email: str | None
    sender_name: str | None
    thread_id: str
    noise_type: str | None
    match_status: str
    their_participants: list[dict[str, Any]]

    @property
    def linked(self) -> bool:
        """Whether there is nothing left to match."""
        return self.company_id is not None or self.match_status == "manual"


class CompanyCandidate(Row):
    """A company that may be meant, and why."""

    id: UUID
    name: str
    domain: str | None
    status: str
    evidence: list[Evidence]


class ContactCandidate(Row):
    """A person who may be meant, and why; `principal` when theirs is the address the message is about."""

    id: UUID
    company_id: UUID
    name: str
    email: str | None
    title: str | None
    evidence: list[Evidence]


class DealCandidate(Row):
    """An open deal of a candidate company."""

    id: UUID
    company_id: UUID
    name: str
    stage: str


class Offered(Row):
    """A product that a message may be about."""

    name: str
    slug: str


class Clues(In):
    """What a message tells about who it is from; domains are business domains with their parents, names normalized."""

    principal: str | None
    participants: list[str]
    body_emails: list[str]
    domains: list[str]
    own_domains: list[str]
    names: list[str]


class Candidates(Row):
    """Everybody who may be meant, best evidence first."""

    companies: list[CompanyCandidate]
    contacts: list[ContactCandidate]
    deals: list[DealCandidate]


class LinkIn(In):
    """Where a communication belongs, how sure that is and by which evidence."""

    company_id: UUID
    contact_id: UUID | None = None
    deal_id: UUID | None = None
    confidence: float = Field(ge=0, le=1)
    method: str
    link_score: int = Field(ge=0, le=100)
    email: str | None = None


class ReviewIn(In):
    """What a person is to decide: a proposal with its candidates, or a company and contact to be made."""

    company_id: UUID | None = None
    contact_id: UUID | None = None
    deal_id: UUID | None = None
    company_confidence: float | None = None
    contact_confidence: float | None = None
    deal_confidence: float | None = None
    candidates: list[dict[str, Any]] = []
    reasoning: str = ""
    create_company: dict[str, Any] | None = None
    create_contact: dict[str, Any] | None = None


class TriageIn(In):
    """What an unknown sender's message deserves; `product_slug` belongs to ROUTE_TO_PIPELINE."""

    decision: Decision
    product_slug: str | None = None
    confidence: int = Field(ge=0, le=100)
    reason: str


async def get_subject(tx: Tx, caller: Caller, communication_id: UUID) -> MatchSubject:
    """
    Return the communication to place.

    Raises `CommunicationNotFound`.
    """
    return await tx.one(
        MatchSubject,
        f"""
        SELECT m.id, m.user_id, m.company_id, m.contact_id, m.channel, m.direction, m.subject, left(m.full_content, 40000) AS full_content,
               m.content_preview, m.sender_email, m.sender_name, m.thread_id, m.noise_type, m.match_status, m.their_participants
          FROM communications m
         WHERE m.id = %(communication_id)s AND {VISIBLE}
        """,
        missing=CommunicationNotFound(communication_id=communication_id),
        communication_id=communication_id,
        scope=caller.scope,
    )


async def list_offered_products(tx: Tx) -> list[Offered]:
    """Return the products that are on sale."""
    return await tx.many(
        Offered, "SELECT name, slug FROM products WHERE is_active ORDER BY display_order, name LIMIT 100"
    )


async def find_candidates(tx: Tx, subject: MatchSubject, clues: Clues) -> Candidates:
    """Return at most fifteen companies and fifteen contacts who may be meant, with the open deals of those companies."""
    contacts = await _contacts(tx, subject, clues)
    companies = await _companies(tx, subject, clues, contacts)
    deals = await tx.many(
        DealCandidate,
        """
        SELECT id, company_id, name, stage FROM deals
         WHERE company_id = ANY(%(company_ids)s) AND stage NOT LIKE 'closed%%'
         ORDER BY updated_at DESC, id LIMIT %(offered)s
        """,
        company_ids=[company.id for company in companies],
        offered=OFFERED,
    )
    return Candidates(companies=companies, contacts=contacts, deals=deals)


async def _contacts(tx: Tx, subject: MatchSubject, clues: Clues) -> list[ContactCandidate]:
    return await tx.many(
        ContactCandidate,
        """
        WITH found AS (
            SELECT t.id, CASE WHEN t.email = %(principal)s THEN 'sender_email' WHEN t.email = ANY(%(participants)s) THEN 'participant_email'
                              ELSE 'body_email' END AS evidence
              FROM contacts t
             WHERE t.email = ANY(%(emails)s) AND t.deleted_at IS NULL
            UNION ALL
            SELECT m.contact_id, 'thread'
              FROM communications m
             WHERE m.user_id = %(user_id)s AND m.thread_id = %(thread_id)s AND m.id <> %(communication_id)s AND m.contact_id IS NOT NULL)
        SELECT t.id, t.company_id, t.name, t.email, t.title, f.evidence
          FROM (SELECT id, array_agg(DISTINCT evidence) AS evidence FROM found GROUP BY id) f
          JOIN contacts t ON t.id = f.id AND t.deleted_at IS NULL
          JOIN companies c ON c.id = t.company_id AND c.deleted_at IS NULL
         ORDER BY 'sender_email' = ANY(f.evidence) DESC, 'participant_email' = ANY(f.evidence) DESC, 'thread' = ANY(f.evidence) DESC, t.created_at, t.id
         LIMIT %(offered)s
        """,
        principal=clues.principal,
        participants=clues.participants,
        emails=list({*([clues.principal] if clues.principal else []), *clues.participants, *clues.body_emails}),
        user_id=subject.user_id,
        thread_id=subject.thread_id,
        communication_id=subject.id,
        offered=OFFERED,
    )


async def _companies(
    tx: Tx, subject: MatchSubject, clues: Clues, contacts: Sequence[ContactCandidate]
) -> list[CompanyCandidate]:
    by_contact = [
        {"id": contact.company_id, "evidence": evidence}
        for contact in contacts
        for evidence in contact.evidence
        if evidence != "thread"
    ]
    return await tx.many(
        CompanyCandidate,
        """
        WITH found AS (
            SELECT n.id, n.evidence FROM jsonb_to_recordset(%(by_contact)s) AS n (id uuid, evidence text)
            UNION ALL
            SELECT c.id, CASE WHEN c.domain = ANY(%(own_domains)s) THEN 'domain' ELSE 'subdomain' END
              FROM companies c WHERE c.domain = ANY(%(domains)s) AND c.deleted_at IS NULL
            UNION ALL
            SELECT t.company_id, 'contact_domain'
              FROM contacts t WHERE split_part(t.email, '@', 2) = ANY(%(own_domains)s) AND t.deleted_at IS NULL AND t.email IS NOT NULL
            UNION ALL
            SELECT m.company_id, CASE WHEN m.sender_email = %(principal)s OR EXISTS (
                       SELECT FROM communication_participants p WHERE p.communication_id = m.id AND p.email = %(principal)s)
                   THEN 'thread' ELSE 'thread_other' END
              FROM communications m
             WHERE m.user_id = %(user_id)s AND m.thread_id = %(thread_id)s AND m.id <> %(communication_id)s AND m.company_id IS NOT NULL
            UNION ALL
            SELECT c.id, 'name' FROM companies c WHERE c.normalized_name = ANY(%(names)s) AND c.deleted_at IS NULL)
        SELECT c.id, c.name, c.domain, c.status, f.evidence
          FROM (SELECT id, array_agg(DISTINCT evidence) AS evidence FROM found GROUP BY id) f
          JOIN companies c ON c.id = f.id AND c.deleted_at IS NULL
         ORDER BY 'sender_email' = ANY(f.evidence) DESC, 'thread' = ANY(f.evidence) DESC, 'domain' = ANY(f.evidence) DESC,
                  'participant_email' = ANY(f.evidence) DESC, 'subdomain' = ANY(f.evidence) DESC, 'contact_domain' = ANY(f.evidence) DESC,
                  c.created_at, c.id
         LIMIT %(offered)s
        """,
        by_contact=Json(by_contact),
        principal=clues.principal,
        domains=clues.domains,
        own_domains=clues.own_domains,
        names=clues.names,
        user_id=subject.user_id,
        thread_id=subject.thread_id,
        communication_id=subject.id,
        offered=OFFERED,
    )


# Keeping ----------------------------------------------------------------------------------------------------------


class Origin(Row):
    """Whose opinion it is: the engine, and the prompt, call and run that it came from."""

    engine: str | None = None
    prompt_key: str | None = None
    prompt_version: int | None = None
    ai_call_id: UUID | None = None
    run_id: UUID | None = None


NOBODY = Origin()


async def link_communication(tx: Tx, communication_id: UUID, link: LinkIn, origin: Origin = NOBODY) -> bool:
    """
    Link a communication, its conversation and its participant; tell whether it was still unlinked.

    What a person has linked stays as it is.
    """
    linked = await tx.maybe(
        UUID,
        """
        UPDATE communications
           SET company_id = %(company_id)s, contact_id = %(contact_id)s, deal_id = coalesce(deal_id, %(deal_id)s), match_status = 'auto',
               match_confidence = %(confidence)s, match_method = %(method)s
         WHERE id = %(communication_id)s AND company_id IS NULL AND match_status <> 'manual'
        RETURNING id
        """,
        communication_id=communication_id,
        company_id=link.company_id,
        contact_id=link.contact_id,
        deal_id=link.deal_id,
        confidence=link.confidence,
        method=link.method,
    )
    if linked is None:
        return False
    await _link_conversation(tx, communication_id, link)
    await tx.run(
        """
        UPDATE communication_participants SET contact_id = %(contact_id)s
         WHERE communication_id = %(communication_id)s AND side = 'their' AND email = %(email)s AND contact_id IS NULL
        """,
        communication_id=communication_id,
        contact_id=link.contact_id,
        email=link.email,
    )
    await tx.run(
        """
        UPDATE entity_match_reviews SET status = 'superseded', updated_at = %(now)s
         WHERE subject_type = 'communication' AND subject_id = %(communication_id)s AND status = 'pending'
        """,
        communication_id=communication_id,
    )
    await _log_link(tx, communication_id, link, origin)
    return True


async def _link_conversation(tx: Tx, communication_id: UUID, link: LinkIn) -> None:
    """The conversation takes the link of its first message that has one; a person's link stays."""
    await tx.run(
        """
        UPDATE email_conversations v
           SET company_id = %(company_id)s, contact_id = coalesce(v.contact_id, %(contact_id)s), deal_id = coalesce(v.deal_id, %(deal_id)s),
               link_confidence = %(score)s, link_method = %(method)s, updated_at = %(now)s
          FROM communications m
         WHERE m.id = %(communication_id)s AND v.user_id = m.user_id AND v.conversation_id = m.thread_id
           AND v.company_id IS NULL AND v.link_method <> 'manual'
        """,
        communication_id=communication_id,
        company_id=link.company_id,
        contact_id=link.contact_id,
        deal_id=link.deal_id,
        score=link.link_score,
        method="thread_inherited"
        if link.method == "thread"
        else "auto_high"
        if link.link_score >= 65
        else "auto_suggested",
    )


async def _log_link(tx: Tx, communication_id: UUID, link: LinkIn, origin: Origin) -> None:
    await tx.run(
        """
        INSERT INTO ai_action_log (source, action_type, status, user_id, company_id, contact_id, deal_id, communication_id, run_id,
            ai_call_id, prompt_key, prompt_version, outputs, idempotency_key, completed_at, created_at)
        SELECT 'communications', 'ENTITY_LINKED', 'success', m.user_id, m.company_id, m.contact_id, m.deal_id, m.id, %(run_id)s,
               %(ai_call_id)s, %(prompt_key)s, %(prompt_version)s, %(outputs)s, %(key)s, %(now)s, %(now)s
          FROM communications m WHERE m.id = %(communication_id)s
        ON CONFLICT (idempotency_key) DO NOTHING
        """,
        communication_id=communication_id,
        **origin.model_dump(exclude={"engine"}),
        outputs=Json({"method": link.method, "confidence": link.confidence}),
        key=f"link:{communication_id}:{link.company_id}",
    )


async def open_review(tx: Tx, communication_id: UUID, review: ReviewIn, origin: Origin = NOBODY) -> UUID:
    """Ask a person where a communication belongs, in place of what was asked before; an unlinked one waits for the answer."""
    await tx.run(
        """
        UPDATE entity_match_reviews SET status = 'superseded', updated_at = %(now)s
         WHERE subject_type = 'communication' AND subject_id = %(communication_id)s AND status = 'pending'
        """,
        communication_id=communication_id,
    )
    values: dict[str, Any] = review.model_dump(mode="json")
    for name in ("candidates", "create_company", "create_contact"):
        values[name] = Json(values[name]) if values[name] is not None else None
    review_id = await tx.one(
        UUID,
        """
        INSERT INTO entity_match_reviews (subject_type, subject_id, proposed_company_id, proposed_contact_id, proposed_deal_id,
            company_confidence, contact_confidence, deal_confidence, candidates, reasoning, create_company, create_contact, engine,
            prompt_key, prompt_version, ai_call_id, run_id, created_at)
        VALUES ('communication', %(communication_id)s, %(company_id)s, %(contact_id)s, %(deal_id)s, %(company_confidence)s,
                %(contact_confidence)s, %(deal_confidence)s, %(candidates)s, %(reasoning)s, %(create_company)s, %(create_contact)s, %(engine)s,
                %(prompt_key)s, %(prompt_version)s, %(ai_call_id)s, %(run_id)s, %(now)s)
        RETURNING id
        """,
        communication_id=communication_id,
        **values,
        **origin.model_dump(),
    )
    await tx.run(
        """
        UPDATE communications SET match_status = 'review', match_confidence = %(confidence)s
         WHERE id = %(communication_id)s AND company_id IS NULL AND match_status <> 'manual'
        """,
        communication_id=communication_id,
        confidence=review.company_confidence,
    )
    return review_id


class DecisionRow(Row):
    """What was decided about an unknown sender's message."""

    decision: Decision
    product_slug: str | None
    confidence: int
    reason: str
    created_at: datetime


async def record_triage(tx: Tx, communication_id: UUID, triage: TriageIn, origin: Origin = NOBODY) -> DecisionRow:
    """Keep what an agent makes of an unknown sender's message; it replaces what an agent said before, never a person."""
    await tx.run(
        "DELETE FROM triage_decisions WHERE communication_id = %(communication_id)s AND decided_by_kind = 'ai'",
        communication_id=communication_id,
    )
    return await tx.one(
        DecisionRow,
        """
        INSERT INTO triage_decisions (communication_id, decision, product_slug, confidence, reason, decided_by_kind, engine, prompt_key,
                                      prompt_version, ai_call_id, run_id, created_at)
        VALUES (%(communication_id)s, %(decision)s, %(product_slug)s, %(confidence)s, %(reason)s, 'ai', %(engine)s, %(prompt_key)s,
                %(prompt_version)s, %(ai_call_id)s, %(run_id)s, %(now)s)
        RETURNING decision, product_slug, confidence, reason, created_at
        """,
        communication_id=communication_id,
        **triage.model_dump(),
        **origin.model_dump(),
    )
