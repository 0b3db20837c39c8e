"""Deal facts: the counts and moments that health and signals judge by, for many deals in one query."""

from datetime import datetime
from typing import LiteralString
from uuid import UUID

from memory.callers import Caller
from memory.db import Tx
from memory.rows import Money, Row
from tools import activities, deals

STAGES = ("new_lead", "qualifying", "discovery", "demo", "data_review", "trial", "negotiation")
LARGEST_SCAN = 1000
# Whether the caller may read the message or meeting from which an item `i` was learned; what nobody said is everybody's.
SOURCE_READABLE: LiteralString = """
    (%(scope)s::uuid IS NULL OR i.source_type IN ('note', 'research', 'manual')
     OR EXISTS (SELECT 1 FROM communications o WHERE o.id = i.source_id AND o.user_id = %(scope)s)
     OR EXISTS (SELECT 1 FROM meeting_transcriptions o WHERE o.id = i.source_id AND o.user_id = %(scope)s))
"""

# What is counted is everybody's; a quote is only for whoever may read the message that it stands in.
FACTS: LiteralString = f"""
    SELECT d.id AS deal_id, d.name, d.company_id, d.owner_id, d.stage, d.estimated_value, d.health_score, d.health_trend,
           d.created_at, d.stage_entered_at, c.segment, people.*, touches.*, feelings.*, mentions.*
      FROM judged d
      JOIN companies c ON c.id = d.company_id
      CROSS JOIN LATERAL (
          SELECT count(*) AS contacts, count(*) FILTER (WHERE t.role = 'decision_maker') AS decision_makers,
                 count(*) FILTER (WHERE t.role = 'champion') AS champions
            FROM contacts t WHERE t.company_id = d.company_id AND t.deleted_at IS NULL) people
      CROSS JOIN LATERAL (
          SELECT max(e.at) AS last_touch_at,
                 count(*) FILTER (WHERE e.at > %(now)s - interval '7 days') AS touches_7d,
                 count(*) FILTER (WHERE e.at > %(now)s - interval '30 days') AS touches_30d,
                 count(DISTINCT e.kind) FILTER (WHERE e.at > %(now)s - interval '30 days') AS kinds_30d,
                 count(*) FILTER (WHERE e.kind = 'email' AND e.inbound AND e.at > %(now)s - interval '14 days') AS inbound_mails_14d,
                 count(*) FILTER (WHERE e.kind = 'email' AND e.inbound AND e.at > %(now)s - interval '30 days') AS inbound_mails_30d,
                 count(*) FILTER (WHERE e.kind = 'email' AND NOT e.inbound AND e.at > %(now)s - interval '30 days') AS outbound_mails_30d,
                 count(*) FILTER (WHERE e.kind = 'meeting' AND e.at > %(now)s - interval '14 days') AS meetings_14d
            FROM (SELECT m.occurred_at AS at, m.channel AS kind, m.direction = 'inbound' AS inbound
                    FROM communications m
                   WHERE m.company_id = d.company_id AND (m.deal_id = d.id OR m.deal_id IS NULL) AND m.excluded_at IS NULL
                     AND m.noise_type IS NULL AND m.occurred_at <= %(now)s
                   UNION ALL
                  SELECT a.occurred_at, CASE WHEN a.type LIKE 'call%%' THEN 'call' WHEN a.type IN ('meeting_held', 'calendar_event')
                                             THEN 'meeting' ELSE a.type END, a.type = 'call_received'
                    FROM activities a
                   WHERE a.deal_id = d.id AND a.match_status <> 'excluded' AND a.occurred_at <= %(now)s AND {activities.NOT_A_COPY}
                     AND a.type IN ('call_made', 'call_received', 'meeting_held', 'calendar_event', 'proposal_sent')) e) touches
      CROSS JOIN LATERAL (
          SELECT count(*) AS read, count(*) FILTER (WHERE f.sentiment IN ('positive', 'excited')) AS positive,
                 count(*) FILTER (WHERE f.sentiment IN ('negative', 'concerned')) AS negative
            FROM (SELECT a.sentiment
                    FROM communications m JOIN communication_analysis a ON a.id = m.current_analysis_id
                   WHERE m.company_id = d.company_id AND (m.deal_id = d.id OR m.deal_id IS NULL) AND m.direction = 'inbound'
                     AND m.excluded_at IS NULL
                   ORDER BY m.occurred_at DESC LIMIT 15) f) feelings
      CROSS JOIN LATERAL (
          SELECT coalesce(json_agg(json_build_object('signal', i.detail ->> 'signal', 'kind', i.kind, 'text', i.text, 'quote', i.quote,
                                                     'source_id', i.source_id, 'confidence', i.confidence, 'readable', {SOURCE_READABLE})
                                   ORDER BY i.occurred_at DESC), '[]')::jsonb AS learned
            FROM relationship_items i
           WHERE i.company_id = d.company_id AND i.status = 'active' AND i.confidence >= 0.70
             AND i.kind IN ('buying_signal', 'concern', 'stakeholder') AND i.occurred_at > %(now)s - interval '60 days') mentions
"""


