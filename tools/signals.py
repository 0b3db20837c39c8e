"""Signals: what is noteworthy about a deal, found by counting; they open, and close by themselves when it is over."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field, model_validator

from memory.callers import Caller
from memory.db import Json, Tx
from memory.errors import Conflict, Invalid, NotFound
from memory.rows import Doc, In, Row
from tools import deal_facts, deals, health
from tools.deal_facts import DealFacts

Severity = Literal["low", "medium", "high", "critical"]
Category = Literal["risk", "opportunity", "insight", "action_needed"]
Status = Literal["active", "acknowledged", "resolved", "dismissed"]
SignalType = Literal[
    "stale_deal", "stuck_stage", "high_engagement", "multi_thread_opportunity", "momentum_shift", "risk_escalation",
    "champion_identified", "competitor_mentioned", "budget_confirmed", "decision_timeline", "sentiment_positive",
    "sentiment_negative", "engagement_drop",
]  # fmt: skip
STUCK_AFTER_DAYS = {
    "new_lead": 7,
    "qualifying": 10,
    "discovery": 14,
    "demo": 10,
    "data_review": 7,
    "trial": 21,
    "negotiation": 14,
}
LARGE_VALUE = 50_000
# Signals that the scan may close again when their reason is gone; what people have said stays.
COUNTED = [
    "stale_deal",
    "stuck_stage",
    "high_engagement",
    "multi_thread_opportunity",
    "momentum_shift",
    "risk_escalation",
]
LEARNED: dict[str, tuple[str, str]] = {
    "champion_identified": ("A champion has spoken up", "Ask the champion who else decides."),
    "competitor_evaluating": ("A competitor is in play", "Find out what the competitor offers and answer it."),
    "competitor_mentioned": ("A competitor was mentioned", "Find out what the competitor offers and answer it."),
    "budget_confirmed": ("The budget is confirmed", "Send the proposal while the budget stands."),
    "timeline_urgent": ("They have a date in mind", "Plan backwards from their date."),
    "decision_timeline": ("They have a date in mind", "Plan backwards from their date."),
}
TYPE_OF_LEARNED: dict[str, SignalType] = {
    "champion_identified": "champion_identified",
    "competitor_evaluating": "competitor_mentioned",
    "competitor_mentioned": "competitor_mentioned",
    "budget_confirmed": "budget_confirmed",
    "timeline_urgent": "decision_timeline",
    "decision_timeline": "decision_timeline",
}
# A signal may tell of a message: only whoever may read the message reads its words here.
READABLE = """
    (%(scope)s::uuid IS NULL OR s.source = 'manual' OR NOT s.evidence ? 'quote'
     OR EXISTS (SELECT 1 FROM communications o WHERE o.id = (s.evidence ->> 'source_id')::uuid AND o.user_id = %(scope)s)
     OR EXISTS (SELECT 1 FROM meeting_transcriptions o WHERE o.id = (s.evidence ->> 'source_id')::uuid AND o.user_id = %(scope)s))
"""
SIGNAL = f"""
    s.id, s.signal_type AS type, s.severity, s.category, s.title,
    CASE WHEN {READABLE} THEN s.description END AS description, s.deal_id AS "dealId", d.name AS "dealName",
    s.company_id AS "companyId", c.name AS "companyName", s.contact_id AS "contactId", s.suggested_action AS "suggestedAction",
    CASE WHEN {READABLE} THEN s.evidence ELSE s.evidence - '{{quote,source_id}}'::text[] END AS metadata,
    s.created_at AS "detectedAt", s.status, s.action_taken AS "actionTaken", s.dismissed_reason AS "dismissedReason"
"""
# Written as the index has it.
GRAVITY = "array_position(ARRAY['critical', 'high', 'medium', 'low'], s.severity)"
JOINED = "ai_signals s LEFT JOIN deals d ON d.id = s.deal_id LEFT JOIN companies c ON c.id = s.company_id"
VISIBLE = f"""
    (%(scope)s::uuid IS NULL OR CASE WHEN d.id IS NOT NULL THEN {deals.VISIBLE}
                                     ELSE s.user_id IS NULL OR s.user_id = %(scope)s END)
