"""Opening a case and carrying commands out: load, decide, append, in the caller's transaction."""

from typing import Any, Literal
from uuid import UUID

from memory import events
from memory.callers import SYSTEM, Caller
from memory.db import Tx
from memory.errors import Conflict, Forbidden, Invalid, NotFound
from memory.events import Event, StreamMoved
from memory.rows import Named, Row
from tools.cases import clocks, decisions
from tools.cases import commands as asked
from tools.cases.commands import Command, CreateCaseIn
from tools.cases.decisions import Setting
from tools.cases.state import STREAM, CaseState, evolve, replay

# What changes how healthy a customer is; the rest is talk.
TELLING = frozenset(
    {
        "SupportCaseCreated",
        "SupportCaseStatusChanged",
        "SupportCaseSeverityChanged",
        "SupportCaseResolved",
        "SupportCaseClosed",
        "SupportCaseReopened",
        "SupportCaseEscalated",
        "CsatSubmitted",
        "SlaBreached",
    }
)


class CaseNotFound(NotFound):
    """Support case {case_id} does not exist."""


class CompanyNotFound(NotFound):
    """Company {company_id} does not exist."""


class ProductNotFound(NotFound):
    """Company product {company_product_id} does not exist."""


class ContactNotFound(NotFound):
    """Contact {contact_id} does not exist."""


class UserNotFound(NotFound):
    """User {user_id} does not exist."""


class UserAway(Invalid):
    """{name} is not active here any more: nothing can be given to them."""


class ProductOfOtherCompany(Invalid):
    """A case is about a product of its own company: this one is another company's."""


class ContactOfOtherCompany(Invalid):
    """The contact of a case works at its company: this one is another company's."""


class CaseExists(Conflict):
    """There is a case with this source and external_id already."""

    shows = ("existing",)


class PeopleOnly(Forbidden):
    """An agent may suggest; a person acts on a case."""


class CaseOpenedOut(Row):
    """The new case, the event of its opening, and the version that it is at."""

    success: Literal[True] = True
    caseId: UUID
    eventId: UUID
    version: int


class CaseChangedOut(Row):
    """The event that the command was about, its place in the case's history, and the version that the case is at now."""

    success: Literal[True] = True
    eventId: UUID
    sequenceNumber: int
    version: int


class _Place(Row):
    """Where a case stands."""

    company_product_id: UUID | None
    product_id: UUID | None


class _Person(Named):
    """Somebody whom a command names."""

    is_active: bool


class _Contact(Row):
    """The contact of a new case."""

    company_id: UUID
    name: str
    email: str | None


async def open_case(
    tx: Tx, caller: Caller, body: CreateCaseIn, *, case_id: UUID | None = None, command: events.Command | None = None
) -> CaseOpenedOut:
    """
    Open a case, with a clock for each answer that is owed, and have the health of the company's product judged again.

    A contact's name and address are copied into the case unless the body gives others.

    Raises `PeopleOnly`, `CompanyNotFound`, `ProductNotFound`, `ProductOfOtherCompany`, `ContactNotFound`,
    `ContactOfOtherCompany`, `CaseExists`, `CommandRepeated`.
    """
    _people_only(caller)
    if command is not None and (kept := await events.find_result(tx, command)) is not None:
        return CaseOpenedOut(
            caseId=kept.aggregate_id, eventId=kept.result[0]["eventId"], version=kept.result[-1]["sequenceNumber"]
        )
    product_id = await _product_of(tx, body)
    body = await _with_contact(tx, body)
    setting = Setting(now=tx.now, targets=await clocks.find_targets(tx, product_id, body.severity))
    new = decisions.open_case(body, setting)
    case_id = await _register(tx, body, case_id)
    await _judge_health(tx, body.company_product_id, new)
    recorded = await events.append(
        tx, caller, STREAM, case_id, 0, new, command=command or events.Command("create_case")
    )
    return CaseOpenedOut(caseId=case_id, eventId=recorded[0].id, version=recorded[-1].sequence)