class Learned(Row):
    """Something that a message or meeting has said, with where it stands, and whether the caller may read it there."""

    signal: str | None
    kind: str
    text: str
    quote: str | None
    source_id: UUID | None
    confidence: float
    readable: bool


class DealFacts(Row):
    """
    What can be counted about a deal.

    Moments are UTC; counts with `_7d`, `_14d`, `_30d` look back so many days; `read`, `positive` and `negative` count
    the last fifteen inbound messages that have been analysed.
    """

    deal_id: UUID
    name: str
    company_id: UUID
    owner_id: UUID | None
    stage: str
    estimated_value: Money
    health_score: int
    health_trend: str | None
    created_at: datetime
    stage_entered_at: datetime
    segment: str
    contacts: int
    decision_makers: int
    champions: int
    last_touch_at: datetime | None
    touches_7d: int
    touches_30d: int
    kinds_30d: int
    inbound_mails_14d: int
    inbound_mails_30d: int
    outbound_mails_30d: int
    meetings_14d: int
    read: int
    positive: int
    negative: int
    learned: list[Learned]

    @property
    def is_closed(self) -> bool:
        """Whether the deal has left the pipeline."""
        return self.stage not in STAGES

    def days_silent(self, now: datetime) -> float | None:
        """Return the days since anybody was in touch."""
        return None if self.last_touch_at is None else (now - self.last_touch_at).total_seconds() / 86400

    def days_in_stage(self, now: datetime) -> float:
        """Return the days since the deal entered its stage."""
        return (now - self.stage_entered_at).total_seconds() / 86400


async def list_facts(
    tx: Tx, caller: Caller, *, deal_id: UUID | None = None, company_id: UUID | None = None
) -> list[DealFacts]:
    """Return the facts of one visible deal, of a company's open deals, or of the caller's open deals (at most 1,000)."""
    if deal_id:
        return await tx.many(
            DealFacts,
            f"WITH judged AS (SELECT * FROM deals d WHERE d.id = %(deal_id)s AND {deals.VISIBLE}) {FACTS}",
            deal_id=deal_id,
            scope=caller.scope,
        )
    return await tx.many(
        DealFacts,
        f"""
        WITH judged AS MATERIALIZED (
            SELECT * FROM deals d
             WHERE d.stage NOT LIKE 'closed%%' AND (%(company_id)s::uuid IS NULL OR d.company_id = %(company_id)s) AND {deals.VISIBLE}
             ORDER BY d.updated_at DESC, d.id LIMIT %(most)s)
        {FACTS} ORDER BY d.updated_at DESC, d.id
        """,
        company_id=company_id,
        scope=caller.scope,
        most=LARGEST_SCAN,
    )