"""


class SignalNotFound(NotFound):
    """Signal {signal_id} does not exist."""


class SignalOpen(Conflict):
    """The deal has an open signal of this type already."""


class SignalClosed(Conflict):
    """The signal is {status}, and that is final."""


class SubjectUnknown(Invalid):
    """The deal, company or contact of the signal does not exist, or the deal is another company's."""


class SignalFilter(In):
    """Which signals to list, the gravest first."""

    dealId: UUID | None = None
    companyId: UUID | None = None
    category: Category | None = None
    severity: Severity | None = None
    status: Status = "active"
    limit: int = Field(default=50, ge=1, le=200)
    offset: int = Field(default=0, ge=0)


class SignalRow(Row):
    """One signal with its deal and company; `metadata` is the evidence."""

    id: UUID
    type: SignalType
    severity: Severity
    category: Category
    title: str
    description: str | None
    dealId: UUID | None
    dealName: str | None
    companyId: UUID | None
    companyName: str | None
    contactId: UUID | None
    suggestedAction: str | None
    metadata: dict[str, Any]
    detectedAt: datetime
    status: Status
    actionTaken: str | None
    dismissedReason: str | None


class SignalsOut(Row):
    """A page of signals."""

    signals: list[SignalRow]
    count: int


class SignalOut(Row):
    """One signal."""

    success: bool = True
    signal: SignalRow


class DetectedOut(Row):
    """What the scan found; `saved` counts what was opened or refreshed."""

    signals: list[dict[str, Any]]
    count: int
    saved: int


class CreateSignalIn(In):
    """
    Either a signal by hand, with `signal_type`, or a scan: of one deal, or of all open ones.

    `save=false` only shows what a scan would find.
    """

    signal_type: SignalType | None = None
    title: str | None = Field(default=None, min_length=1, max_length=300)
    description: str | None = Field(default=None, max_length=5000)
    severity: Severity = "medium"
    category: Category | None = None
    dealId: UUID | None = None
    companyId: UUID | None = None
    contactId: UUID | None = None
    suggestedAction: str | None = Field(default=None, max_length=1000)
    save: bool = True

    @model_validator(mode="after")
    def _whole(self) -> "CreateSignalIn":
        if self.signal_type is None:
            return self
        if self.title is None or self.category is None:
            raise ValueError("title and category are required beside signal_type")
        if (self.dealId or self.companyId or self.contactId) is None:
            raise ValueError("send dealId, companyId or contactId")
        return self


class UpdateSignalIn(In):
    """What a person says of a signal."""

    status: Status | None = None
    actionTaken: str | None = Field(default=None, max_length=1000)
    dismissedReason: str | None = Field(default=None, max_length=1000)
    severity: Severity | None = None


class Found(Row):
    """A signal that counting has found."""

    deal_id: UUID
    company_id: UUID
    signal_type: SignalType
    severity: Severity
    category: Category
    title: str
    description: str
    suggested_action: str
    source: Literal["email", "time_based", "activity", "health_check"]
    evidence: dict[str, Any]
    readable: bool = True

    def shown(self) -> dict[str, Any]:
        """Return the signal as the caller may read it: without the words of a message that is somebody else's."""
        told = self.model_dump(mode="json", exclude={"readable"})
        if self.readable:
            return told
        return told | {"description": None, "evidence": {"confidence": self.evidence["confidence"]}}


def detect(facts: DealFacts, now: datetime) -> list[Found]:
    """Return what is noteworthy about one open deal. Source: CRM specification, AI algorithms, signals."""
    if facts.is_closed:
        return []
    found = [*_silence(facts, now), *_stuck(facts, now), *_engagement(facts), *_threads(facts), *_health(facts)]
    return [*found, *_learned(facts)]


def _found(facts: DealFacts, signal_type: SignalType, severity: Severity, category: Category, **words: Any) -> Found:
    return Found(
        deal_id=facts.deal_id,
        company_id=facts.company_id,
        signal_type=signal_type,
        severity=severity,
        category=category,
        **words,
    )


