"""Activities: what has happened with a company, deal or contact. Their author, the deal's people and managers see them."""

from datetime import datetime
from typing import Any, Literal, LiteralString
from uuid import UUID

from pydantic import Field, model_validator

from memory.callers import Caller
from memory.db import Json, Tx
from memory.errors import Conflict, Invalid, NotFound
from memory.rows import Doc, In, Row
from tools import deals

Type = Literal[
    "email_sent", "email_received", "call_made", "call_received", "meeting_held", "calendar_event", "proposal_sent", "note",
    "stage_change", "deal_won", "deal_lost",
]  # fmt: skip
TypeOrFamily = Literal[
    "email_sent", "email_received", "call_made", "call_received", "meeting_held", "calendar_event", "proposal_sent", "note",
    "stage_change", "deal_won", "deal_lost", "meeting", "email", "call",
]  # fmt: skip
FAMILIES: dict[str, list[str]] = {
    "meeting": ["meeting_held", "calendar_event"],
    "email": ["email_sent", "email_received"],
    "call": ["call_made", "call_received"],
}
# Who may see an activity: its author, and who sees its deal. A null scope sees everything.
VISIBLE = """
    (%(scope)s::uuid IS NULL OR a.user_id = %(scope)s
     OR a.deal_id IN (SELECT d.id FROM deals d WHERE d.owner_id = %(scope)s
                       UNION ALL SELECT w.deal_id FROM deal_collaborators w WHERE w.user_id = %(scope)s))
"""
# Ingest keeps an activity beside some communications; whoever reads both would count them twice.
NOT_A_COPY = "(a.external_id IS NULL OR a.external_id NOT LIKE 'communication:%%')"
# That there was a mail or a meeting is for everybody at the deal to know; its words are for whose mailbox it is in.
BODY = f"CASE WHEN %(scope)s::uuid IS NULL OR a.user_id = %(scope)s OR {NOT_A_COPY} THEN a.body END"


class ActivityNotFound(NotFound):
    """Activity {activity_id} does not exist."""


class ReviewDone(Conflict):
    """The activity was {status} already."""


class DealUnknown(Invalid):
    """Deal {deal_id} does not exist."""


class DealOfOtherCompany(Invalid):
    """The deal belongs to another company."""


class ActivityFilter(In):
    """Which activities to list; a `type` may be a family: meeting, email or call."""

    company_id: UUID | None = None
    contact_id: UUID | None = None
    deal_id: UUID | None = None
    company_product_id: UUID | None = None
    type: TypeOrFamily | None = None
    upcoming: bool = False
    limit: int = Field(default=50, ge=1, le=200)
    offset: int = Field(default=0, ge=0)


class ContactOfActivity(Row):
    """The person it happened with."""

    id: UUID
    name: str
    email: str | None


class ActivityRow(Row):
    """One activity."""

    id: UUID
    type: Type
    subject: str | None
    body: str | None
    occurred_at: datetime
    metadata: dict[str, Any]
    contact_id: UUID | None
    company_id: UUID | None
    company_product_id: UUID | None
    deal_id: UUID | None
    contact: ContactOfActivity | None


class ActivitiesOut(Row):
    """A page of activities."""

    activities: list[ActivityRow]


class ResolveReviewIn(In):
    """Where an activity belongs, or why it does not count."""

    activityId: UUID
    action: Literal["match", "exclude"]
    dealId: UUID | None = None
    companyId: UUID | None = None
    excludeReason: str | None = Field(default=None, max_length=500)

    @model_validator(mode="after")
    def _needs_a_target(self) -> "ResolveReviewIn":
        if self.action == "match" and self.dealId is None:
            raise ValueError("dealId is required to match")
        return self


class ResolvedActivity(Row):
    """The activity after the decision."""

    id: UUID
    dealId: UUID | None
    companyId: UUID | None
    matchStatus: str
    excludeReason: str | None


class ReviewResolvedOut(Row):
    """What the decision did."""

    success: bool = True
    message: str
    activity: ResolvedActivity


class _Review(Row):
    match_status: str
    deal_id: UUID | None
    company_id: UUID | None


async def list_activities(tx: Tx, caller: Caller, filter: ActivityFilter) -> Doc[ActivitiesOut]:
    """Return a page of visible activities: upcoming ones ascending, otherwise newest first."""
    order: LiteralString = "a.occurred_at, a.id" if filter.upcoming else "a.occurred_at DESC, a.id"
    return await tx.doc(
        ActivitiesOut,
        f"""
        SELECT json_build_object('activities', coalesce(json_agg(x), '[]'))::text
          FROM (SELECT a.id, a.type, a.subject, {BODY} AS body, a.occurred_at, a.metadata, a.contact_id, a.company_id,
                       a.company_product_id, a.deal_id,
                       CASE WHEN t.id IS NOT NULL THEN json_build_object('id', t.id, 'name', t.name, 'email', t.email) END AS contact
                  FROM (SELECT a.id FROM activities a
                         WHERE (%(company_id)s::uuid IS NULL OR a.company_id = %(company_id)s)
                           AND (%(contact_id)s::uuid IS NULL OR a.contact_id = %(contact_id)s)
                           AND (%(deal_id)s::uuid IS NULL OR a.deal_id = %(deal_id)s)
                           AND (%(company_product_id)s::uuid IS NULL OR a.company_product_id = %(company_product_id)s)
                           AND (%(types)s::text[] IS NULL OR a.type = ANY(%(types)s))
                           AND (NOT %(upcoming)s::bool OR a.occurred_at >= %(now)s)
                           AND a.match_status <> 'excluded'
                           AND {VISIBLE}
                         ORDER BY {order}
                         LIMIT %(limit)s OFFSET %(offset)s) page
                  JOIN activities a ON a.id = page.id
                  LEFT JOIN contacts t ON t.id = a.contact_id
                 ORDER BY {order}) x
        """,
        **filter.model_dump(exclude={"type"}),
        types=FAMILIES.get(filter.type, [filter.type]) if filter.type else None,
        scope=caller.scope,
    )


