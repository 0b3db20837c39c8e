"""
What there is to advise on: a communication that was read, and the one product under way that it is about.

What an agent proposes is an event of the product like any other; the words it rests on are kept beside it, for those who
may read the message.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, LiteralString
from uuid import UUID

from memory.callers import Caller
from memory.db import Json, Tx
from memory.errors import Conflict
from memory.rows import In, Row
from tools import lifecycle, users
from tools.communications.rows import VISIBLE, Channel
from tools.lifecycle import CreateSuggestionIn
from tools.lifecycle.state import ProcessType

JOB = "advising.advise"
FRESH = timedelta(days=14)
"""How long a message is a reason to do something, and how long what is proposed of it waits."""
SaidKind = Literal["our_promise", "their_promise", "question", "objection", "signal", "competitor"]

# A message of a product that is under way, or of a company that has one such product and no more.
_ADVISABLE: LiteralString = """
    communications m
    JOIN communication_analysis a ON a.id = m.current_analysis_id
    CROSS JOIN LATERAL (
        SELECT (array_agg(r.company_product_id))[1] AS id
          FROM company_product_read_model r
          JOIN company_products p ON p.id = r.company_product_id AND p.merged_into_id IS NULL
         WHERE r.company_id = m.company_id AND r.current_process_id IS NOT NULL AND r.process_completed_at IS NULL
           AND (m.company_product_id IS NULL OR r.company_product_id = m.company_product_id)
        HAVING count(*) = 1) open
   WHERE m.id = %(communication_id)s AND m.direction <> 'internal' AND m.excluded_at IS NULL AND m.noise_type IS NULL
     AND m.occurred_at > %(since)s
"""
# What the message says, as its present analysis has it; a promise that was kept or withdrawn is said no more.
_SAID: LiteralString = """
    SELECT CASE q.direction WHEN 'we_promised' THEN 'our_promise' ELSE 'their_promise' END AS kind, '' AS name,
           q.promise_text AS says, q.quote, coalesce(q.confidence, 0)::float AS confidence, q.due_by AS due_at
      FROM promises q
     WHERE q.source_communication_id = m.id AND q.status IN ('pending', 'overdue') AND NOT q.is_hidden
       AND q.quote IS NOT NULL
    UNION ALL
    SELECT 'question', '', coalesce(x.question, ''), x.quote, x.confidence, NULL
      FROM jsonb_to_recordset(a.key_questions) AS x (question text, quote text, confidence float)
    UNION ALL
    SELECT 'objection', coalesce(x.objection, ''), '', x.quote, x.confidence, NULL
      FROM jsonb_to_recordset(a.extracted_objections) AS x (objection text, quote text, confidence float, addressed boolean)
     WHERE NOT coalesce(x.addressed, false)
    UNION ALL
    SELECT 'signal', coalesce(x.signal, ''), '', x.quote, x.confidence, NULL
      FROM jsonb_to_recordset(a.extracted_signals) AS x (signal text, quote text, confidence float)
    UNION ALL
    SELECT 'competitor', coalesce(x.context, ''), '', x.quote, x.confidence, NULL
      FROM jsonb_to_recordset(a.extracted_competitors) AS x (context text, quote text, confidence float)
"""


class NothingToAdvise(Conflict):
    """Communication {communication_id} has not been read, is too old, or belongs to no single product under way."""


class Said(Row):
    """One thing that the message says: `name` is its kind of signal or objection, `says` a promise or question as read."""

    kind: SaidKind
    name: str
    says: str
    quote: str
    confidence: float
    due_at: datetime | None


class StageOffered(Row):
    """A stage that the product may be in; none that ends its process."""

    id: UUID
    name: str
    stage_order: int


class AdvisingSubject(Row):
    """A message, what it says, and where the product stands that it is about. `timezone` is the mailbox owner's."""

    communication_id: UUID
    user_id: UUID
    channel: Channel
    direction: Literal["inbound", "outbound"]
    occurred_at: datetime
    timezone: str
    subject: str | None
    content: str
    sentiment: str | None
    urgency: str | None
    injection_suspected: bool
    company_id: UUID
    contact_id: UUID | None
    company_product_id: UUID
    product_name: str
    owner_id: UUID | None
    process_id: UUID
    process_type: ProcessType
    stage_id: UUID
    stage_name: str
    stage_order: int
    stage_entered_at: datetime
    next_step: str | None
    next_step_due_at: datetime | None
    stages: list[StageOffered]
    said: list[Said]


async def find_subject(tx: Tx, caller: Caller, communication_id: UUID) -> AdvisingSubject | None:
    """Return what there is to advise on, as far as the caller may read it, or None."""
    return await tx.maybe(
        AdvisingSubject,
        f"""
        SELECT m.id AS communication_id, m.user_id, m.channel, m.direction, m.occurred_at, u.timezone, m.subject,
               left(coalesce(m.full_content, m.content_preview, ''), 200000) AS content, a.sentiment, a.urgency,
               coalesce((a.flags ->> 'injection_suspected')::boolean, false) AS injection_suspected,
               m.company_id, m.contact_id, r.company_product_id, p.name AS product_name, r.owner_id,
               r.current_process_id AS process_id, r.current_process_type AS process_type, r.current_stage_id AS stage_id,
               r.current_stage_name AS stage_name, r.current_stage_order AS stage_order, r.stage_entered_at,
               r.next_step, r.next_step_due_at,
               coalesce((SELECT json_agg(s ORDER BY s.stage_order) FROM (
                   SELECT s.id, s.name, s.stage_order FROM product_process_stages s
                    WHERE s.process_id = r.current_process_id AND NOT s.is_terminal AND s.archived_at IS NULL) s), '[]') AS stages,
               coalesce((SELECT json_agg(s ORDER BY s.confidence DESC, s.quote) FROM ({_SAID}) s
                          WHERE s.quote <> '' AND s.confidence IS NOT NULL), '[]') AS said
          FROM (SELECT open.id AS open_id, m.*, a.id AS analysis_id FROM {_ADVISABLE}) m
          JOIN communication_analysis a ON a.id = m.analysis_id
          JOIN company_product_read_model r ON r.company_product_id = m.open_id
          JOIN products p ON p.id = r.product_id
          JOIN users u ON u.id = m.user_id
         WHERE {VISIBLE}
        """,
        communication_id=communication_id,
        since=tx.now - FRESH,
        scope=caller.scope,
    )