def _silence(facts: DealFacts, now: datetime) -> list[Found]:
    days = facts.days_silent(now)
    days = (now - facts.created_at).total_seconds() / 86400 if days is None else days
    if days <= 7:
        return []
    return [
        _found(
            facts, "stale_deal", "critical" if days > 21 else "high" if days > 14 else "medium", "risk",
            title=f"No contact for {int(days)} days", description=f"{facts.name} has been silent for {int(days)} days.",
            suggested_action="Get in touch with a reason to answer.", source="time_based", evidence={"days_silent": int(days)},
        )
    ]  # fmt: skip


def _stuck(facts: DealFacts, now: datetime) -> list[Found]:
    days, limit = facts.days_in_stage(now), STUCK_AFTER_DAYS[facts.stage]
    if days <= limit:
        return []
    return [
        _found(
            facts, "stuck_stage", "critical" if days > 2 * limit else "high" if days > 1.5 * limit else "medium", "risk",
            title=f"{int(days)} days in {facts.stage}", description=f"Deals leave {facts.stage} within {limit} days.",
            suggested_action="Agree on what has to happen before the next stage.", source="time_based",
            evidence={"days_in_stage": int(days), "usual_days": limit, "stage": facts.stage},
        )
    ]  # fmt: skip


def _engagement(facts: DealFacts) -> list[Found]:
    if facts.touches_7d < 5:
        return []
    return [
        _found(
            facts, "high_engagement", "medium", "opportunity",
            title=f"{facts.touches_7d} touches in a week", description="They are busy with this now.",
            suggested_action="Propose the next step while attention is high.", source="activity",
            evidence={"touches_7d": facts.touches_7d},
        )
    ]  # fmt: skip


def _threads(facts: DealFacts) -> list[Found]:
    wanted = 3 if facts.estimated_value > LARGE_VALUE else 2
    if facts.contacts >= wanted:
        return []
    return [
        _found(
            facts, "multi_thread_opportunity", "medium", "action_needed",
            title=f"Only {facts.contacts} contact{'' if facts.contacts == 1 else 's'}",
            description=f"A deal of this size should rest on {wanted} people or more.",
            suggested_action="Ask for an introduction to a colleague.", source="activity",
            evidence={"contacts": facts.contacts, "wanted": wanted},
        )
    ]  # fmt: skip


def _health(facts: DealFacts) -> list[Found]:
    found: list[Found] = []
    score = facts.health_score
    if facts.health_trend == "declining" and score < 50:
        found.append(
            _found(
                facts, "momentum_shift", "critical" if score < 30 else "high", "risk",
                title="The deal is losing momentum", description=f"Health has fallen to {score}.",
                suggested_action="Find out what has changed.", source="health_check", evidence={"health_score": score},
            )
        )  # fmt: skip
    if facts.estimated_value >= LARGE_VALUE and score < 50:
        found.append(
            _found(
                facts, "risk_escalation", "critical" if score < 30 else "high", "risk",
                title="A large deal is at risk", description=f"Worth {facts.estimated_value:,.0f} with health {score}.",
                suggested_action="Bring in a manager.", source="health_check",
                evidence={"health_score": score, "estimated_value": float(facts.estimated_value)},
            )
        )  # fmt: skip
    return found


def _learned(facts: DealFacts) -> list[Found]:
    found: dict[SignalType, Found] = {}
    for item in facts.learned:
        key = item.signal or ""
        if key not in LEARNED:
            continue
        title, action = LEARNED[key]
        kind = TYPE_OF_LEARNED[key]
        category: Category = "risk" if kind == "competitor_mentioned" else "insight"
        found.setdefault(
            kind,
            _found(
                facts, kind, "medium", category, title=title, description=item.text, suggested_action=action, source="email",
                evidence={"quote": item.quote, "source_id": item.source_id, "confidence": item.confidence}, readable=item.readable,
            ),
        )  # fmt: skip
    return list(found.values())


