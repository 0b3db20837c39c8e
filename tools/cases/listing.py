"""Pages of support cases, one case, and its timeline."""

from typing import Annotated, Any, Literal, LiteralString
from uuid import UUID

from pydantic import AfterValidator, Field

from memory import events
from memory.callers import Caller
from memory.db import Tx, escape_like
from memory.rows import Doc, In
from tools.cases.commands import SEVERITIES, STATUSES, WORKING
from tools.cases.handling import CaseNotFound
from tools.cases.rows import CASE, Actor, CaseOut, CasesOut, TimelineEvent, TimelineOut
from tools.cases.state import STREAM

COUNTED: LiteralString = "1000"
SHORTEST_INDEXED = 3
Sort = Literal[
    "opened_at", "first_response_due_at", "first_response_at", "resolution_due_at", "resolved_at", "closed_at", "next_action_due_at",
    "last_customer_contact_at", "last_agent_response_at", "last_event_at", "severity", "status", "title",
]  # fmt: skip

# A statement for what is asked and no condition more, so that each gets the plan of its own index.
BY: dict[str, LiteralString] = {
    "product_id": "m.product_id = %(product_id)s",
    "company_id": "m.company_id = %(company_id)s",
    "company_product_id": "m.company_product_id = %(company_product_id)s",
    "status": "m.status = ANY(%(status)s)",
    "severity": "m.severity = ANY(%(severity)s)",
    "owner_id": "m.owner_id = %(owner_id)s",
}
OPEN: LiteralString = "m.status NOT IN ('resolved', 'closed')"
BREACHED: LiteralString = "(m.first_response_breached OR m.resolution_breached OR m.update_breached)"
SORTED: dict[str, LiteralString] = {
    "opened_at": "m.opened_at",
    "first_response_due_at": "m.first_response_due_at",
    "first_response_at": "m.first_response_at",
    "resolution_due_at": "m.resolution_due_at",
    "resolved_at": "m.resolved_at",
    "closed_at": "m.closed_at",
    "next_action_due_at": "m.next_action_due_at",
    "last_customer_contact_at": "m.last_customer_contact_at",
    "last_agent_response_at": "m.last_agent_response_at",
    "last_event_at": "m.last_event_at",
    "severity": "array_position('{low,medium,high,urgent,critical}', m.severity)",
    "status": "array_position('{open,in_progress,waiting_on_customer,waiting_on_internal,escalated,resolved,closed}', m.status)",
    "title": "lower(m.title)",
}


def _words_of(offered: tuple[str, ...]) -> AfterValidator:
    def check(text: str | None) -> str | None:
        wrong = [word for word in (text or "").split(",") if text is not None and word.strip() not in offered]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is none of {', '.join(offered)}")
        return text

    return AfterValidator(check)


class CaseFilter(In):
    """
    Which cases to list. `status` and `severity` take several words with commas; `search` looks into titles.

    `sla_breached` is about any of the three promises. What has no value in the sorted column comes last.
    """

    product_id: UUID | None = None
    company_id: UUID | None = None
    company_product_id: UUID | None = None
    status: Annotated[str | None, Field(max_length=200), _words_of(STATUSES)] = None
    severity: Annotated[str | None, Field(max_length=200), _words_of(SEVERITIES)] = None
    owner_id: UUID | None = None
    sla_breached: bool | None = None
    search: str | None = Field(default=None, max_length=200)
    sort: Sort = "opened_at"
    order: Literal["asc", "desc"] = "desc"
    limit: int = Field(default=50, ge=1, le=200)
    offset: int = Field(default=0, ge=0, le=2**31 - 1)


async def list_cases(tx: Tx, caller: Caller, filter: CaseFilter) -> Doc[CasesOut]:
    """
    Return a page of cases.

    One more than the page is looked for, which tells whether there are more; the count stops at 1,000, so that it costs
    the same however many cases there are. What can be constant in the limits is constant for the planner: of a parameter
    it thinks that it means a tenth of the table, joins for that, and plans anew every time to find out.
    """
    titled = await _titled(tx, filter.search)
    where = _where(filter, titled)
    order = _order(filter)
    offset: LiteralString = "OFFSET %(offset)s" if filter.offset else ""
    return await tx.doc(
        CasesOut,
        f"""
        WITH found AS MATERIALIZED (
            SELECT id FROM (SELECT m.support_case_id AS id FROM support_case_read_model m WHERE {where}
                             ORDER BY {order} LIMIT 201 {offset}) longest
             LIMIT %(limit)s + 1
        )
        SELECT json_build_object(
                   'data', coalesce((SELECT json_agg(x) FROM (
                       SELECT {CASE}, json_build_object('id', c.id, 'name', c.name) AS company
                         FROM (SELECT id FROM found LIMIT %(limit)s) page
                         JOIN support_case_read_model m ON m.support_case_id = page.id
                         JOIN companies c ON c.id = m.company_id
                        ORDER BY {order}) x), '[]'),
                   'pagination', json_build_object(
                       'total', (SELECT count(*) FROM (
                           SELECT FROM support_case_read_model m WHERE {where} LIMIT {COUNTED}) n),
                       'limit', %(limit)s::int, 'offset', %(offset)s::int,
                       'hasMore', (SELECT count(*) FROM found) > %(limit)s))::text
        """,
        **_params(filter),
        titled=titled,
    )