async def execute(
    tx: Tx, caller: Caller, case_id: UUID, body: Command, *, command: events.Command | None = None
) -> CaseChangedOut:
    """
    Carry one command out.

    What the clock had made happen unnoticed is recorded before it, so that nobody settles in time what was late.

    Raises `PeopleOnly`, `CaseNotFound`, `UserNotFound`, `UserAway`, `StreamMoved` when the case is not at
    `expectedVersion`, and the refusals of `decisions.decide`.
    """
    _people_only(caller)
    state = await _load(tx, case_id)
    if command is not None and (kept := await events.find_result(tx, command)) is not None:
        return _changed(kept.result)
    if body.expectedVersion not in (None, state.version):
        raise StreamMoved(currentVersion=state.version)
    place = await _place(tx, case_id)
    setting = await _setting(tx, caller, place, state, body)
    loaded = state.version
    late = decisions.due_now(state, tx.now)
    for event in late:
        evolve(state, event.type, event.data, tx.now)
    new = decisions.decide(state, body, setting)
    # Before the append: nothing may wait for a lock once the order of commits is held.
    await _judge_health(tx, place.company_product_id, [*late, *new])
    await events.append(tx, SYSTEM, STREAM, case_id, loaded, late, command=events.Command("record_due"))
    recorded = await events.append(
        tx, caller, STREAM, case_id, state.version, new, command=command or events.Command(body.command)
    )
    return _changed(events.results(recorded))


def _changed(result: list[dict[str, Any]]) -> CaseChangedOut:
    return CaseChangedOut(
        eventId=result[0]["eventId"], sequenceNumber=result[0]["sequenceNumber"], version=result[-1]["sequenceNumber"]
    )


async def record_due(tx: Tx, case_id: UUID) -> int:
    """Record the warnings and breaches of a case that are due, and return how many there were."""
    state = await _load(tx, case_id)
    late = decisions.due_now(state, tx.now)
    if late:
        await _judge_health(tx, (await _place(tx, case_id)).company_product_id, late)
        await events.append(tx, SYSTEM, STREAM, case_id, state.version, late, command=events.Command("record_due"))
    return len(late)


def _people_only(caller: Caller) -> None:
    if caller.kind == "ai":
        raise PeopleOnly


async def _load(tx: Tx, case_id: UUID) -> CaseState:
    """
    Return the case, locked until the transaction ends.

    Raises `CaseNotFound`.
    """
    state = replay((await events.load(tx, STREAM, case_id)).events)
    if state.status is None:
        raise CaseNotFound(case_id=case_id)
    return state


async def _place(tx: Tx, case_id: UUID) -> _Place:
    return await tx.one(
        _Place,
        """
        SELECT c.company_product_id, p.product_id
          FROM support_cases c LEFT JOIN company_products p ON p.id = c.company_product_id
         WHERE c.id = %(case_id)s
        """,
        missing=CaseNotFound(case_id=case_id),
        case_id=case_id,
    )


async def _setting(tx: Tx, caller: Caller, place: _Place, state: CaseState, body: Command) -> Setting:
    """Return what the command is decided on; only what it needs is asked for."""
    severity: str | None = None
    person_id: UUID | None = None
    match body:
        case asked.ChangeCaseSeverityIn():
            severity = body.to_severity
        case asked.ReopenCaseIn() | asked.ConfigureSlaIn():
            severity = state.severity
        case asked.AssignCaseIn():
            person_id = body.owner_id
        case asked.SetCaseActionIn():
            person_id = body.assigned_to_id
        case asked.EscalateCaseIn():
            person_id = body.escalated_to_user_id
        case asked.AddCaseNoteIn():
            await _check_mentioned(tx, body.mentioned_user_ids)
        case _:
            pass
    return Setting(
        now=tx.now,
        user_id=caller.user_id,
        is_manager=caller.sees_all,
        targets=await clocks.find_targets(tx, place.product_id, severity) if severity else None,
        person=await _active(tx, person_id) if person_id else None,
    )