async def list_signals(tx: Tx, caller: Caller, filter: SignalFilter) -> Doc[SignalsOut]:
    """Return a page of visible signals, the gravest first, then the newest; expired ones are hidden."""
    return await tx.doc(
        SignalsOut,
        f"""
        SELECT json_build_object('signals', coalesce(json_agg(x), '[]'), 'count', count(*))::text
          FROM (SELECT {SIGNAL}
                  FROM (SELECT s.* FROM ai_signals s LEFT JOIN deals d ON d.id = s.deal_id
                         WHERE s.status = %(status)s AND (s.expires_at IS NULL OR s.expires_at > %(now)s)
                           AND (%(dealId)s::uuid IS NULL OR s.deal_id = %(dealId)s)
                           AND (%(companyId)s::uuid IS NULL OR s.company_id = %(companyId)s)
                           AND (%(category)s::text IS NULL OR s.category = %(category)s)
                           AND (%(severity)s::text IS NULL OR s.severity = %(severity)s)
                           AND {VISIBLE}
                         ORDER BY {GRAVITY}, s.created_at DESC, s.id
                         LIMIT %(limit)s OFFSET %(offset)s) s
                  LEFT JOIN deals d ON d.id = s.deal_id
                  LEFT JOIN companies c ON c.id = s.company_id
                 ORDER BY {GRAVITY}, s.created_at DESC, s.id) x
        """,
        **filter.model_dump(),
        scope=caller.scope,
    )


async def get_signal(tx: Tx, caller: Caller, signal_id: UUID) -> SignalRow:
    """
    Return one signal.

    Raises `SignalNotFound`.
    """
    return await tx.one(
        SignalRow,
        f"SELECT {SIGNAL} FROM {JOINED} WHERE s.id = %(signal_id)s AND {VISIBLE}",
        missing=SignalNotFound(signal_id=signal_id),
        signal_id=signal_id,
        scope=caller.scope,
    )


async def create_signal(tx: Tx, caller: Caller, body: CreateSignalIn) -> SignalOut:
    """
    Write a signal down by hand.

    Raises `SignalOpen` when the deal has one of this type, `SubjectUnknown`.
    """
    await _check_subjects(tx, caller, body)
    signal_id = await tx.maybe(
        UUID,
        """
        INSERT INTO ai_signals (deal_id, company_id, contact_id, user_id, signal_type, severity, category, title, description, source,
                                suggested_action, created_at)
        VALUES (%(dealId)s, coalesce(%(companyId)s, (SELECT company_id FROM deals WHERE id = %(dealId)s),
                (SELECT company_id FROM contacts WHERE id = %(contactId)s)), %(contactId)s, %(user_id)s, %(signal_type)s, %(severity)s, %(category)s, %(title)s,
                %(description)s, 'manual', %(suggestedAction)s, %(now)s)
        ON CONFLICT (deal_id, signal_type) WHERE status IN ('active', 'acknowledged') AND deal_id IS NOT NULL DO NOTHING
        RETURNING id
        """,
        **body.model_dump(exclude={"save"}),
        user_id=caller.user_id,
    )
    if signal_id is None:
        raise SignalOpen
    return SignalOut(signal=await get_signal(tx, caller, signal_id))


async def detect_signals(tx: Tx, caller: Caller, *, deal_id: UUID | None, save: bool) -> DetectedOut:
    """
    Scan one deal, or every visible open deal, and with `save` open, refresh and close signals accordingly.

    Raises `health.NoOpenDeals` for a deal that is not there.
    """
    scanned = await deal_facts.list_facts(tx, caller, deal_id=deal_id)
    if deal_id and not scanned:
        raise health.NoOpenDeals
    found = [signal for facts in scanned for signal in detect(facts, tx.now)]
    saved = await _save(tx, found, [facts.deal_id for facts in scanned]) if save else 0
    return DetectedOut(signals=[signal.shown() for signal in found], count=len(found), saved=saved)