async def get_subject(tx: Tx, caller: Caller, communication_id: UUID) -> AdvisingSubject:
    """
    Return what there is to advise on.

    Raises `NothingToAdvise`.
    """
    found = await find_subject(tx, caller, communication_id)
    if found is None:
        raise NothingToAdvise(communication_id=communication_id)
    return found


async def find_adviser(tx: Tx, communication_id: UUID) -> Caller | None:
    """Return whose mailbox the message is in, if there is something to advise on: an agent advises with their rights."""
    user_id = await _find_mailbox(tx, communication_id)
    return await users.find_caller_by_id(tx, user_id) if user_id else None


async def promise_advice(tx: Tx, communication_id: UUID) -> None:
    """Have an agent look, after this transaction, at what follows from a message for the product that it is about."""
    if await _find_mailbox(tx, communication_id):
        await tx.enqueue(JOB, key=str(communication_id), communication_id=communication_id)


async def _find_mailbox(tx: Tx, communication_id: UUID) -> UUID | None:
    return await tx.maybe(
        UUID, f"SELECT m.user_id FROM {_ADVISABLE}", communication_id=communication_id, since=tx.now - FRESH
    )


# Proposing ------------------------------------------------------------------------------------------------------------


class Proposal(In):
    """What is proposed, and the words of the message that it rests on."""

    suggestion: CreateSuggestionIn
    quote: str


class Proposals(In):
    """What is proposed of one message, for a product that stood in this stage of this process."""

    communication_id: UUID
    company_product_id: UUID
    process_id: UUID
    stage_id: UUID
    proposals: list[Proposal]


class _Standing(Row):
    process_id: UUID | None
    stage_id: UUID | None
    known: list[tuple[str, dict[str, Any] | None]]


async def propose(tx: Tx, agent: Caller, given: Proposals) -> list[UUID]:
    """
    Suggest what still makes sense and is not waiting already, and return the new suggestions.

    A product whose process has ended gets none, one that has moved no other stage. What this message has led to before is
    not proposed again, whatever became of it.
    """
    await lifecycle.hold(tx, [given.company_product_id])
    now = await _standing(tx, given)
    taken = {(kind, _target(kind, action)) for kind, action in now.known}
    new: list[Proposal] = []
    for proposal in given.proposals:
        suggestion = proposal.suggestion
        action = suggestion.suggestedAction and suggestion.suggestedAction.model_dump(mode="json")
        what = (suggestion.suggestionType, _target(suggestion.suggestionType, action))
        moved = suggestion.suggestionType == "advance_stage" and now.stage_id != given.stage_id
        if now.process_id == given.process_id and not moved and what not in taken:
            taken.add(what)
            new.append(proposal)
    if new:
        await lifecycle.execute(tx, agent, given.company_product_id, *(proposal.suggestion for proposal in new))
        await _keep_evidence(tx, given.communication_id, new)
    return [proposal.suggestion.suggestionId for proposal in new]


def _target(kind: str, action: dict[str, Any] | None) -> str:
    """Return what makes two proposals of a kind the same: the stage, the task; a product has one next step and one risk."""
    params: dict[str, Any] = (action or {}).get("params") or {}
    match kind:
        case "advance_stage":
            return str(params.get("toStageId"))
        case "add_task":
            return " ".join(str(params.get("title")).casefold().split())
        case _:
            return ""


async def _standing(tx: Tx, given: Proposals) -> _Standing:
    """Return where the product stands, and what is proposed for it or was of this message; its history is locked."""
    return await tx.one(
        _Standing,
        """
        SELECT CASE WHEN r.process_completed_at IS NULL THEN r.current_process_id END AS process_id,
               r.current_stage_id AS stage_id,
               coalesce((SELECT json_agg(json_build_array(s.suggestion_type, s.suggested_action))
                           FROM ai_suggestions_read_model s
                          WHERE s.company_product_id = r.company_product_id
                            AND (s.source_id = %(source_id)s
                                 OR s.status = 'pending' AND coalesce(s.expires_at > %(now)s, true))), '[]') AS known
          FROM company_product_read_model r
         WHERE r.company_product_id = %(company_product_id)s
        """,
        company_product_id=given.company_product_id,
        source_id=str(given.communication_id),
    )


async def _keep_evidence(tx: Tx, communication_id: UUID, new: Sequence[Proposal]) -> None:
    rows = [{"suggestion_id": str(each.suggestion.suggestionId), "quote": each.quote} for each in new]
    await tx.run(
        """
        INSERT INTO suggestion_evidence (suggestion_id, communication_id, quote, created_at)
        SELECT n.suggestion_id, %(communication_id)s, n.quote, %(now)s
          FROM jsonb_to_recordset(%(rows)s) AS n (suggestion_id uuid, quote text)
        """,
        communication_id=communication_id,
        rows=Json(rows),
    )
