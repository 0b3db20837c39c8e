"""What a support case looks like to those who read it: everybody of the workspace."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from memory.rows import Named, Row
from tools.cases.commands import CloseReason, Severity, Source, Status

CASE = """
    m.support_case_id AS id, m.company_id, m.company_product_id, m.product_id, m.title, m.description, m.status, m.severity, m.category,
    m.subcategory, m.source, m.external_id, m.contact_id, m.contact_email, m.contact_name, m.owner_id, m.owner_name, m.assigned_team,
    m.tags, m.opened_at, m.first_response_due_at, m.first_response_at, m.first_response_breached, m.resolution_due_at, m.resolved_at,
    m.resolution_breached, m.update_due_at, m.update_breached,
    m.status NOT IN ('resolved', 'closed') AND (m.first_response_warned OR m.resolution_warned OR m.update_warned) AS is_at_risk,
    m.next_action, m.next_action_due_at, m.next_action_assigned_to_id, m.next_action_assigned_to_name, m.last_customer_contact_at,
    m.last_agent_response_at, m.response_count, m.customer_response_count, m.agent_response_count, m.escalation_count,
    m.escalation_level, m.escalated_to_team, m.escalated_to_user_id, m.reopen_count, m.resolution_summary, m.root_cause, m.closed_at,
    m.close_reason, m.csat_score, m.csat_comment, m.csat_submitted_at, m.engagement_impact, m.last_event_at, m.last_event_type,
    m.last_event_sequence AS version
"""


class CompanyOfCase(Named):
    """The company of a case."""

    domain: str | None


class OwnerOfCase(Named):
    """Whoever has a case in hand."""

    email: str


class CaseRow(Row):
    """
    One case as its history adds up to. `version` counts its events: give it back as `expectedVersion`.

    A due moment stays when it is met; a breach stays for ever. `is_at_risk`: past a warning, not yet late.
    """

    id: UUID
    company_id: UUID
    company_product_id: UUID | None
    product_id: UUID | None
    title: str
    description: str | None
    status: Status
    severity: Severity
    category: str | None
    subcategory: str | None
    source: Source
    external_id: str | None
    contact_id: UUID | None
    contact_email: str | None
    contact_name: str | None
    owner_id: UUID | None
    owner_name: str | None
    assigned_team: str | None
    tags: list[str]
    opened_at: datetime
    first_response_due_at: datetime | None
    first_response_at: datetime | None
    first_response_breached: bool
    resolution_due_at: datetime | None
    resolved_at: datetime | None
    resolution_breached: bool
    update_due_at: datetime | None
    update_breached: bool
    is_at_risk: bool
    next_action: str | None
    next_action_due_at: datetime | None
    next_action_assigned_to_id: UUID | None
    next_action_assigned_to_name: str | None
    last_customer_contact_at: datetime | None
    last_agent_response_at: datetime | None
    response_count: int
    customer_response_count: int
    agent_response_count: int
    escalation_count: int
    escalation_level: int
    escalated_to_team: str | None
    escalated_to_user_id: UUID | None
    reopen_count: int
    resolution_summary: str | None
    root_cause: str | None
    closed_at: datetime | None
    close_reason: CloseReason | None
    csat_score: int | None
    csat_comment: str | None
    csat_submitted_at: datetime | None
    engagement_impact: Literal["positive", "neutral", "negative", "critical"] | None
    last_event_at: datetime
    last_event_type: str
    version: int


class ListedCase(CaseRow):
    """One case of a page."""

    company: Named


class WholeCase(CaseRow):
    """One case with its company and whoever has it in hand."""

    company: CompanyOfCase
    owner: OwnerOfCase | None


class Pagination(Row):
    """Where a page stands; `total` counts up to 1,000."""

    total: int
    limit: int
    offset: int
    hasMore: bool


class CasesOut(Row):
    """A page of cases."""

    data: list[ListedCase]
    pagination: Pagination


class CaseOut(Row):
    """One case."""

    data: WholeCase


class Actor(Row):
    """Who made something happen: a person, the service, or an agent for a person."""

    type: Literal["user", "system", "ai"]
    id: str | None


class TimelineEvent(Row):
    """One thing that happened to a case; `sequence` counts from 1 and has gaps where a note is not for you."""

    id: UUID
    type: str
    data: dict[str, Any]
    sequence: int
    occurredAt: datetime
    actor: Actor
    metadata: dict[str, Any]


class TimelineOut(Row):
    """Everything that happened to a case, in order."""

    data: list[TimelineEvent]