async def _save(tx: Tx, found: list[Found], scanned: list[UUID]) -> int:
    await tx.run(
        """
        UPDATE ai_signals s SET status = 'resolved', resolved_at = %(now)s
         WHERE s.deal_id = ANY(%(scanned)s) AND s.status IN ('active', 'acknowledged') AND s.source <> 'manual'
           AND s.signal_type = ANY(%(counted)s)
           AND NOT EXISTS (SELECT 1 FROM jsonb_to_recordset(%(found)s) AS f(deal_id uuid, signal_type text)
                            WHERE f.deal_id = s.deal_id AND f.signal_type = s.signal_type)
        """,
        scanned=scanned,
        counted=COUNTED,
        found=Json(found),
    )
    return await tx.run(
        """
        INSERT INTO ai_signals AS s (deal_id, company_id, signal_type, severity, category, title, description, suggested_action, source,
                                     evidence, created_at)
        SELECT f.deal_id, f.company_id, f.signal_type, f.severity, f.category, f.title, f.description, f.suggested_action, f.source,
               f.evidence, %(now)s
          FROM jsonb_to_recordset(%(found)s) AS f(deal_id uuid, company_id uuid, signal_type text, severity text, category text,
                   title text, description text, suggested_action text, source text, evidence jsonb)
         -- What a person has dismissed is not raised again for a month.
         WHERE NOT EXISTS (SELECT 1 FROM ai_signals o WHERE o.deal_id = f.deal_id AND o.signal_type = f.signal_type
                              AND o.status = 'dismissed' AND o.updated_at > %(now)s - interval '30 days')
        ON CONFLICT (deal_id, signal_type) WHERE status IN ('active', 'acknowledged') AND deal_id IS NOT NULL
        DO UPDATE SET severity = excluded.severity, title = excluded.title, description = excluded.description,
                      evidence = excluded.evidence
         WHERE s.source <> 'manual'
        """,
        found=Json(found),
    )


async def update_signal(tx: Tx, caller: Caller, signal_id: UUID, body: UpdateSignalIn) -> SignalOut:
    """
    Acknowledge, resolve, dismiss or weigh a signal.

    Raises `SignalNotFound`, `SignalClosed`.
    """
    signal = await get_signal(tx, caller, signal_id)
    if signal.status in ("resolved", "dismissed"):
        raise SignalClosed(status=signal.status)
    await tx.run(
        """
        UPDATE ai_signals
           SET status = coalesce(%(status)s, status),
               severity = coalesce(%(severity)s, severity),
               action_taken = coalesce(%(actionTaken)s, action_taken),
               dismissed_reason = coalesce(%(dismissedReason)s, dismissed_reason),
               acknowledged_by = CASE WHEN %(status)s::text = 'acknowledged' THEN %(user_id)s ELSE acknowledged_by END,
               acknowledged_at = CASE WHEN %(status)s::text = 'acknowledged' THEN %(now)s ELSE acknowledged_at END,
               resolved_at = CASE WHEN %(status)s::text IN ('resolved', 'dismissed') THEN %(now)s ELSE resolved_at END
         WHERE id = %(signal_id)s
        """,
        **body.model_dump(),
        user_id=caller.user_id,
        signal_id=signal_id,
    )
    return SignalOut(signal=await get_signal(tx, caller, signal_id))


async def dismiss_signal(tx: Tx, caller: Caller, signal_id: UUID) -> None:
    """
    Dismiss a signal; dismissing it again changes nothing.

    Raises `SignalNotFound`.
    """
    signal = await get_signal(tx, caller, signal_id)
    if signal.status in ("active", "acknowledged"):
        await update_signal(tx, caller, signal_id, UpdateSignalIn(status="dismissed"))


async def _check_subjects(tx: Tx, caller: Caller, body: CreateSignalIn) -> None:
    stands = await tx.one(
        bool,
        f"""
        SELECT (%(dealId)s::uuid IS NULL
                OR EXISTS (SELECT 1 FROM deals d WHERE d.id = %(dealId)s AND {deals.VISIBLE}
                              AND (%(companyId)s::uuid IS NULL OR d.company_id = %(companyId)s)))
           AND (%(companyId)s::uuid IS NULL OR EXISTS (SELECT 1 FROM companies WHERE id = %(companyId)s AND deleted_at IS NULL))
           AND (%(contactId)s::uuid IS NULL OR EXISTS (SELECT 1 FROM contacts WHERE id = %(contactId)s AND deleted_at IS NULL))
        """,
        **body.model_dump(include={"dealId", "companyId", "contactId"}),
        scope=caller.scope,
    )
    if not stands:
        raise SubjectUnknown