async def _active(tx: Tx, user_id: UUID) -> _Person:
    person = await tx.one(
        _Person,
        "SELECT id, name, is_active FROM users WHERE id = %(user_id)s",
        missing=UserNotFound(user_id=user_id),
        user_id=user_id,
    )
    if not person.is_active:
        raise UserAway(name=person.name)
    return person


async def _check_mentioned(tx: Tx, user_ids: list[UUID]) -> None:
    if not user_ids:
        return
    known = await tx.many(UUID, "SELECT id FROM users WHERE id = ANY(%(user_ids)s)", user_ids=user_ids)
    for user_id in user_ids:
        if user_id not in known:
            raise UserNotFound(user_id=user_id)


async def _product_of(tx: Tx, body: CreateCaseIn) -> UUID | None:
    """Return the product that the case is about, after checking that company and product belong together."""
    await tx.one(
        UUID,
        "SELECT id FROM companies WHERE id = %(company_id)s AND deleted_at IS NULL FOR SHARE",
        missing=CompanyNotFound(company_id=body.company_id),
        company_id=body.company_id,
    )
    if body.company_product_id is None:
        return None
    own = await tx.tuples(
        "SELECT company_id = %(company_id)s, product_id FROM company_products WHERE id = %(company_product_id)s",
        company_id=body.company_id,
        company_product_id=body.company_product_id,
    )
    if not own:
        raise ProductNotFound(company_product_id=body.company_product_id)
    is_theirs, product_id = own[0]
    if not is_theirs:
        raise ProductOfOtherCompany
    return product_id


async def _with_contact(tx: Tx, body: CreateCaseIn) -> CreateCaseIn:
    """Return the body with the name and the address of its contact."""
    if body.contact_id is None:
        return body
    contact = await tx.one(
        _Contact,
        "SELECT company_id, name, email FROM contacts WHERE id = %(contact_id)s AND deleted_at IS NULL",
        missing=ContactNotFound(contact_id=body.contact_id),
        contact_id=body.contact_id,
    )
    if contact.company_id != body.company_id:
        raise ContactOfOtherCompany
    copied = {"contact_name": body.contact_name or contact.name, "contact_email": body.contact_email or contact.email}
    return body.model_copy(update=copied)


async def _register(tx: Tx, body: CreateCaseIn, case_id: UUID | None) -> UUID:
    """
    Write down who the case belongs to, and begin its stream.

    Raises `CaseExists`.
    """
    made = await tx.maybe(
        UUID,
        """
        WITH made AS (
            INSERT INTO support_cases (id, company_id, company_product_id, source, external_id, title, created_at)
            VALUES (coalesce(%(case_id)s::uuid, gen_random_uuid()), %(company_id)s, %(company_product_id)s, %(source)s, %(external_id)s, %(title)s, %(now)s)
            ON CONFLICT (source, external_id) WHERE external_id IS NOT NULL DO NOTHING
            RETURNING id
        ), begun AS (
            INSERT INTO event_streams (aggregate_type, aggregate_id) SELECT 'support_case', id FROM made
        )
        SELECT id FROM made
        """,
        case_id=case_id,
        company_id=body.company_id,
        company_product_id=body.company_product_id,
        source=body.source,
        external_id=body.external_id,
        title=body.title,
    )
    if made is None:
        raise CaseExists(existing=await _existing(tx, body))
    return made


async def _existing(tx: Tx, body: CreateCaseIn) -> dict[str, str]:
    case_id = await tx.one(
        UUID,
        "SELECT id FROM support_cases WHERE source = %(source)s AND external_id = %(external_id)s",
        source=body.source,
        external_id=body.external_id,
    )
    return {"id": str(case_id)}


async def _judge_health(tx: Tx, company_product_id: UUID | None, happened: list[Event]) -> None:
    """Have the health of the company's product judged again when something happened that changes it."""
    if company_product_id is not None and any(event.type in TELLING for event in happened):
        await tx.enqueue("health.evaluate", key=str(company_product_id), company_product_id=company_product_id)
