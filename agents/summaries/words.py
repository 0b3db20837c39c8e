"""A summary's context as words: the records (source 0) and the numbered material."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from agents.purposes import About, Purpose
from agents.readers import reads
from agents.summaries.outputs import (
    COMPANY,
    CONTACT,
    DEAL,
    CompanyInputs,
    ContactInputs,
    DealInputs,
    Material,
    about,
)
from memory.callers import Caller
from memory.db import Database
from tools import summary_context
from tools.summary_context import DealInContext, EntityType, Promise, SummaryContext

CLOSED = ("closed_won", "closed_lost", "closed_converted")


@reads(DEAL, "deal")
async def read_deal(db: Database, caller: Caller, deal_id: UUID, now: datetime) -> tuple[BaseModel, About]:
    """Return what the summary of this deal would be made of now."""
    return await _read(db, caller, "deal", deal_id, now)


@reads(COMPANY, "company")
async def read_company(db: Database, caller: Caller, company_id: UUID, now: datetime) -> tuple[BaseModel, About]:
    """Return what the summary of this company would be made of now."""
    return await _read(db, caller, "company", company_id, now)


@reads(CONTACT, "contact")
async def read_contact(db: Database, caller: Caller, contact_id: UUID, now: datetime) -> tuple[BaseModel, About]:
    """Return what the summary of this contact would be made of now."""
    return await _read(db, caller, "contact", contact_id, now)


async def _read(
    db: Database, caller: Caller, type: EntityType, subject_id: UUID, now: datetime
) -> tuple[BaseModel, About]:
    async with db.transaction(now) as tx:
        context = await summary_context.load_context(tx, caller, type, subject_id)
    return question(context, now)[1], about(type, subject_id)


def question(context: SummaryContext, now: datetime) -> tuple[Purpose[Any, Any], BaseModel]:
    """Return what to ask about this context, and with which words."""
    material = materials(context)
    company, deals, engagement = company_words(context), deals_words(context, now), engagement_words(context, now)
    contacts = contacts_words(context)
    promises = "\n".join(_promise(promise) for promise in context.promises)
    match context.type:
        case "deal":
            tasks = "\n".join([*context.tasks, promises]).strip()
            return DEAL, DealInputs(
                dealInfo=deals, companyInfo=company, contactsInfo=contacts, activitiesInfo=material, tasksInfo=tasks,
                metricsInfo=engagement,
            )  # fmt: skip
        case "company":
            products = f"Products: {', '.join(context.company.products) or 'none'}"
            return COMPANY, CompanyInputs(
                companyInfo=company, contactsInfo=contacts, dealsInfo=deals, activitiesInfo=material, productsInfo=products,
                engagementInfo=f"{engagement}\n{promises}".strip(),
            )  # fmt: skip
        case "contact":
            return CONTACT, ContactInputs(
                contactInfo=contacts, companyInfo=company, dealsInfo=deals, communicationsInfo=material,
                engagementInfo=f"{engagement}\n{promises}".strip(),
            )  # fmt: skip


def records(inputs: BaseModel) -> str:
    """Return source 0: everything in the question that comes from our own records."""
    return "\n".join(value for value in dict(inputs).values() if isinstance(value, str) and value)


def materials(context: SummaryContext) -> list[Material]:
    """Return what was said and done, numbered from 1, newest first."""
    return [
        Material(
            source=source.number, type=source.type, date=source.occurred_at.date().isoformat(), direction=source.direction,
            who=source.who, title=source.title, text=source.text,
        )
        for source in context.sources
    ]  # fmt: skip


def company_words(context: SummaryContext) -> str:
    """Return the company's record in words."""
    company = context.company
    lines = [
        f"Company: {company.name}",
        f"Status: {company.status}; segment: {company.segment}; industry: {company.industry}; size: {company.agent_count} users",
    ]
    if company.crm_platform:
        lines.append(f"CRM platform: {company.crm_platform}")
    if company.became_customer_at:
        lines.append(f"Customer since {company.became_customer_at.date().isoformat()}")
    return "\n".join(lines)


def contacts_words(context: SummaryContext) -> str:
    """Return the people, numbered, one a line."""
    lines = [
        f"{person.number}. {person.name}, {person.title or 'title unknown'}, role: {person.role or 'unknown'}"
        for person in context.contacts
    ]
    return "\n".join(lines) or "No contact is known."


def deals_words(context: SummaryContext, now: datetime) -> str:
    """Return the deals, one a line."""
    return "\n".join(_deal(deal, now) for deal in context.deals) or "There is no deal."


def engagement_words(context: SummaryContext, now: datetime) -> str:
    """Return the counts of what was exchanged."""
    seen = context.engagement
    if not seen.total or seen.last_at is None:
        return "Nothing has been exchanged yet."
    lines = [
        f"Messages in all: {seen.total}; in the last 30 days: {seen.last_30d} ({seen.inbound_30d} from them, {seen.outbound_30d} from us)",
        f"Last contact: {seen.last_at.date().isoformat()}, {(now - seen.last_at).days} days ago",
    ]
    if seen.last_inbound_at:
        lines.append(
            f"Last heard from them: {seen.last_inbound_at.date().isoformat()}, {(now - seen.last_inbound_at).days} days ago"
        )
    if seen.read:
        lines.append(
            f"Of {seen.read} messages read, {seen.positive} sound positive and {seen.negative} worried or negative"
        )
    return "\n".join(lines)


def _deal(deal: DealInContext, now: datetime) -> str:
    if deal.stage in CLOSED:
        ended = f", closed {deal.closed_at.date().isoformat()}" if deal.closed_at else ""
        return f"Deal: {deal.name}, {deal.stage}, worth {deal.estimated_value:,.0f}{ended}"
    days = (now - deal.stage_entered_at).days
    close = f", expected to close {deal.expected_close_date}" if deal.expected_close_date else ""
    return (
        f"Deal: {deal.name}, in stage {deal.stage} for {days} days, worth {deal.estimated_value:,.0f}\n"
        f"Health {deal.health_score} of 100 ({deal.health_trend or 'no trend yet'}){close}, owner {deal.owner_name or 'nobody'}"
    )


def _promise(promise: Promise) -> str:
    who = "We promised" if promise.direction == "we_promised" else "They promised"
    due = f" (due {promise.due_by.date().isoformat()})" if promise.due_by else ""
    return f"{who}: {promise.promise_text}{due}"
