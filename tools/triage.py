"""Triage: messages that nobody has been able to place, and what a person decides about them."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import model_validator

from memory.callers import Caller
from memory.db import Tx
from memory.rows import In, Row
from tools.communications import linking
from tools.communications.rows import VISIBLE

SHOWN = 50


class TriageItem(Row):
    """One message without a company, with what matching suggests."""

    id: UUID
    sender_email: str | None
    sender_name: str | None
    subject: str | None
    body_preview: str | None
    received_at: datetime
    message_type: Literal["email", "meeting", "other"]
    source: str
    suggestion: dict[str, Any] | None


class TriageOut(Row):
    """The newest messages without a company; `count` is how many are shown."""

    items: list[TriageItem]
    count: int


class DecideTriageIn(In):
    """Where a message belongs, or that it does not matter."""

    communicationId: UUID
    companyId: UUID | None = None
    action: Literal["assign", "ignore"]

    @model_validator(mode="after")
    def _needs_a_company(self) -> "DecideTriageIn":
        if self.action == "assign" and self.companyId is None:
            raise ValueError("companyId is required to assign")
        return self


class TriageDecidedOut(Row):
    """What was decided."""

    success: bool = True
    action: Literal["assigned", "ignored"]
    companyId: UUID | None = None


async def list_triage(tx: Tx, caller: Caller) -> TriageOut:
    """Return the newest fifty visible messages that belong to no company and are no noise."""
    items = await tx.many(
        TriageItem,
        f"""
        SELECT m.id, m.sender_email, m.sender_name, m.subject, left(m.content_preview, 150) AS body_preview, m.occurred_at AS received_at,
               CASE WHEN m.channel IN ('email', 'meeting') THEN m.channel ELSE 'other' END AS message_type, m.source_table AS source,
               CASE WHEN r.id IS NOT NULL THEN json_build_object(
                   'company_id', r.proposed_company_id, 'company_name', c.name, 'contact_id', r.proposed_contact_id,
                   'confidence', r.company_confidence, 'reasoning', r.reasoning, 'create_company', r.create_company,
                   'create_contact', r.create_contact) END AS suggestion
          FROM (SELECT * FROM communications m
                 WHERE m.company_id IS NULL AND m.excluded_at IS NULL AND m.noise_type IS NULL AND {VISIBLE}
                 ORDER BY m.occurred_at DESC, m.id LIMIT %(shown)s) m
          LEFT JOIN entity_match_reviews r ON r.subject_type = 'communication' AND r.subject_id = m.id AND r.status = 'pending'
          LEFT JOIN companies c ON c.id = r.proposed_company_id
         ORDER BY m.occurred_at DESC, m.id
        """,
        scope=caller.scope,
        shown=SHOWN,
    )
    return TriageOut(items=items, count=len(items))


async def decide_triage(tx: Tx, caller: Caller, body: DecideTriageIn) -> TriageDecidedOut:
    """
    Assign a message to a company or put it out of sight, and keep the decision.

    Raises `CommunicationNotFound`, `CompanyUnknown`.
    """
    if body.companyId and body.action == "assign":
        await linking.assign_company(tx, caller, body.communicationId, linking.AssignIn(company_id=body.companyId))
    else:
        await linking.exclude(tx, caller, body.communicationId, linking.ExcludeIn(reason="triage"))
    await tx.run(
        """
        INSERT INTO triage_decisions (communication_id, company_id, decision, reason, decided_by_kind, user_id, created_at)
        VALUES (%(communication_id)s, %(company_id)s, %(decision)s, 'Decided by a person', 'user', %(user_id)s, %(now)s)
        """,
        communication_id=body.communicationId,
        company_id=body.companyId if body.action == "assign" else None,
        decision="ASSIGN" if body.action == "assign" else "REJECT",
        user_id=caller.user_id,
    )
    return TriageDecidedOut(
        action="assigned" if body.action == "assign" else "ignored",
        companyId=body.companyId if body.action == "assign" else None,
    )