async def _titled(tx: Tx, search: str | None) -> list[UUID] | None:
    """
    Return the cases whose title has these words, or None when so many have that reading the newest first finds a page sooner.

    What is shorter than the runs of letters that titles are indexed by is in many titles.
    """
    if not search or len(search) < SHORTEST_INDEXED:
        return None
    found = await tx.many(
        UUID,
        f"""
        SELECT id FROM support_cases
         WHERE letter_runs(lower(title)) @> letter_runs(%(words)s) AND lower(title) LIKE %(search)s
         LIMIT {COUNTED}
        """,
        words=search.lower(),
        search=_pattern(search),
    )
    return found if len(found) < int(COUNTED) else None


async def get_case(tx: Tx, caller: Caller, case_id: UUID) -> Doc[CaseOut]:
    """
    Return one case with its company and whoever has it in hand.

    Raises `CaseNotFound`.
    """
    return await tx.doc(
        CaseOut,
        f"""
        SELECT json_build_object('data', row_to_json(x))::text
          FROM (SELECT {CASE}, json_build_object('id', c.id, 'name', c.name, 'domain', c.domain) AS company,
                       CASE WHEN u.id IS NOT NULL THEN json_build_object('id', u.id, 'name', u.name, 'email', u.email) END AS owner
                  FROM support_case_read_model m
                  JOIN companies c ON c.id = m.company_id
                  LEFT JOIN users u ON u.id = m.owner_id
                 WHERE m.support_case_id = %(case_id)s) x
        """,
        missing=CaseNotFound(case_id=case_id),
        case_id=case_id,
    )


async def get_timeline(tx: Tx, caller: Caller, case_id: UUID) -> TimelineOut:
    """
    Return everything that happened to the case, in order; private notes only to whoever wrote them.

    Raises `CaseNotFound`.
    """
    happened = await events.read(tx, STREAM, case_id)
    if not happened:
        raise CaseNotFound(case_id=case_id)
    return TimelineOut(data=[_told(event) for event in happened if _is_for(caller, event)])


def _is_for(caller: Caller, event: events.Recorded) -> bool:
    if event.type != "InternalNoteAdded" or event.data.get("visibility") != "private":
        return True
    return caller.user_id is not None and event.actor_id == str(caller.user_id)


def _told(event: events.Recorded) -> TimelineEvent:
    return TimelineEvent(
        id=event.id,
        type=event.type,
        data=event.data,
        sequence=event.sequence,
        occurredAt=event.occurred_at,
        actor=Actor(type=event.actor_type, id=event.actor_id),
        metadata=event.metadata,
    )


def _where(filter: CaseFilter, titled: list[UUID] | None) -> LiteralString:
    """Return the conditions of what the filter asks."""
    conditions: list[LiteralString] = [BY[name] for name in BY if getattr(filter, name) is not None]
    if filter.sla_breached is not None:
        conditions.append(BREACHED if filter.sla_breached else f"NOT {BREACHED}")
    if filter.status and WORKING.issuperset(_split(filter.status)):
        conditions.append(OPEN)  # says nothing new, but open cases have indexes of their own
    if filter.search:
        conditions.append("lower(m.title) LIKE %(search)s" if titled is None else "m.support_case_id = ANY(%(titled)s)")
    return " AND ".join(conditions) or "true"


def _order(filter: CaseFilter) -> LiteralString:
    direction: LiteralString = "DESC" if filter.order == "desc" else "ASC"
    if filter.sort == "opened_at":
        # The index is read forwards or backwards.
        tie: LiteralString = "ASC" if filter.order == "desc" else "DESC"
        return f"m.opened_at {direction}, m.support_case_id {tie}"
    return f"{SORTED[filter.sort]} {direction} NULLS LAST, m.opened_at DESC, m.support_case_id"


def _params(filter: CaseFilter) -> dict[str, Any]:
    return {
        "product_id": filter.product_id,
        "company_id": filter.company_id,
        "company_product_id": filter.company_product_id,
        "status": _split(filter.status),
        "severity": _split(filter.severity),
        "owner_id": filter.owner_id,
        "search": _pattern(filter.search) if filter.search else None,
        "limit": filter.limit,
        "offset": filter.offset,
    }


def _pattern(words: str) -> str:
    return f"%{escape_like(words.lower())}%"


def _split(text: str | None) -> list[str]:
    return sorted({word.strip() for word in text.split(",")}) if text else []