async def resolve_review(tx: Tx, caller: Caller, body: ResolveReviewIn) -> ReviewResolvedOut:
    """
    Settle where an activity belongs, and complete the tasks that asked for it. The same decision again changes nothing.

    Raises `ActivityNotFound`, `ReviewDone` for another decision, `DealUnknown`, `DealOfOtherCompany`.
    """
    review = await tx.one(
        _Review,
        f"SELECT a.match_status, a.deal_id, a.company_id FROM activities a WHERE a.id = %(activity_id)s AND {VISIBLE} FOR UPDATE",
        missing=ActivityNotFound(activity_id=body.activityId),
        activity_id=body.activityId,
        scope=caller.scope,
    )
    wanted = "matched" if body.action == "match" else "excluded"
    settled = review.match_status in ("matched", "excluded")
    if settled and (review.match_status != wanted or (body.action == "match" and review.deal_id != body.dealId)):
        raise ReviewDone(status=review.match_status)
    company_id = await _company_of_deal(tx, caller, body) if body.action == "match" else review.company_id
    if not settled:
        await _settle(tx, caller, body, company_id)
    return ReviewResolvedOut(
        message="The activity is matched." if wanted == "matched" else "The activity is excluded.",
        activity=ResolvedActivity(
            id=body.activityId,
            dealId=body.dealId if wanted == "matched" else review.deal_id,
            companyId=company_id,
            matchStatus=wanted,
            excludeReason=body.excludeReason if wanted == "excluded" else None,
        ),
    )


async def record_activity(
    tx: Tx,
    caller: Caller,
    *,
    type: Type,
    subject: str | None = None,
    body: str | None = None,
    company_id: UUID | None = None,
    deal_id: UUID | None = None,
    contact_id: UUID | None = None,
    company_product_id: UUID | None = None,
    metadata: dict[str, Any] | None = None,
) -> UUID:
    """Append an activity of the caller's, now, and return its id; the deal remembers when it was last touched."""
    activity_id = await tx.one(
        UUID,
        """
        INSERT INTO activities (type, subject, body, company_id, deal_id, contact_id, company_product_id, user_id, metadata, occurred_at)
        VALUES (%(type)s, %(subject)s, %(body)s, %(company_id)s, %(deal_id)s, %(contact_id)s, %(company_product_id)s, %(user_id)s,
                %(metadata)s, %(now)s)
        RETURNING id
        """,
        type=type,
        subject=subject,
        body=body,
        company_id=company_id,
        deal_id=deal_id,
        contact_id=contact_id,
        company_product_id=company_product_id,
        user_id=caller.user_id,
        metadata=Json(metadata or {}),
    )
    if deal_id:
        await tx.run("UPDATE deals SET last_activity_at = %(now)s WHERE id = %(deal_id)s", deal_id=deal_id)
    return activity_id


async def _company_of_deal(tx: Tx, caller: Caller, body: ResolveReviewIn) -> UUID:
    company_id = await tx.one(
        UUID,
        f"SELECT d.company_id FROM deals d WHERE d.id = %(deal_id)s AND {deals.VISIBLE}",
        missing=DealUnknown(deal_id=body.dealId),
        deal_id=body.dealId,
        scope=caller.scope,
    )
    if body.companyId and body.companyId != company_id:
        raise DealOfOtherCompany
    return company_id


async def _settle(tx: Tx, caller: Caller, body: ResolveReviewIn, company_id: UUID | None) -> None:
    matched = body.action == "match"
    await tx.run(
        """
        UPDATE activities
           SET match_status = CASE WHEN %(matched)s THEN 'matched' ELSE 'excluded' END,
               deal_id = CASE WHEN %(matched)s THEN %(deal_id)s ELSE deal_id END,
               company_id = %(company_id)s,
               match_confidence = CASE WHEN %(matched)s THEN 1.0 ELSE match_confidence END,
               match_reasoning = CASE WHEN %(matched)s THEN 'Matched by a person' ELSE match_reasoning END,
               matched_at = CASE WHEN %(matched)s THEN %(now)s ELSE matched_at END,
               exclude_reason = CASE WHEN %(matched)s THEN NULL ELSE %(reason)s END,
               excluded_at = CASE WHEN %(matched)s THEN NULL ELSE %(now)s END,
               excluded_by = CASE WHEN %(matched)s THEN NULL ELSE %(user_id)s END
         WHERE id = %(activity_id)s
        """,
        matched=matched,
        deal_id=body.dealId,
        company_id=company_id,
        reason=body.excludeReason,
        user_id=caller.user_id,
        activity_id=body.activityId,
    )
    await tx.run(
        """
        UPDATE tasks SET completed_at = %(now)s, completed_by = %(user_id)s
         WHERE subject_type = 'activity' AND subject_id = %(activity_id)s AND completed_at IS NULL AND deleted_at IS NULL
        """,
        activity_id=body.activityId,
        user_id=caller.user_id,
    )
