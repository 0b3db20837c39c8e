"""Summaries of deals, companies and contacts over HTTP."""

import asyncio
from datetime import timedelta
from typing import Annotated, Literal
from uuid import UUID
from weakref import WeakValueDictionary

from fastapi import APIRouter, Query
from pydantic import Field, model_validator

from api.deps import Services, StartsModel, User
from api.services import Services as ProcessServices
from memory.callers import Caller
from memory.db import clock
from memory.errors import NotFound, Outage
from memory.rows import In, Row
from tools import summaries, summary_context
from tools.summaries import SummariesOut, SummaryOut, SummaryRow, SummaryStats
from tools.summary_context import EntityType

router = APIRouter(prefix="/api/ai/summaries", tags=["AI"])
_under_way: WeakValueDictionary[tuple[str, UUID, UUID | None], asyncio.Lock] = WeakValueDictionary()


class MakeSummaryIn(In):
    """One subject (`force` renews a fresh summary), or `action: refresh_stale` for all of yours that are stale."""

    type: EntityType | None = None
    id: UUID | None = None
    force: bool = False
    action: Literal["refresh_stale"] | None = None
    limit: int = Field(default=20, ge=1, le=50)

    @model_validator(mode="after")
    def _one_thing(self) -> "MakeSummaryIn":
        if self.action is None and (self.type is None or self.id is None):
            raise ValueError("send type and id, or action refresh_stale")
        return self


class MadeOut(Row):
    """The summary that stands now, and what making it took."""

    entityType: EntityType
    entityId: UUID
    summary: SummaryRow
    isNew: bool
    wasStale: bool
    tokensUsed: int
    latencyMs: int


class Refreshed(Row):
    """How the stale summaries fared; the rest is left to the worker."""

    successful: int
    failed: int
    skipped: int
    errors: list[str]


class RefreshedOut(Row):
    """What was refreshed."""

    action: Literal["refresh_stale"] = "refresh_stale"
    result: Refreshed


class ShownOut(Row):
    """A summary; `wasStale` says that an old one was shown because a new one could not be made."""

    entityType: EntityType
    entityId: UUID
    summary: SummaryRow
    wasStale: bool


@router.get("", summary="Get, count or list summaries")
async def list_summaries(
    filter: Annotated[summaries.SummaryFilter, Query()], user: User, services: Services
) -> SummaryOut | SummaryStats | SummariesOut:
    """Get the summary of one subject as it stands, figures (`stats=true`), or a page of yours, newest first."""
    async with services.db.reading() as tx:
        if filter.stats:
            return await summaries.get_stats(tx, user)
        if filter.type and filter.id:
            return await summaries.get_summary(tx, user, filter.type, filter.id)
        return await summaries.list_summaries(tx, user, filter)


@router.post("", summary="Make a summary, or refresh the stale ones", dependencies=[StartsModel])
async def make_summary(body: MakeSummaryIn, user: User, services: Services) -> MadeOut | RefreshedOut:
    """Make the summary of one subject unless it is fresh, or refresh your stale ones."""
    if body.type and body.id:
        return await _make(services, user, body.type, body.id, force=body.force)
    return RefreshedOut(result=await _refresh(services, user, body.limit))


@router.get("/{type}/{id}", summary="Get a fresh summary", dependencies=[StartsModel])
async def get_summary(type: EntityType, id: UUID, user: User, services: Services) -> ShownOut:
    """Get the summary of one subject, made now if it is missing or stale; if that fails, the old one."""
    try:
        made = await _make(services, user, type, id, force=False)
    except Outage:
        async with services.db.reading() as tx:
            await summary_context.get_company_of(tx, user, type, id)
            old = await summaries.find_summary(tx, user, type, id)
        if old is None:
            raise
        return ShownOut(entityType=type, entityId=id, summary=old, wasStale=True)
    return ShownOut(entityType=type, entityId=id, summary=made.summary, wasStale=False)


async def _make(services: ProcessServices, user: Caller, type: EntityType, id: UUID, *, force: bool) -> MadeOut:
    """Run the agent; whoever asks for the same summary meanwhile waits for it and finds it fresh."""
    began = clock()
    key = (type, id, user.scope)
    lock = _under_way.setdefault(key, asyncio.Lock())
    async with lock:
        done = await services.perform(user, "summaries", {"type": type, "id": id, "force": force})
    async with services.db.reading() as tx:
        made = await summaries.get_summary(tx, user, type, id)
    return MadeOut(
        entityType=type,
        entityId=id,
        summary=made.summary,
        isNew=done["is_new"],
        wasStale=done["was_stale"],
        tokensUsed=done["tokens_used"],
        latencyMs=round((clock() - began) / timedelta(milliseconds=1)),
    )


async def _refresh(services: ProcessServices, user: Caller, limit: int) -> Refreshed:
    async with services.db.reading() as tx:
        stale = await summaries.list_stale(tx, user, limit=limit)
    successful, skipped, errors = 0, 0, list[str]()
    for subject in stale:
        try:
            await _make(services, user, subject.type, subject.subject_id, force=False)
            successful += 1
        except NotFound:  # a deal that was handed on, or a company that is gone
            skipped += 1
        except Outage as failure:
            errors.append(f"{subject.type} {subject.subject_id}: {failure.message}")
    return Refreshed(successful=successful, failed=len(errors), skipped=skipped, errors=errors)
